"""Statistics of accuracy tables: intervals, ranks, significance tests, power and margins.

Demšar (2006) is *Statistical Comparisons of Classifiers over Multiple Data Sets*, JMLR 7,
https://jmlr.org/papers/v7/demsar06a.html. T tasks, K methods, S seeds, N images, M hypotheses;
accuracies are in percent unless said otherwise, and more is better.
"""

from functools import lru_cache
from itertools import combinations

import numpy as np
import scipy  # loads its subpackages when they are used: `stats` takes long
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
# Differences equal to that many decimals are ties: 70.3 - 70.2 is not 60.3 - 60.2 in floats.
TIE_DECIMALS = 9


def bootstrap_interval(
    values: Floats, draws: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Return the bootstrap interval of the mean over tasks of `values` (T, S), in their unit.

    Each draw takes T tasks, and of each of these S seeds, with replacement; the interval holds the
    middle `level` of the draws' means (Efron and Tibshirani, 1993, section 13.3, percentile
    method). It is too narrow for few tasks: by about sqrt((T - 1) / T). With S = 1 it says nothing
    of the variance between seeds.
    """
    tasks, seeds = values.shape
    choose = np.random.default_rng(seed)
    of_tasks = choose.integers(tasks, size=(draws, tasks, 1))
    of_seeds = choose.integers(seeds, size=(draws, tasks, seeds))
    means = values[of_tasks, of_seeds].mean(axis=(1, 2))  # (draws,)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def average_ranks(table: Floats) -> Floats:
    """Return each method's mean rank over tasks (K,) in `table` (T, K); best is 1, ties share."""
    ranks: Floats = scipy.stats.rankdata(-table.round(TIE_DECIMALS), axis=1)  # (T, K)
    return ranks.mean(axis=0)


def friedman(table: Floats) -> tuple[float, float] | None:
    """Return Friedman's chi square of `table` (T, K), corrected for ties, and its p.

    It asks whether the methods' average ranks differ at all. None for K < 3 or T < 2. The p is that
    of the chi square distribution, which is rough for few tasks.
    """
    tasks, methods = table.shape
    if methods < 3 or tasks < 2:
        return None
    rounded = table.round(TIE_DECIMALS)
    if (rounded == rounded[:, :1]).all():  # all tied: scipy would divide 0 by 0
        return 0.0, 1.0
    found = scipy.stats.friedmanchisquare(*rounded.T)
    return float(found.statistic), float(found.pvalue)


def critical_difference(methods: int, tasks: int, level: float = 0.05) -> float:
    """Return the least significant difference of two average ranks, by Nemenyi's test.

    q * sqrt(K (K + 1) / (6 T)), q the studentized range over sqrt(2): Demšar (2006), section 3.2.2.
    """
    q = scipy.stats.studentized_range.ppf(1 - level, methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(methods * (methods + 1) / (6 * tasks)))


def cliques(ranks: Floats, cd: float) -> list[list[int]]:
    """Return the largest groups of methods whose `ranks` (K,) all differ by less than `cd`.

    A group is a list of two or more indices into `ranks`, the best rank first; groups may share
    methods, and none is within another.
    """
    order = np.argsort(ranks, kind="stable")
    ends = [int(np.sum(ranks[order] - ranks[first] < cd)) for first in order]
    before = [0, *ends]  # a run that ends where the one before it ends is within that
    runs = [order[i:end] for i, end in enumerate(ends) if end > before[i]]
    return [run.tolist() for run in runs if len(run) > 1]


def wilcoxon(a: Floats, b: Floats) -> float:
    """Return the two-sided p of Wilcoxon's signed rank test of `a` (T,) against `b` (T,).

    Tasks on which both are equal are left out; with none left p is 1. Equal differences share their
    mean rank. The p is exact for any number of tasks and any ties: every way to give these ranks
    their signs is counted.
    """
    different = (a - b).round(TIE_DECIMALS)
    different = different[different != 0]
    if not len(different):
        return 1.0
    doubled = (2 * scipy.stats.rankdata(np.abs(different))).astype(int)  # whole, mean ranks too
    better = int(doubled[different > 0].sum())
    lesser = min(better, int(doubled.sum()) - better)
    return min(1.0, 2 * float(_rank_sums(tuple(sorted(doubled)))[: lesser + 1].sum()))


@lru_cache(maxsize=64)  # most pairs of a board without ties have the same ranks
def _rank_sums(ranks: tuple[int, ...]) -> Floats:
    """Return the probability of each sum, 0 ... sum of `ranks`, each counting at even odds."""
    found = np.zeros(sum(ranks) + 1)
    found[0] = 1
    for rank in ranks:
        found[rank:] += found[:-rank].copy()
        found /= 2
    return found


def holm(p: Floats) -> Floats:
    """Return the p values (M,), adjusted for M comparisons: Holm (1979), Demšar (2006), 3.2.2."""
    order = np.argsort(p, kind="stable")
    grown = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(grown, 1)
    return adjusted


def pairwise_p_values(table: Floats) -> Floats:
    """Return Wilcoxon's p of each pair of methods in `table` (T, K), Holm-adjusted: (K, K)."""
    methods = table.shape[1]
    pairs = list(combinations(range(methods), 2))
    found = np.array([wilcoxon(table[:, i], table[:, j]) for i, j in pairs])
    adjusted = np.ones((methods, methods))
    for (i, j), p in zip(pairs, holm(found), strict=True):
        adjusted[i, j] = adjusted[j, i] = p
    return adjusted


