"""Time of a checkpoint of ViT-B/16, as a share of the time between two.

Run by ``tox -e speed``.
"""

from pathlib import Path
from time import perf_counter

import pytest
import torch

import methods
from bench.execution.jobs import DEFAULT_OPTIONS
from bench.models import weight_files
from bench.models.training_tensors import TrainingTensors
from bench.training import checkpoint_file

SHARE = 0.03  # of the seconds between two checkpoints; `full` on this model takes the longest


@pytest.mark.parametrize("name", ["vpt_deep", "full"])
def test_a_checkpoint_takes_a_small_share_of_the_time_between_two(
    name: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    import timm

    is_measured = pytestconfig.getoption("--benchmark-enable")
    kind = "vit_base_patch16_224" if is_measured else "test_vit"
    model = timm.create_model(kind, num_classes=100).requires_grad_(False)
    ids, method = weight_files.tensor_ids(model), methods.create(name)
    method.attach(model)
    tensors = TrainingTensors.of_untrained(method, model, ids)
    learns = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    moments = {f"{kind}.{n}": torch.zeros_like(p) for n, p in learns.items() for kind in "ab"}
    start = perf_counter()
    about = {"frozen": tensors.frozen_sha256()}
    checkpoint_file.write(tmp_path / "one", {**tensors.stored(), **moments}, about)
    seconds = perf_counter() - start
    print(f"{name}: {seconds:.2f} s, {(tmp_path / 'one').stat().st_size / 2**20:,.1f} MiB")
    assert seconds < SHARE * DEFAULT_OPTIONS.checkpoint_every
