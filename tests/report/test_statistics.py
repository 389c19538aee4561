"""The statistics give what papers print and other libraries compute."""

from collections import Counter
from itertools import pairwise as pairs
from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

from bench.report.statistics import (
    average_ranks,
    bootstrap_interval,
    cliques,
    critical_difference,
    detectable_difference,
    friedman,
    holm,
    margin_between_seeds,
    margin_from_images,
    mcnemar,
    pairwise_p_values,
    shared_ranks,
    smallest_p,
    wilcoxon,
)

ORACLE = "statsmodels is the oracle of this test; the extra `dev` has it"

# Table 6 of Demšar (2006): the AUC of C4.5 and its variants -m, -cf, -m -cf on 14 data sets. On
# voting he prints 0.975 twice, with ranks 2 and 3: a fourth decimal stands here for those he cut.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],  # adult
        [0.599, 0.591, 0.590, 0.569],  # breast cancer
        [0.954, 0.971, 0.968, 0.967],  # breast cancer wisconsin
        [0.628, 0.661, 0.654, 0.657],  # cmc
        [0.882, 0.888, 0.886, 0.898],  # ionosphere
        [0.936, 0.931, 0.916, 0.931],  # iris
        [0.661, 0.668, 0.609, 0.685],  # liver disorders
        [0.583, 0.583, 0.563, 0.625],  # lung cancer
        [0.775, 0.838, 0.866, 0.875],  # lymphography
        [1.000, 1.000, 1.000, 1.000],  # mushroom
        [0.940, 0.962, 0.965, 0.962],  # primary tumor
        [0.619, 0.666, 0.614, 0.669],  # rheum
        [0.972, 0.981, 0.9751, 0.975],  # voting
        [0.957, 0.978, 0.946, 0.970],  # wine
    ]
)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_the_average_ranks_are_those_that_demsar_prints() -> None:
    assert average_ranks(DEMSAR) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)


def test_friedman_is_demsar_s_once_the_correction_for_ties_is_undone() -> None:
    found = friedman(DEMSAR)
    assert found is not None
    ties = [np.unique(line, return_counts=True)[1] for line in DEMSAR]
    tied = sum(int((counts**3 - counts).sum()) for counts in ties)
    plain = found[0] * (1 - tied / (14 * 4 * (4**2 - 1)))  # he does not correct
    assert plain == pytest.approx(9.28, abs=5e-3)
    assert found[1] == pytest.approx(stats.chi2.sf(found[0], 3))


def test_friedman_is_none_where_it_cannot_be_and_sure_of_nothing_where_all_tie() -> None:
    assert friedman(noise(5, 2)) is None
    assert friedman(noise(1, 5)) is None
    assert friedman(np.ones((5, 3))) == (0.0, 1.0)


@pytest.mark.parametrize(("methods", "q"), [(3, 2.343), (4, 2.569), (5, 2.728)])
def test_the_critical_values_are_those_of_demsar_s_table(methods: int, q: float) -> None:
    tasks = methods * (methods + 1) // 2  # sqrt(K (K + 1) / (6 T)) is sqrt(1 / 3)
    found = critical_difference(methods, tasks) * 3**0.5
    assert found == pytest.approx(q, abs=1e-3)


def test_the_critical_difference_is_the_one_that_demsar_prints() -> None:
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)
    assert critical_difference(4, 14, level=0.1) == pytest.approx(1.12, abs=5e-3)


def test_cliques_are_the_largest_groups_and_none_lies_within_another() -> None:
    ranks = np.array([3.0, 1.0, 2.0, 5.0, 4.4])
    assert cliques(ranks, 1.5) == [[1, 2], [2, 0], [0, 4], [4, 3]]
    assert cliques(ranks, 2.5) == [[1, 2, 0], [2, 0, 4], [0, 4, 3]]
    assert cliques(ranks, 9.0) == [[1, 2, 0, 4, 3]]
    assert cliques(ranks, 0.5) == []


def test_ranks_that_differ_by_the_critical_difference_are_different() -> None:
    assert cliques(np.array([1.0, 2.0, 3.0]), 1.0) == []


def test_five_tasks_that_all_agree_are_not_significant() -> None:
    better = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert wilcoxon(better, np.zeros(5)) == 0.0625 == smallest_p(5)
    assert wilcoxon(np.zeros(5), better) == 0.0625