def shared_ranks(table: Floats, p: Floats, level: float = 0.05) -> list[tuple[int, int]]:
    """Return the best and the worst rank that each method of `table` (T, K) may hold.

    The best is 1 + the number of methods significantly better than it, the worst K - the number
    significantly worse; significant is a `p`, (K, K), of `pairwise` below `level`, in the direction
    of the mean.
    """
    means = table.mean(axis=0)
    better = (p < level) & (means[None, :] > means[:, None])  # (K, K): j than i
    best, worst = 1 + better.sum(axis=1), len(means) - better.sum(axis=0)
    return list(zip(best.tolist(), worst.tolist(), strict=True))


def smallest_p(tasks: int) -> float:
    """Return the smallest two-sided p that Wilcoxon's test of that many tasks can give: 2 / 2^T.

    Holm's adjustment of M pairs makes it up to M times as much.
    """
    return min(1.0, 2.0 ** (1 - tasks))


def detectable_difference(table: Floats, power: float = 0.8, level: float = 0.05) -> float | None:
    """Return the smallest true mean difference that these tasks would have shown with that `power`.

    That is, in a two-sided paired t test at `level` of two methods of `table` (T, K), whose
    differences vary from task to task as those of the median pair do; in the table's unit. None
    for T < 3 or K < 2. From the noncentral t: Cohen (1988), chapter 2.
    """
    tasks, methods = table.shape
    if tasks < 3 or methods < 2:
        return None
    pairs = combinations(range(methods), 2)
    sd = np.median([np.std(table[:, i] - table[:, j], ddof=1) for i, j in pairs])
    freedom = tasks - 1
    bound = float(scipy.stats.t.ppf(1 - level / 2, freedom))

    def lacking(shift: float) -> float:
        both = scipy.stats.nct.sf(bound, freedom, [shift, -shift])  # the tail below is nan as a cdf
        return float(both.sum() - power)

    return float(scipy.optimize.brentq(lacking, 0.0, 10 * (1 + bound)) * sd / np.sqrt(tasks))


def mcnemar(right_a: Bools, right_b: Bools) -> float:
    """Return the exact two-sided p of two methods being right on equally many of N images (N,).

    Only the images count on which one is right and the other is wrong; without any, p is 1.
    McNemar (1947), in the binomial form of Dietterich (1998), section 3.1.
    """
    only_a, only_b = int(np.sum(right_a & ~right_b)), int(np.sum(right_b & ~right_a))
    if only_a + only_b == 0:
        return 1.0
    return float(scipy.stats.binomtest(only_a, only_a + only_b).pvalue)


def margin_between_seeds(values: Floats, others: int, unit: float, level: float = 0.95) -> float:
    """Return the margin within which a published mean agrees with that of our seeds `values` (S,).

    The published mean is of `others` runs, taken to vary as ours do, and printed to a last digit of
    size `unit`: t * sd * sqrt(1 / S + 1 / others) + unit / 2, the half-width of the prediction
    interval of a mean. ValueError for S < 2: one seed has no spread; see `margin_of_images`.
    """
    seeds = len(values)
    if seeds < 2:
        raise ValueError(f"a margin between seeds needs 2 of them or more; there are {seeds}")
    quantile = scipy.stats.t.ppf((1 + level) / 2, seeds - 1)
    spread = np.std(values, ddof=1) * np.sqrt(1 / seeds + 1 / others)
    return float(quantile * spread + unit / 2)


def margin_from_images(
    accuracies: Floats, images: NDArray[np.int64], unit: float, level: float = 0.95
) -> float:
    """Return the margin of one seed's mean over tasks from the number of test images alone.

    From `accuracies` (T,) in percent on `images` (T,) test images: z * sqrt(sum p (1 - p) / n) / T
    in percent, + unit / 2. It knows nothing of the variance between seeds, and is 0 but for
    unit / 2 where all are 0 or 100.
    """
    p = accuracies / 100
    spread = np.sqrt(np.sum(p * (1 - p) / images)) / len(p)
    return float(100 * scipy.stats.norm.ppf((1 + level) / 2) * spread + unit / 2)


def seeds_interval(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """Return Student's t interval of the mean of seeds `values` (S,), in their unit.

    ValueError for S < 2: one seed has no spread; see `images_interval`.
    """
    seeds = len(values)
    if seeds < 2:
        raise ValueError(f"an interval over seeds needs 2 of them or more; there are {seeds}")
    quantile = scipy.stats.t.ppf(0.5 + level / 2, seeds - 1)
    half = quantile * np.std(values, ddof=1) / np.sqrt(seeds)
    return float(np.mean(values) - half), float(np.mean(values) + half)


def images_interval(accuracy: float, images: int, level: float = 0.95) -> tuple[float, float]:
    """Return the binomial interval of one model's `accuracy` in percent on that many test images.

    Wilson (1927), *Probable inference*. It knows nothing of the variance between seeds.
    """
    right = round(accuracy * images / 100)
    found = scipy.stats.binomtest(right, images).proportion_ci(level, method="wilson")
    return 100 * float(found.low), 100 * float(found.high)


def paired_intervals(table: Floats) -> Floats:
    """Return the bootstrap interval over tasks of each difference of means, (K, K, 2).

    Entry i, j is `bootstrap_interval` of the i-th column of `table` (T, K) less the j-th: both ends
    of an interval whose draws take the same tasks for both methods.
    """
    tasks = len(table)
    drawn = np.random.default_rng(0).integers(tasks, size=(2000, tasks, 1))[..., 0]
    means = table[drawn].mean(axis=1)  # (draws, K)
    ends = [np.quantile(column[:, None] - means, [0.025, 0.975], axis=0) for column in means.T]
    return np.moveaxis(np.array(ends), 1, -1)
