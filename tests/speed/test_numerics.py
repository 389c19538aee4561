"""The cost of deterministic algorithms and of a cell's switches, as ratios to a step without."""

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

import methods
from bench.config.recipe import load_recipe
from bench.models import backbones
from bench.performance import benchmarked_model
from bench.performance.benchmarked_model import BenchmarkedModel, time_interleaved
from bench.training import devices, numerics

ROUNDS = 20


@pytest.fixture(scope="module")
def model() -> BenchmarkedModel:
    device = torch.device(devices.resolve_device(None))
    backbone = backbones.find("vit_mini_sup", {})
    recipe, method = load_recipe("quick"), methods.create("lora")
    return benchmarked_model.build(backbone, method, recipe, 0.02, 10, recipe.batch, device)


@pytest.mark.long
@pytest.mark.benchmark(group="a deterministic training step")
def test_a_deterministic_step(
    benchmark: BenchmarkFixture, pytestconfig: pytest.Config, model: BenchmarkedModel
) -> None:
    def deterministic() -> None:
        with numerics.deterministic_algorithms(True):
            model.train_step()

    rounds = ROUNDS if pytestconfig.getoption("--benchmark-enable") else 1
    acts, device = (model.train_step, deterministic), model.images.device.type
    plain, strict = benchmark.pedantic(time_interleaved, (acts, rounds, device), rounds=1)
    benchmark.extra_info |= {"device": device, "ratio": round(strict / plain, 3)}
    assert min(plain, strict) > 0


@pytest.mark.benchmark(group="the switches of a cell")
def test_the_switches(benchmark: BenchmarkFixture) -> None:
    def switch() -> None:
        with numerics.arithmetic("fp32"):
            pass

    benchmark(switch)