@pytest.mark.parametrize("tasks", range(1, 12))
def test_the_least_p_is_that_of_tasks_that_all_agree(tasks: int) -> None:
    assert wilcoxon(np.arange(1.0, tasks + 1), np.zeros(tasks)) == pytest.approx(smallest_p(tasks))


def test_equal_methods_have_p_1_and_equal_tasks_do_not_count() -> None:
    some = noise(8)
    assert wilcoxon(some, some) == 1.0
    longer = np.append(some, [70.0, 71.0])
    shifted = longer + np.append(noise(8, seed=1), [0.0, 0.0])
    assert wilcoxon(longer, shifted) == wilcoxon(longer[:8], shifted[:8])


def test_differences_that_floats_alone_tell_apart_are_ties() -> None:
    a, b = np.array([70.3, 60.3, 50.0]), np.array([70.2, 60.2, 50.3])
    exact = np.array([1.0, 1.0, -3.0])
    assert wilcoxon(a, b) == wilcoxon(exact, np.zeros(3))


def counted(differences: np.ndarray) -> float:
    """Wilcoxon's two-sided p by its definition: sums of doubled ranks, in whole numbers."""
    left = differences[differences != 0]
    ranks = [round(2 * rank) for rank in stats.rankdata(abs(left))]
    sums = Counter({0: 1})
    for rank in ranks:
        sums += Counter({total + rank: ways for total, ways in sums.items()})
    better = sum(rank for rank, one in zip(ranks, left, strict=True) if one > 0)
    lesser = min(better, sum(ranks) - better)
    tail = sum(ways for total, ways in sums.items() if total <= lesser)
    return min(1.0, 2 * tail / 2 ** len(ranks))


@pytest.mark.parametrize("tasks", range(1, 11))
def test_wilcoxon_is_the_share_of_all_signs_that_are_as_extreme(tasks: int) -> None:
    for seed in range(4):
        found = np.random.default_rng(seed).integers(-3, 4, tasks).astype(float)  # ties, and zeros
        left = found[found != 0]
        ranks = stats.rankdata(abs(left))
        sums = np.array([ranks @ signs for signs in product([-1, 1], repeat=len(left))])
        extreme = np.mean(abs(sums) >= abs(ranks @ np.sign(left)))
        assert wilcoxon(found, np.zeros(tasks)) == extreme


@pytest.mark.parametrize("tasks", [1, 2, 13, 14, 19, 24, 50])
def test_without_ties_wilcoxon_is_scipy_s_exact_test(tasks: int) -> None:
    # 1e-12: both add fewer than 10,000 positive numbers in float64, in orders of their own
    for seed in range(5):
        found = noise(tasks, seed=seed) + 0.3
        want = stats.wilcoxon(found, method="exact").pvalue
        assert wilcoxon(found, np.zeros(tasks)) == pytest.approx(want, rel=1e-12)


def test_with_ties_over_19_tasks_wilcoxon_is_counted_and_not_approximated() -> None:
    crossing = 0
    for seed in range(240):
        found = np.random.default_rng(seed).normal(1, 2, 19).round()
        p = wilcoxon(found, np.zeros(19))
        assert p == counted(found)  # to the bit: sums of 1 / 2^19 are exact in float64
        approximate = stats.wilcoxon(found[found != 0], method="asymptotic").pvalue
        crossing += (p < 0.05) != (approximate < 0.05)
    assert crossing >= 2


def test_two_methods_that_an_approximation_tells_apart_are_not_apart() -> None:
    a = np.array([5, 2, 1, -1, 3, 0, -3, 0, -4, 3, 1, 4, 0, 1, 3, 4, 1, 0, 2.0])
    assert wilcoxon(a, np.zeros(19)) == counted(a) == pytest.approx(0.05481, abs=5e-6)
    assert stats.wilcoxon(a[a != 0], method="asymptotic").pvalue < 0.05


@pytest.mark.parametrize("tasks", [19, 50, 60, 300])
def test_wilcoxon_takes_either_order_and_any_number_of_tasks(tasks: int) -> None:
    found = noise(tasks).round(1) + 0.1
    p = wilcoxon(found, np.zeros(tasks))
    assert p == wilcoxon(np.zeros(tasks), found)
    rough = stats.wilcoxon(found[found != 0], method="asymptotic").pvalue
    assert p == pytest.approx(rough, abs=0.03)


