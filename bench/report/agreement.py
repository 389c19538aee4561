"""How alike two models' predictions are: agreement, overlap of errors, and what both could be.

N images; classes and labels are (N,), of whole numbers. Numbers are in percent.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

Classes = NDArray[np.int16]
Runs = Mapping[int, Classes]  # the predicted classes of one method on one task, by seed


@dataclass(frozen=True)
class Likeness:
    """How alike two predictions, or the mean of several pairs, are."""

    agreement: float  # images with the same predicted class
    overlap: float | None  # Jaccard of the wrong images: both wrong, of either wrong; None: none is
    independent: float | None  # the overlap if errors of these rates were independent
    either: float  # an oracle's accuracy: images that at least one has right
    pairs: int = 1
    same_seed: bool = False  # for want of others, both models of a pair have the same seed


def compare(first: Classes, second: Classes, labels: Classes) -> Likeness:
    """Compare two predictions of the same images."""
    wrong, wrong_too = first != labels, second != labels
    both, any_wrong = (wrong & wrong_too).mean(), (wrong | wrong_too).mean()
    chance = wrong.mean() * wrong_too.mean()
    union = wrong.mean() + wrong_too.mean() - chance
    return Likeness(
        100 * float((first == second).mean()),
        100 * float(both / any_wrong) if any_wrong else None,
        100 * float(chance / union) if union else None,
        100 * float(1 - both),
    )


def compare_seeds(runs: Runs, labels: Classes) -> Likeness | None:
    """Compare each pair of seeds of one method; None for fewer than two."""
    pairs = [compare(runs[s], runs[t], labels) for s, t in combinations(sorted(runs), 2)]
    return mean_likeness(pairs) if pairs else None


def compare_methods(first: Runs, second: Runs, labels: Classes) -> Likeness:
    """Compare each pair of runs of two methods with different seeds; without any, of the same.

    With the same seed two methods see the same batches, as two seeds of one method do not.
    """
    seeds = sorted(product(first, second))
    apart = [pair for pair in seeds if pair[0] != pair[1]]
    pairs = [compare(first[s], second[t], labels) for s, t in apart or seeds]
    return mean_likeness(pairs, same_seed=not apart)


def mean_likeness(found: Sequence[Likeness], same_seed: bool = False) -> Likeness:
    """Return the mean of some pairs, or over tasks; an overlap that is None is left out."""
    return Likeness(
        fmean(one.agreement for one in found),
        _mean_of_known(one.overlap for one in found),
        _mean_of_known(one.independent for one in found),
        fmean(one.either for one in found),
        sum(one.pairs for one in found),
        same_seed or any(one.same_seed for one in found),
    )


def _mean_of_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def accuracy(classes: Classes, labels: Classes) -> float:
    """Return the share of right predictions."""
    return 100 * float((classes == labels).mean())


def majority(votes: Sequence[Classes], labels: Classes) -> float:
    """Return the accuracy of what most of three predictions say.

    Where all three differ, each of them is the answer a third of the time.
    """
    right = sum((vote == labels).astype(float) for vote in votes)
    first, second, third = votes
    tied = (first != second) & (first != third) & (second != third)
    return 100 * float(np.where(tied, right / 3, right >= 2).mean())


def majority_of_seeds(runs: Runs, labels: Classes) -> float | None:
    """Return the majority's accuracy of each three seeds of one method; None for fewer."""
    found = [
        majority([runs[seed] for seed in three], labels) for three in combinations(sorted(runs), 3)
    ]
    return fmean(found) if found else None


def majority_with_another(runs: Runs, other: Runs, labels: Classes) -> float | None:
    """Return the majority's accuracy of two seeds of a method and a third seed of another."""
    found = [
        majority([runs[s], runs[t], other[u]], labels)
        for s, t in combinations(sorted(runs), 2)
        for u in sorted(other)
        if u not in (s, t)
    ]
    return fmean(found) if found else None
