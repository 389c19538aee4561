"""Warnings of weak baselines: fewer trials than the rows above, or a rate at the grid's edge."""

from collections.abc import Iterator, Sequence

from bench.report.rows import MethodRow

BASELINES = ("full", "linear")


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
                f"Weak baseline: the learning rate of {row.label} is the least or the greatest "
                f"that was tried on {len(edge)} of {len(row.cells)} tasks."
            )
