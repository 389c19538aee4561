"""How alike predictions are, in numbers worked out by hand."""

import numpy as np
import pytest

from bench.report import agreement
from bench.report.agreement import compare, compare_methods, compare_seeds, majority

LABELS = np.zeros(10, np.int16)


def wrong_on(*images: int, by: int = 1) -> np.ndarray:
    """Predictions with these images wrong."""
    found = LABELS.copy()
    found[list(images)] = by
    return found


def test_two_predictions_by_hand():
    """Wrong: 0 to 3, and 2 to 5; on image 3 with another class: 2 of 6 are shared, 5 differ."""
    first, second = wrong_on(0, 1, 2, 3), wrong_on(2, 3, 4, 5)
    second[3] = 2
    found = compare(first, second, LABELS)
    assert found.agreement == pytest.approx(50.0)
    assert found.overlap == pytest.approx(100 * 2 / 6)
    assert found.independent == pytest.approx(100 * 0.16 / (0.8 - 0.16))
    assert found.either == pytest.approx(80.0)
    assert compare(second, first, LABELS) == found


def test_independent_errors_overlap_as_is_said():
    draw = np.random.default_rng(0)
    labels = np.zeros(200_000, np.int16)
    first, second = ((draw.random(len(labels)) < rate).astype(np.int16) for rate in (0.3, 0.1))
    found = compare(first, second, labels)
    assert found.overlap == pytest.approx(found.independent, abs=0.3)


def test_a_prediction_and_itself():
    found = compare(wrong_on(0, 1), wrong_on(0, 1), LABELS)
    assert (found.agreement, found.overlap, found.either) == (100.0, 100.0, 80.0)


def test_without_any_error_there_is_no_overlap():
    found = compare(LABELS, LABELS, LABELS)
    assert (found.agreement, found.overlap, found.independent, found.either) == (
        100.0, None, None, 100.0)  # fmt: skip


def test_seeds_of_one_method_are_compared_in_pairs():
    assert compare_seeds({0: LABELS}, LABELS) is None
    found = compare_seeds({2: wrong_on(0), 0: wrong_on(1), 1: LABELS}, LABELS)
    assert found is not None
    assert found.pairs == 3
    assert found.agreement == pytest.approx((80 + 90 + 90) / 3)


def test_two_methods_are_compared_with_different_seeds_where_there_are_any():
    first = {0: wrong_on(0), 1: wrong_on(1)}
    second = {0: wrong_on(0), 1: wrong_on(1)}
    found = compare_methods(first, second, LABELS)
    assert (found.pairs, found.agreement, found.same_seed) == (2, 80.0, False)
    alone = compare_methods({0: first[0]}, {0: second[0]}, LABELS)
    assert (alone.pairs, alone.agreement, alone.same_seed) == (1, 100.0, True)
    one_each = compare_methods({0: first[0]}, {1: second[1]}, LABELS)
    assert (one_each.pairs, one_each.same_seed) == (1, False)


def test_a_mean_leaves_out_an_overlap_that_is_none():
    some, none = compare(wrong_on(0), wrong_on(0, 1), LABELS), compare(LABELS, LABELS, LABELS)
    mean = agreement.mean_likeness([some, none])
    assert mean.overlap == some.overlap
    assert mean.agreement == pytest.approx((some.agreement + 100) / 2)
    assert mean.pairs == 2


def test_a_majority_of_three():
    """Two right: right; one right and two alike: wrong; all different, one right: a third."""
    votes = [
        np.array([0, 0, 0, 1], np.int16),
        np.array([0, 1, 1, 1], np.int16),
        np.array([1, 1, 2, 2], np.int16),
    ]
    labels = np.zeros(4, np.int16)
    assert majority(votes, labels) == pytest.approx(100 * (1 + 0 + 1 / 3 + 0) / 4)
    assert majority(votes[::-1], labels) == pytest.approx(majority(votes, labels))


def test_majorities_of_seeds_and_with_another_method():
    runs = {0: wrong_on(0), 1: wrong_on(1), 2: wrong_on(2)}
    assert agreement.majority_of_seeds(runs, LABELS) == 100.0
    assert agreement.majority_of_seeds({0: LABELS, 1: LABELS}, LABELS) is None
    other = {0: wrong_on(1, 2), 1: LABELS, 2: LABELS}
    found = agreement.majority_with_another(runs, other, LABELS)
    assert found == pytest.approx((80 + 100 + 100) / 3)
    assert agreement.majority_with_another(runs, {0: LABELS}, LABELS) == 100.0
    assert agreement.majority_with_another({0: LABELS}, other, LABELS) is None
