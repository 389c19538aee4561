"""What trials chose for the cells of a study."""

from collections.abc import Iterable
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
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for place, record in frames.cells(study, records):
        if record and record.tuned:
            known = (*PLACE, *study.varied())
            row = {name: place[name] for name in known} | _chosen(record, record.tuned.trials)
            rows.setdefault(tuple(map(str, (row[name] for name in known))), row)
    return pd.DataFrame(list(rows.values()))


def _chosen(record: Record, trials: list[Trial]) -> dict[str, Any]:
    tried = pd.DataFrame([trial.point for trial in trials])
    point = search.point_of(record.settings, trials[0].point)
    rates = tried["lr"]
    ends = len(set(rates)) > 1 and point["lr"] in (rates.min(), rates.max())
    open_ = [name for name in point if tried[name].astype(str).nunique() > 1]
    return {**{name: point[name] for name in open_}, "ends": ends}