def test_the_more_tasks_turn_against_the_better_the_larger_is_p() -> None:
    sizes = np.sort(abs(noise(19)).round(1) + 0.1)  # the smallest turn first; some are tied
    turned = [wilcoxon(np.where(np.arange(19) < k, -sizes, sizes), 0 * sizes) for k in range(13)]
    assert turned[0] == pytest.approx(smallest_p(19))
    assert all(p < q for p, q in pairs(turned))


def test_holm_is_statsmodels_holm() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason=ORACLE)
    for seed in range(5):
        p = np.random.default_rng(seed).random(12).round(2) ** 2
        assert holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1])
    assert len(holm(np.array([]))) == 0


def test_mcnemar_is_statsmodels_mcnemar() -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables", reason=ORACLE)
    for seed in range(5):
        a, b = np.random.default_rng(seed).random((2, 60)) < [[0.8], [0.6]]
        counts = [[np.sum(a & b), np.sum(a & ~b)], [np.sum(~a & b), np.sum(~a & ~b)]]
        assert mcnemar(a, b) == pytest.approx(tables.mcnemar(counts, exact=True).pvalue)


def test_methods_that_are_right_on_the_same_images_have_p_1() -> None:
    right = noise(50) > 0
    assert mcnemar(right, right) == 1.0
    assert mcnemar(np.ones(6, bool), np.zeros(6, bool)) == 2 / 2**6


def test_each_pair_of_methods_has_its_p_and_itself_1() -> None:
    table = noise(9, 3) + np.array([0.0, 0.5, 5.0])
    found = pairwise_p_values(table)
    pairs = [wilcoxon(table[:, i], table[:, j]) for i, j in [(0, 1), (0, 2), (1, 2)]]
    assert found[np.triu_indices(3, 1)] == pytest.approx(holm(np.array(pairs)))
    assert (found == found.T).all()
    assert np.diag(found).tolist() == [1.0, 1.0, 1.0]


def test_a_rank_is_shared_by_methods_that_are_not_told_apart() -> None:
    tasks = np.arange(12.0)
    table = np.stack([tasks, tasks + 50 + tasks / 9, tasks + (-1.0) ** tasks * (1 + tasks / 7)], 1)
    assert shared_ranks(table, pairwise_p_values(table)) == [(2, 3), (1, 1), (2, 3)]
    assert (
        shared_ranks(table[:5], pairwise_p_values(table[:5])) == [(1, 3)] * 3
    )  # five tasks can show nothing


def test_the_order_of_tasks_and_of_methods_changes_nothing() -> None:
    table = noise(9, 4) + np.array([0.0, 1.0, 2.0, 4.0])
    turned = table[::-1]
    for order in permutations(range(4)):
        moved = turned[:, order]
        assert average_ranks(moved) == pytest.approx(average_ranks(table)[list(order)])
        assert friedman(moved) == pytest.approx(friedman(table))
        assert shared_ranks(moved, pairwise_p_values(moved)) == [
            shared_ranks(table, pairwise_p_values(table))[i] for i in order
        ]
        assert detectable_difference(moved) == pytest.approx(detectable_difference(table))


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says() -> None:
    held = []
    for i in range(300):
        tasks = 70 + 5 * noise(25, 1, seed=i)
        low, high = bootstrap_interval(tasks + noise(25, 3, seed=1000 + i), draws=400, seed=i)
        held.append(low <= 70 <= high)
    assert 0.90 <= np.mean(held) <= 0.98


def test_the_interval_of_one_seed_is_scipy_s_bootstrap_over_tasks() -> None:
    values = 70 + 5 * noise(19)
    found = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=9999, rng=1)
    expected = found.confidence_interval.low, found.confidence_interval.high
    assert bootstrap_interval(values[:, None], draws=9999) == pytest.approx(expected, abs=0.1)


def test_the_interval_is_fixed_by_its_seed_and_widens_with_its_level() -> None:
    values = noise(19, 3)
    low, high = bootstrap_interval(values)
    assert bootstrap_interval(values) == (low, high) != bootstrap_interval(values, seed=1)
    assert low < values.mean() < high
    wide = bootstrap_interval(values, level=0.99)
    assert wide[0] < low < high < wide[1]


