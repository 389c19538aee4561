"""Warnings: baselines with fewer trials than rows above, rates at grids' edges, mixed machines."""

from collections.abc import Iterator, Sequence

import scipy  # loads its subpackages when they are used: `stats` takes long

from bench.report.rows import MethodRow

BASELINES = ("full", "linear")
LEVEL = 0.05


def baseline_warnings(rows: Sequence[MethodRow]) -> Iterator[str]:
    """Yield a sentence for each weakness of a baseline among the complete rows, best first."""
    for i, row in enumerate(rows):
        if row.method not in BASELINES:
            continue
        trials, edge = row.search.trials, row.search.edge_tasks
        most = max((above.search.trials for above in rows[:i]), default=0)
        if most > trials:
            yield f"Weak baseline: {row.label} had {trials} trials, a row above it {most}."
        if edge:
            yield (
                f"Weak baseline: the learning rate of {row.label} is the smallest or the largest "
                f"that was tried on {len(edge)} of {len(row.cells)} tasks."
            )


def machine_warning(rows: Sequence[MethodRow]) -> str:
    """Return the sentence on times that were measured on several machines; empty without any."""
    if mixed := sum(not row.machine for row in rows):
        return (
            f"The tasks of {mixed} of {len(rows)} rows ran on several machines: their init is a "
            "mean over them, to be compared only with rows of the same mixture."
        )
    if len({row.machine for row in rows}) > 1:
        return "Rows ran on different machines: their init times are not comparable."
    return ""


def edge_warnings(rows: Sequence[MethodRow]) -> Iterator[str]:
    """Yield the sentence on rows whose rates lie at the grid's edge on more tasks than by chance.

    By chance two of n rates are at an edge: one-sided binomial test of each row, uncorrected.
    """
    named = [
        f"{row.label} ({len(row.search.edge_tasks)} of {len(row.cells)} tasks, {row.search.rates} "
        "rates)"
        for row in rows
        if row.search.rates and row.search.edge_tasks and _edge_p(row) < LEVEL
    ]
    if named:
        yield (
            "Learning rates at the edge of the grid on more tasks than expected by chance: "
            f"{', '.join(named)}."
        )


def _edge_p(row: MethodRow) -> float:
    """Return the probability of as many tasks at an edge, if all rates were equally likely."""
    by_chance = scipy.stats.binom(len(row.cells), 2 / row.search.rates)
    return float(by_chance.sf(len(row.search.edge_tasks) - 1))
