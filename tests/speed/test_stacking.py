"""A training step of eight trials one by one, and in one pass: the ratio of their times.

Run by ``tox -e speed``. On a CPU it is the processor's time of one thread, of a ViT so small that
the overhead of each operation rules; on a GPU it is the clock's.
"""

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from support import stacks

TRIALS = 8


@pytest.mark.sample(4)
@pytest.mark.parametrize("batch", [2, 32])
@pytest.mark.parametrize("name", ["linear", "lora", "vpt_deep", "adaptformer"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.benchmark(group="a step of eight trials")
def test_a_step_in_one_pass(
    benchmark: BenchmarkFixture, device: str, name: str, batch: int
) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    where = (TRIALS, batch, torch.device(device))
    times = benchmark.pedantic(stacks.step_times, (name, *where), rounds=1)
    benchmark.extra_info |= {way: round(seconds * 1e3, 2) for way, seconds in times.items()}
    benchmark.extra_info["ratio"] = round(times["alone"] / times["together"], 2)
