"""Accuracies by the task that prompts start from and the task that they are trained on.

Source: Wang et al., 2024, Figures 3(b) and S1(a), https://arxiv.org/abs/2402.02382.
"""

from collections.abc import Iterable, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from bench.records import PROMPTS_FROM, Record
from bench.report.grouping import gather

Floats = NDArray[np.float64]


def accuracies(records: Iterable[Record], tasks: Sequence[str]) -> Floats:
    """Percent on the task of each column from the source of each row, (T, T): means over seeds.

    The records are those of one method that share a table and differ in their source alone. On the
    diagonal stand the ordinary cells; what has no result is NaN.
    """
    means = {
        pair: fmean(record.outcome.accuracy for record in alike if record.outcome)
        for pair, alike in gather((r for r in records if r.outcome), _source_and_task).items()
    }
    return np.array([[means.get((source, task), np.nan) for task in tasks] for source in tasks])


def normalised(matrix: Floats) -> Floats:
    """Each column of (S, T) from 0, its worst source, to 1, its best: a task is one scale.

    The paper normalises a column "for clarity" and leaves unsaid how; this is what shows the order
    of sources most clearly, and says nothing of how far apart they are. Where all sources of a task
    are equal, each is its best: 1. NaN stays NaN.
    """
    known = ~np.isnan(matrix)
    low = np.min(matrix, axis=0, where=known, initial=np.inf)
    high = np.max(matrix, axis=0, where=known, initial=-np.inf)
    apart = high > low
    scaled = (matrix - np.where(apart, low, 0)) / np.where(apart, high - low, 1)
    return np.where(known & ~apart, 1.0, scaled)


def _source_and_task(record: Record) -> tuple[str, str]:
    s = record.settings
    return s.fields.get(PROMPTS_FROM, s.task), s.task
