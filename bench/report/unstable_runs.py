"""A warning: final runs far below the trials that chose their learning rates."""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from bench.report.rows import MethodRow

OUTER_FENCE = 3.0  # interquartile ranges below the first quartile (Tukey 1977: "far out")


class TunedRun(NamedTuple):
    """A final run beside the best of its trials, both top-1 percent."""

    label: str  # of its row
    task: str
    seed: int
    test: float
    validation: float

    @property
    def gap(self) -> float:
        return self.test - self.validation


def unstable_warning(rows: Sequence[MethodRow]) -> str:
    """Return the sentence on runs far below their own trials; empty without any."""
    named = [
        f"{run.label} on {run.task}, seed {run.seed} ({run.test:.2f} %, {run.validation:.2f} % in "
        "tuning)"
        for run in _unstable(list(_tuned_runs(rows)))
    ]
    if not named:
        return ""
    return (
        "Unstable runs, which scored far less on test than on validation data in tuning (beyond "
        f"Tukey's outer fence, each run relative to the median of its task): {'; '.join(named)}."
    )


def _unstable(runs: Sequence[TunedRun]) -> list[TunedRun]:
    """Return the runs beyond the fence, worst first.

    A task whose test images are harder than its validation images moves all its runs, and with
    them the median that each is compared with.
    """
    if not runs:
        return []
    tasks = {run.task for run in runs}
    of_task = {task: median(run.gap for run in runs if run.task == task) for task in tasks}
    gaps = np.array([run.gap - of_task[run.task] for run in runs])  # (N,)
    first, third = np.percentile(gaps, [25, 75])
    beyond = np.flatnonzero(gaps < first - OUTER_FENCE * (third - first))
    return [runs[i] for i in beyond[np.argsort(gaps[beyond], kind="stable")]]


def _tuned_runs(rows: Sequence[MethodRow]) -> Iterator[TunedRun]:
    for row in rows:
        for (task, seed), validation in row.search.validated.items():
            test = row.cells[task].accuracies.get(seed)
            if test is not None:
                yield TunedRun(row.label, task, seed, test, validation)
