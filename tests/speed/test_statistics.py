"""Time of testing all pairs of a large leaderboard; run by ``tox -e speed``."""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.report.statistics import pairwise_p_values


@pytest.mark.benchmark(group="Wilcoxon's test of the 1,770 pairs of 60 methods over 19 tasks")
@pytest.mark.parametrize("decimals", [9, 1], ids=["no ties", "ties"])
def test_all_pairs_of_a_leaderboard(benchmark: BenchmarkFixture, decimals: int) -> None:
    table = np.random.default_rng(0).normal(70, 3, (19, 60)).round(decimals)
    found = benchmark.pedantic(pairwise_p_values, (table,), rounds=3, iterations=1)
    assert found.shape == (60, 60)
