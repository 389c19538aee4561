"""The effect of a trick on a table: points, pairs of methods that swap, and their intervals.

A trick turns the accuracies `before` (T, K), of T tasks and K methods, into `after` (T, K).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb

import numpy as np

from bench.report.statistics import TIE_DECIMALS, Bools, Floats

DRAWS, BLOCK = 1000, 100  # drawn at a time, for the memory of (B, K, K)


@dataclass(frozen=True)
class Effect:
    """The same methods and tasks without a trick and with it."""

    place: Mapping[str, str]  # suite, backbone, recipe ...
    before: Floats  # (T, K)
    after: Floats  # (T, K)
    weights_before: Floats  # (T,), of the mean over tasks
    weights_after: Floats  # (T,)

    @property
    def tasks(self) -> int:
        return self.before.shape[0]

    @property
    def methods(self) -> int:
        return self.before.shape[1]

    @property
    def pairs(self) -> int:
        return comb(self.methods, 2)

    @cached_property
    def gains(self) -> Floats:
        """Points that the mean of each method gains, (K,)."""
        before, after = self._means
        return after - before

    @cached_property
    def _means(self) -> tuple[Floats, Floats]:
        """The means over tasks before and after, each (K,)."""
        return _mean(self.before, self.weights_before), _mean(self.after, self.weights_after)

    @property
    def swaps_of_all(self) -> int:
        """Pairs in opposite orders before and after, where every method has the trick."""
        return int(_swapped(*self._means).sum())

    @property
    def swaps_of_one(self) -> int:
        """Pairs whose lower method is the higher one as soon as it alone has the trick."""
        return int(_overtaken(*self._means).sum())

    @property
    def widest_lead(self) -> float:
        """The largest difference before of a pair that swaps where one has the trick; 0: none."""
        before = self._means[0]
        leads = (before[None, :] - before[:, None])[_overtaken(*self._means)]
        return float(leads.max(initial=0.0))

    @cached_property
    def intervals(self) -> "Intervals":
        """Of the mean gain, and of the shares of pairs that swap, over tasks and methods drawn."""
        choose = np.random.default_rng(0)
        drawn = np.concatenate([self._draw(choose) for _ in range(DRAWS // BLOCK)])  # (draws, 3)
        low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0)
        return Intervals(*zip(low.tolist(), high.tolist(), strict=True))

    def _draw(self, choose: np.random.Generator) -> Floats:
        """Return mean gains and both shares (B, 3) for tasks and methods drawn with replacement."""
        some = choose.integers(self.tasks, size=(BLOCK, self.tasks))
        who = choose.integers(self.methods, size=(BLOCK, self.methods))
        before, after = (
            np.take_along_axis(_mean(table[some], weights[some]), who, axis=1)  # (B, K)
            for table, weights in (
                (self.before, self.weights_before),
                (self.after, self.weights_after),
            )
        )
        pairs = (who[:, :, None] < who[:, None, :]).sum(axis=(1, 2))  # of different methods
        counts = (one(before, after).sum(axis=(1, 2)) for one in (_swapped, _overtaken))
        shares = (np.where(pairs, found / np.maximum(pairs, 1), np.nan) for found in counts)
        return np.stack([(after - before).mean(axis=1), *shares], axis=1)


@dataclass(frozen=True)
class Intervals:
    """95 % intervals."""

    gain: tuple[float, float]  # points
    all_swap: tuple[float, float]  # share of pairs
    one_swaps: tuple[float, float]  # share of pairs


def effect(place: Mapping[str, str], before: Floats, after: Floats) -> Effect:
    """Return the effect on plain means over tasks."""
    alike = np.ones(len(before))
    return Effect(place, before, after, alike, alike)


def group_effect(place: Mapping[str, str], table: Floats, groups: Sequence[str]) -> Effect:
    """Return the effect of the mean over `groups`, one a task, instead of that over tasks.

    A task weighs as much as 1 over the number of its group's tasks, also among tasks drawn.
    """
    weights = np.array([1 / groups.count(group) for group in groups])
    return Effect(place, table, table, np.ones(len(groups)), weights)


def _mean(table: Floats, weights: Floats) -> Floats:
    """Return the weighted means over tasks (..., K) of `table` (..., T, K)."""
    mean: Floats = np.einsum("...t,...tk->...k", weights, table)
    return mean / weights.sum(axis=-1, keepdims=True)


def _swapped(before: Floats, after: Floats) -> Bools:
    """Return whether method i goes from below method j to above it, (..., K, K)."""
    return _above(before, before).swapaxes(-1, -2) & _above(after, after)


def _overtaken(before: Floats, after: Floats) -> Bools:
    """Return whether i, below j before, is above it once i alone has the trick, (..., K, K)."""
    return _above(before, before).swapaxes(-1, -2) & _above(after, before)


def _above(one: Floats, other: Floats) -> Bools:
    """Return whether method i of `one` is above method j of `other` (..., K), (..., K, K)."""
    higher: Bools = (one[..., :, None] - other[..., None, :]).round(TIE_DECIMALS) > 0
    return higher


def best_of(scores: Floats, draws: int) -> Floats:
    """Return the expected best of `draws` of the `scores` (N, ...), along the first axis.

    Drawn without replacement, exactly: the i-th smallest is the best of C(i - 1, draws - 1) of
    the C(N, draws) draws. ValueError for more draws than scores.
    """
    weights = best_of_weights(len(scores), draws)
    best: Floats = np.tensordot(weights, np.sort(scores, axis=0), axes=1)
    return best


def best_of_weights(scores: int, draws: int) -> Floats:
    """Return the probability (N,) with which each score, from the smallest up, is the best."""
    if not 1 <= draws <= scores:
        raise ValueError(f"{draws} draws need as many scores; there are {scores}")
    return np.array([comb(i, draws - 1) / comb(scores, draws) for i in range(scores)])
