"""Several trials in one pass on a GPU: their numbers are those of each alone, in less time."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import methods
from bench.cli import main
from bench.training.stack_check import check_stack
from bench.training.stacking import NotStackable
from support import run_records, stacks, tiny

FP32 = 1e-3  # of the largest entry of a tensor
TRIALS = 4


@pytest.mark.parametrize("name", methods.names())
def test_gradients_in_one_pass_are_those_of_each_alone(name: str, device: torch.device) -> None:
    method, model = stacks.adapted(name)
    model = model.float().to(device)
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = device.type == "cuda"  # as it is used there
    images, labels = (x.to(device) for x in stacks.noise(2))
    pairs = stacks.copies(model, 3), stacks.copies(model, 3)
    try:
        check_stack(*pairs, stacks.loss_of(method), images, labels, FP32)
    except NotStackable as error:
        if "torch.func refuses" not in str(error):
            raise
        pytest.skip(f"trained one by one: {error}")


def test_a_search_in_one_pass_has_the_numbers_of_trials_one_by_one(
    cards: Path, tmp_path: Path, device: torch.device
) -> None:
    found = {}
    for folder, count in (("one", "1"), ("many", "4")):
        words = tiny.command("tune", cards, tmp_path / folder, "lora,vpt_deep,linear")
        words[words.index("--device") + 1] = device.type
        assert main.main([*words, "--set", "epochs=2", "--trials-per-pass", count]) == 0
        found[folder] = run_records.records(tmp_path / folder / "trials")
    assert found["one"].keys() == found["many"].keys()
    for name, record in found["many"].items():
        expected = found["one"][name]["outcome"]["losses"]
        assert record["environment"]["trained"].startswith("in one pass")
        assert record["outcome"]["losses"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["linear", "lora", "vpt_deep"])
def test_a_step_in_one_pass_takes_less_time_than_one_by_one(
    name: str, device: torch.device, record_property: Callable[[str, object], None]
) -> None:
    times = stacks.step_times(name, TRIALS, 32, device)
    record_property("ratio", times["alone"] / times["together"])
    if device.type == "cuda":  # on a CPU a batch of 32 computes longer than it waits
        assert times["together"] < times["alone"]