@pytest.mark.parametrize("tasks", [3, 5, 19])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_what_is_detectable_is_what_statsmodels_solves_for(tasks: int, power: float) -> None:
    tests = pytest.importorskip("statsmodels.stats.power", reason=ORACLE)
    table = noise(tasks, 2)
    sd = np.std(table[:, 0] - table[:, 1], ddof=1)
    effect = tests.TTestPower().solve_power(nobs=tasks, alpha=0.05, power=power)
    assert detectable_difference(table, power) == pytest.approx(effect * sd, abs=1e-3)


def test_what_is_detectable_takes_the_median_pair() -> None:
    base = noise(6)
    table = np.stack([base, base, base + noise(6, seed=1)], axis=1)
    alone = detectable_difference(table[:, 1:])
    assert detectable_difference(table) == pytest.approx(alone)
    assert detectable_difference(table[:2]) is None
    assert detectable_difference(table[:, :1]) is None


def test_the_margin_is_scipy_s_t_interval_and_half_a_digit() -> None:
    values = np.array([70.1, 71.0, 69.5, 70.4])
    scale = np.std(values, ddof=1) * np.sqrt(1 / 4 + 1 / 5)
    low, high = stats.t.interval(0.95, 3, loc=0.0, scale=scale)
    assert margin_between_seeds(values, others=5, unit=0.1) == pytest.approx(
        (high - low) / 2 + 0.05
    )
    huge = stats.t.interval(0.9, 3, loc=0.0, scale=stats.sem(values))[1]
    assert margin_between_seeds(values, others=10**12, unit=0.0, level=0.9) == pytest.approx(huge)


def test_one_seed_has_no_margin_between_seeds() -> None:
    with pytest.raises(ValueError, match="needs 2 of them"):
        margin_between_seeds(np.array([70.0]), others=3, unit=0.1)


def test_the_margin_of_images_is_that_of_a_proportion() -> None:
    half_width = 1.959964 * np.sqrt(0.8 * 0.2 / 1000) * 100
    one, four = np.array([80.0]), np.array([80.0] * 4)
    assert margin_from_images(one, np.array([1000]), 0.1) == pytest.approx(half_width + 0.05)
    of_four = margin_from_images(four, np.array([1000] * 4), 0.1)
    assert of_four == pytest.approx(half_width / 2 + 0.05)
    assert margin_from_images(np.array([100.0]), np.array([50]), 0.1) == pytest.approx(0.05)


TABLE = np.array([[60.0, 50.0], [61.0, 52.0]])


def with_p(p: float) -> np.ndarray:
    return np.array([[1.0, p], [p, 1.0]])


def test_a_p_below_the_level_is_significant_and_one_of_the_level_is_not() -> None:
    assert shared_ranks(TABLE, with_p(0.049)) == [(1, 1), (2, 2)]
    assert shared_ranks(TABLE, with_p(0.05)) == [(1, 2), (1, 2)]


def test_an_equal_mean_is_not_better_however_small_the_p() -> None:
    assert shared_ranks(np.full((2, 2), 60.0), with_p(0.0)) == [(1, 2), (1, 2)]


def test_the_interval_of_one_task_is_that_of_its_seeds() -> None:
    low, high = bootstrap_interval(np.array([[10.0, 20.0, 30.0, 40.0]]))
    assert 10 <= low < 18
    assert 32 < high <= 40


def test_the_interval_of_tasks_without_spread_between_seeds_is_that_of_the_tasks() -> None:
    low, high = bootstrap_interval(np.array([[10.0] * 3, [20.0] * 3, [30.0] * 3]))
    assert (low, high) == (10, 30)  # 1 of 27 draws takes one task thrice


def test_sums_in_another_order_are_ties() -> None:
    apart = np.array([[0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1, 0.0]] * 4)
    assert apart[0, 0] != apart[0, 1]  # else this test would show nothing
    assert average_ranks(apart).tolist() == [1.5, 1.5, 3.0]
    assert friedman(apart) == pytest.approx(friedman(apart.round(3)))


def test_two_seeds_of_one_accuracy_leave_half_a_digit_of_margin() -> None:
    assert margin_between_seeds(np.array([70.0, 70.0]), 3, 0.01) == 0.005
