"""What trials chose for the cells of a study, and what they found at each learning rate."""

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from bench import search
from bench.records import Record, Trial
from bench.studies import frames
from bench.studies.cards import Study

PLACE = ("suite", "task", "backbone", "method")


def points(study: Study, records: Iterable[Record]) -> pd.DataFrame:
    """A row a search: its place, what was chosen of what trials tried more than one value of.

    `ends`: whether the learning rate is the least or the largest of those tried.
    """
    return pd.DataFrame(
        [place | _chosen(record, trials) for place, record, trials in _searches(study, records)]
    )


def by_rate(study: Study, records: Iterable[Record]) -> pd.DataFrame:
    """A row a search and learning rate: its place, `lr`, and the best validation `accuracy` there.

    Empty where trials tried one learning rate alone. A trial without an accuracy has no row.
    """
    rows = [
        place | {"lr": trial.point["lr"], "accuracy": trial.accuracy}
        for place, _, trials in _searches(study, records)
        for trial in trials
        if trial.accuracy is not None
    ]
    if len({row["lr"] for row in rows}) < 2:
        return pd.DataFrame()
    known = [name for name in rows[0] if name != "accuracy"]
    found = pd.DataFrame(rows).groupby(known, sort=False, dropna=False)["accuracy"].max()
    return found.reset_index()


def _searches(
    study: Study, records: Iterable[Record]
) -> Iterator[tuple[dict[str, Any], Record, list[Trial]]]:
    """Each search once, with its place and the first of its final runs."""
    seen = set[tuple[str, ...]]()
    for place, record in frames.cells(study, records):
        if record and record.tuned:
            known = {name: place[name] for name in (*PLACE, *study.varied())}
            if (key := tuple(map(str, known.values()))) not in seen:
                seen.add(key)
                yield known, record, record.tuned.trials


def _chosen(record: Record, trials: list[Trial]) -> dict[str, Any]:
    tried = pd.DataFrame([trial.point for trial in trials])
    point = search.point_of(record.settings, trials[0].point)
    rates = tried["lr"]
    ends = len(set(rates)) > 1 and point["lr"] in (rates.min(), rates.max())
    open_ = [name for name in point if tried[name].astype(str).nunique() > 1]
    return {**{name: point[name] for name in open_}, "ends": ends}
