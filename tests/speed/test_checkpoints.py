"""Time of writing a checkpoint of ViT-B/16, and its share of the time between two.

Run by ``tox -e speed``.
"""

from pathlib import Path

import pytest
import timm
import torch
from pytest_benchmark.fixture import BenchmarkFixture

import methods
from bench.execution.jobs import DEFAULT_OPTIONS
from bench.models import weight_files
from bench.models.training_tensors import TrainingTensors
from bench.training import checkpoint_file

METHODS = ("vpt_deep", "full")


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.benchmark(group="a checkpoint, vit_base_patch16_224, AdamW")
def test_writing_a_checkpoint(
    benchmark: BenchmarkFixture, name: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    is_measured = pytestconfig.getoption("--benchmark-enable")
    kind = "vit_base_patch16_224" if is_measured else "test_vit"  # where the code is only tried
    model, method = timm.create_model(kind, num_classes=100), methods.create(name)
    model.requires_grad_(False)
    ids = weight_files.tensor_ids(model)
    method.attach(model)
    tensors = TrainingTensors.of_untrained(method, model, ids)
    learns = [p for p in model.parameters() if p.requires_grad]
    moments = {f"optimiser.{i}": torch.zeros(2, *p.shape) for i, p in enumerate(learns)}

    def write() -> None:
        about = {"frozen_sha256": tensors.frozen_sha256()}
        checkpoint_file.write(tmp_path / "one", {**tensors.stored(), **moments}, about)

    benchmark.pedantic(write, rounds=3)
    if is_measured:
        share = benchmark.stats.stats.min / DEFAULT_OPTIONS.checkpoint_every
        benchmark.extra_info["share of the time between two"] = round(share, 4)
