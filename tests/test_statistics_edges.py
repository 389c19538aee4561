"""Statistics where a small change of the definition shows: at a level, with one task, with ties."""

import numpy as np
import pytest

from bench.report.statistics import average_ranks, friedman, interval, margin, shared_ranks

TABLE = np.array([[60.0, 50.0], [61.0, 52.0]])


def with_p(p: float) -> np.ndarray:
    return np.array([[1.0, p], [p, 1.0]])


def test_a_p_below_the_level_is_significant_and_one_of_the_level_is_not() -> None:
    assert shared_ranks(TABLE, with_p(0.049)) == [(1, 1), (2, 2)]
    assert shared_ranks(TABLE, with_p(0.05)) == [(1, 2), (1, 2)]


def test_an_equal_mean_is_not_better_however_small_the_p() -> None:
    assert shared_ranks(np.full((2, 2), 60.0), with_p(0.0)) == [(1, 2), (1, 2)]


def test_the_interval_of_one_task_is_that_of_its_seeds() -> None:
    low, high = interval(np.array([[10.0, 20.0, 30.0, 40.0]]))
    assert 10 <= low < 18
    assert 32 < high <= 40


def test_the_interval_of_tasks_without_spread_between_seeds_is_that_of_the_tasks() -> None:
    low, high = interval(np.array([[10.0] * 3, [20.0] * 3, [30.0] * 3]))
    assert (low, high) == (10, 30)  # 1 of 27 draws takes one task thrice


def test_sums_in_another_order_are_ties() -> None:
    apart = np.array([[0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1, 0.0]] * 4)
    assert apart[0, 0] != apart[0, 1]  # else this test would show nothing
    assert average_ranks(apart).tolist() == [1.5, 1.5, 3.0]
    assert friedman(apart) == pytest.approx(friedman(apart.round(3)))


def test_two_seeds_of_one_accuracy_leave_half_a_digit_of_margin() -> None:
    assert margin(np.array([70.0, 70.0]), 3, 0.01) == 0.005
