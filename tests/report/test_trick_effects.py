"""Effects of tricks: points, pairs that swap, their intervals, and the best of several draws."""

from itertools import combinations

import numpy as np
import pytest

from bench.report.trick_effects import Effect, best_of, best_of_weights, effect, group_effect

BEFORE = np.array([[50.0, 52.0, 60.0], [40.0, 42.0, 50.0]])  # means 45, 47, 55


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def gained(*gains: float) -> Effect:
    return effect({}, BEFORE, BEFORE + np.array(gains))


@pytest.mark.parametrize("draws", range(1, 7))
def test_the_best_of_draws_is_the_mean_over_all_draws(draws: int) -> None:
    scores = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])
    every = [max(some) for some in combinations(scores, draws)]
    assert best_of(scores, draws) == pytest.approx(np.mean(every))


def test_the_best_of_one_is_the_mean_and_of_all_the_maximum_in_each_column() -> None:
    scores = noise(5, 3)
    assert best_of(scores, 1) == pytest.approx(scores.mean(axis=0))
    assert best_of(scores, 5) == pytest.approx(scores.max(axis=0))


def test_the_best_of_more_draws_is_never_worse_and_a_permutation_changes_nothing() -> None:
    scores = noise(8)
    best = [float(best_of(scores, k)) for k in range(1, 9)]
    assert best == sorted(best)
    assert best_of(scores[::-1], 4) == pytest.approx(best[3])


@pytest.mark.parametrize("draws", [0, 4])
def test_as_many_draws_need_as_many_scores(draws: int) -> None:
    with pytest.raises(ValueError, match=f"{draws} draws need as many scores; there are 3"):
        best_of_weights(3, draws)


def test_weights_are_a_probability() -> None:
    for draws in range(1, 8):
        weights = best_of_weights(7, draws)
        assert weights.sum() == pytest.approx(1)
        assert (weights >= 0).all()


def test_an_equal_gain_swaps_nothing_if_all_have_it_and_pairs_within_it_if_one_has() -> None:
    shown = gained(3.0, 3.0, 3.0)
    assert shown.gains == pytest.approx([3.0, 3.0, 3.0])
    assert shown.pairs == 3
    assert (shown.swaps_of_all, shown.swaps_of_one) == (0, 1)
    assert shown.widest_lead == pytest.approx(2.0)
    assert gained(11.0, 11.0, 11.0).swaps_of_one == 3


def test_an_equal_score_is_no_swap() -> None:
    assert gained(2.0, 2.0, 2.0).swaps_of_one == 0
    assert gained(2.0, 0.0, 0.0).swaps_of_all == 0
    assert gained(2.5, 0.0, 0.0).swaps_of_all == 1


def test_without_a_trick_nothing_changes() -> None:
    shown = gained(0.0, 0.0, 0.0)
    assert (shown.swaps_of_all, shown.swaps_of_one, shown.widest_lead) == (0, 0, 0.0)
    assert shown.intervals.gain == (0.0, 0.0)
    assert shown.intervals.one_swaps == (0.0, 0.0)


def test_undoing_a_trick_swaps_the_same_pairs_if_all_have_it() -> None:
    before, after = noise(4, 9), noise(4, 9, seed=1)
    there, back = effect({}, before, after), effect({}, after, before)
    assert there.swaps_of_all == back.swaps_of_all > 0
    assert there.gains == pytest.approx(-back.gains)


def test_the_order_of_tasks_and_methods_changes_no_count() -> None:
    before, after = noise(4, 9), noise(4, 9) + noise(4, 9, seed=1)
    plain = effect({}, before, after)
    turned = effect({}, before[::-1, ::-1], after[::-1, ::-1])
    assert plain.swaps_of_all == turned.swaps_of_all
    assert plain.swaps_of_one == turned.swaps_of_one
    assert plain.widest_lead == pytest.approx(turned.widest_lead)


def test_intervals_hold_the_gain_and_are_shares() -> None:
    before = 10 * noise(19, 12)
    shown = effect({}, before, before + 1 + noise(19, 12, seed=1))
    low, high = shown.intervals.gain
    assert low < shown.gains.mean() < high
    assert low > 0.5
    for low, high in (shown.intervals.all_swap, shown.intervals.one_swaps):
        assert 0 <= low <= high <= 1


def test_the_mean_over_groups_weighs_each_group_alike() -> None:
    table = np.array([[90.0, 10.0], [90.0, 10.0], [10.0, 90.0]])
    shown = group_effect({}, table, ["natural", "natural", "structured"])
    over_tasks, over_groups = table.mean(axis=0), np.array([50.0, 50.0])
    assert shown.gains == pytest.approx(over_groups - over_tasks)
    assert group_effect({}, table, ["a", "b", "c"]).gains == pytest.approx([0.0, 0.0])
