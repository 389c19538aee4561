"""Time of each initialisation of self-prompts against the forward pass that it needs.

Run by ``tox -e speed``; compare the figures of one run with each other, not with another machine's.
"""

import pytest
import timm
import torch
from pytest_benchmark.fixture import BenchmarkFixture

import methods
from bench.performance.initialisation import (
    METHODS,
    SyntheticBatches,
    measure_initialisation,
    smooth_noise,
    time_forward,
    time_prepare,
)
from bench.performance.measurement import PerformanceRow

NETWORK, BATCH, CPU = "vit_tiny_patch16_224", 32, torch.device("cpu")
GROUP = "20 deep prompts from the tokens of 128 images, ViT-Ti/16"


@pytest.fixture(scope="module")
def many(pytestconfig: pytest.Config) -> int:
    """Images; few where nothing is measured, and only the code is tried."""
    return 128 if pytestconfig.getoption("--benchmark-enable") else 8


@pytest.mark.benchmark(group=GROUP)
def test_the_bare_pass(benchmark: BenchmarkFixture, many: int) -> None:
    model, shown = (
        timm.create_model(NETWORK).eval(),
        SyntheticBatches(smooth_noise(many, 224, CPU), BATCH),
    )
    benchmark.pedantic(time_forward, (model, shown), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("strategy", list(METHODS))
@pytest.mark.benchmark(group=GROUP)
def test_a_start(benchmark: BenchmarkFixture, many: int, strategy: str) -> None:
    model, shown = (
        timm.create_model(NETWORK).eval(),
        SyntheticBatches(smooth_noise(many, 224, CPU), BATCH),
    )
    method = methods.create(METHODS[strategy], share=1.0)
    benchmark.pedantic(time_prepare, (model, method, shown), rounds=3, warmup_rounds=1)


@pytest.mark.long
@pytest.mark.benchmark(group="all starts by turns, with their ratios to the bare pass")
def test_starts_by_turns(benchmark: BenchmarkFixture, many: int) -> None:
    rounds = 3 if many > BATCH else 1

    def measure() -> list[PerformanceRow]:
        return list(
            measure_initialisation(NETWORK, many, BATCH, prompts=20, rounds=rounds, device=CPU)
        )

    found = benchmark.pedantic(measure, rounds=1, iterations=1)
    benchmark.extra_info.update({row.name: round(row.value, 3) for row in found})
    assert [row.name.split()[0] for row in found] == list(METHODS)
    assert all(row.value > 0 and row.n == rounds for row in found)
