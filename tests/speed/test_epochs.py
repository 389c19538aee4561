"""Time of an epoch on images and on cached features.

Run by ``tox -e speed``; compare the figures of one run with each other, not with another machine's.
"""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.performance.epochs import Workload, cache_speedup, loop_overhead
from bench.training.feature_cache import FeatureCache

MANY, FEW = 1000, 40  # few where nothing is measured, and only the code is tried
METHODS = ("linear", "mlp3", "mp", "partial1")


@pytest.fixture
def images(pytestconfig: pytest.Config) -> int:
    return MANY if pytestconfig.getoption("--benchmark-enable") else FEW


def work(method: str, images: int) -> Workload:
    return Workload(method, "vit_mini_sup", images, 32, "cpu")


@pytest.mark.sample(1)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.benchmark(group="an epoch of 1,000 images, vit_mini_sup")
def test_on_images(benchmark: BenchmarkFixture, method: str, images: int) -> None:
    one = work(method, images)
    model, batches = one.model(), one.batches()
    benchmark.pedantic(lambda: one.fit(model, batches, 1), rounds=3, warmup_rounds=1)


@pytest.mark.sample(1)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.benchmark(group="an epoch of 1,000 images, vit_mini_sup")
def test_on_features(benchmark: BenchmarkFixture, method: str, images: int) -> None:
    one = work(method, images)
    model, features = one.model(), FeatureCache(one.batches(), one.precision, passes=100)
    benchmark.pedantic(lambda: one.fit(model, features, 1), rounds=10, warmup_rounds=1)


@pytest.mark.long
def test_the_rows_of_the_page_are_ratios_and_shares() -> None:
    kept, outside = cache_speedup(work("linear", FEW), 3, 1), loop_overhead(work("linear", FEW), 1)
    assert kept.value > 0
    assert 0 < outside.value < 1
