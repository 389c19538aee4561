"""Kendall's τ with published orders: scipy's number, its interval, and the sentence."""

import numpy as np
import pytest
from scipy import stats

from bench.report.leaderboard import render_leaderboard
from bench.report.rank_agreement import (
    _tau_b,
    agreement_sentence,
    agreements,
    kendall_interval,
)
from support.made_up_records import boards, row

METHODS = ("linear", "bias", "adapter", "lora", "ssf", "full")
RISING = {method: 60.0 + i for i, method in enumerate(METHODS)}
FALLING = {method: -mean for method, mean in RISING.items()}


def rising_rows(noise: float = 0.0):
    draw = np.random.default_rng(0)
    made = [
        record
        for i, method in enumerate(METHODS)
        for record in row(method, [40.0 + 5 * i + noise * draw.normal() for _ in range(5)])
    ]
    [board] = boards(made)
    return board


@pytest.mark.parametrize("seed", range(5))
def test_tau_is_scipy_s_with_and_without_ties(seed: int) -> None:
    draw = np.random.default_rng(seed)
    a, b = draw.integers(4, size=(2, 9)).astype(float)
    assert _tau_b(a, b) == pytest.approx(stats.kendalltau(a, b).statistic)
    a, b = draw.normal(size=(2, 9))
    assert _tau_b(a, b) == pytest.approx(stats.kendalltau(a, b).statistic)


def test_equal_numbers_have_no_tau() -> None:
    assert np.isnan(_tau_b(np.ones(4), np.arange(4.0)))


def test_equal_and_opposite_orders_have_tau_one_and_minus_one() -> None:
    found = agreements(rising_rows().rows, {"MAE": RISING, "supervised": FALLING})
    assert [one.published for one in found] == ["MAE", "supervised"]
    assert [one.tau for one in found] == pytest.approx([1.0, -1.0])
    assert all(one.methods == len(METHODS) and one.says_something for one in found)


def test_only_shared_methods_count_and_four_are_too_few() -> None:
    five = dict(list(RISING.items())[:5]) | {"pace": 79.0}
    [found] = agreements(rising_rows().rows, {"MAE": five})
    assert found.methods == 5
    assert agreements(rising_rows().rows, {"MAE": dict(list(RISING.items())[:4])}) == []


def test_a_row_with_changed_fields_stands_for_no_method() -> None:
    variants = [
        record for rank in (2, 4) for record in row("lora", [50.0] * 5, fields={"rank": rank})
    ]
    others = [m for m in METHODS if m != "lora"]
    [board] = boards([*variants, *(r for m in others for r in row(m, [40.0] * 5))])
    [found] = agreements(board.rows, {"MAE": RISING})
    assert found.methods == len(others)


def test_the_interval_holds_tau_and_is_wider_for_noise_than_for_a_clear_order() -> None:
    [clear] = agreements(rising_rows().rows, {"MAE": RISING})
    [noisy] = agreements(rising_rows(noise=20.0).rows, {"MAE": RISING})
    assert (clear.low, clear.high) == (1.0, 1.0)
    assert noisy.low <= noisy.tau <= noisy.high
    assert noisy.high - noisy.low > 0.5


def test_the_interval_covers_both_methods_and_tasks() -> None:
    """With one task, or with two methods that never change places, the other one is left."""
    published = np.arange(6.0)
    one_task = np.array([[0.0, 2.0, 1.0, 3.0, 5.0, 4.0]])
    low, high = kendall_interval(one_task, published)
    assert low < high == 1.0
    at_odds = np.array([[0.0, 1.0], [3.0, 1.0], [0.0, 1.0], [3.0, 1.0]])
    assert kendall_interval(at_odds, np.arange(2.0)) == (-1.0, 1.0)


def test_no_draw_with_a_tau_gives_no_interval() -> None:
    assert np.isnan(kendall_interval(np.ones((2, 3)), np.arange(3.0))).all()


def test_the_sentence_says_where_the_order_is_worth_nothing() -> None:
    board = rising_rows(noise=40.0)
    said = agreement_sentence(board.rows, {"MAE": RISING})
    assert said.startswith("Kendall's τ between this order and the published orders on VTAB-1k")
    assert said.endswith(
        "It says nothing about the published order for MAE pretraining: 0 is within the interval."
    )
    clear = agreement_sentence(rising_rows().rows, {"MAE": RISING, "supervised": FALLING})
    assert clear.endswith(
        "MAE 1.00 (1.00 to 1.00, 6 methods); supervised -1.00 (-1.00 to -1.00, 6 methods)."
    )
    assert agreement_sentence(board.rows, {}) == ""


def test_the_leaderboard_has_the_sentence_below_its_board() -> None:
    board = rising_rows()
    page = render_leaderboard([board], "", published={"MAE": RISING})
    assert agreement_sentence(board.rows, {"MAE": RISING}) in page
    assert "Kendall" not in render_leaderboard([board], "")
