"""What a study's cells gave, as data frames: a row a value, at its place."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

from bench import cards, search
from bench.cards import Recipe, Suite
from bench.changes import change_backbone, change_recipe, is_of_recipe
from bench.records import PROMPTS_FROM, Record
from bench.report.grouping import canonical, gather
from bench.studies import kept, measurements
from bench.studies.cards import OUTCOMES, WHICH, Grid, Study

LEVEL = 0.95  # of intervals
FOUND = ("mean", "low", "high", "seeds")


@dataclass(frozen=True)
class Point:
    """A grid with one combination of its varied values; which records are of it."""

    grid: Grid
    suite: Suite
    recipe: Recipe  # with what is varied of it
    changes: dict[str, Any]
    tuned: bool = False  # by trials, which choose the rates

    def places(self) -> Iterator[dict[str, Any]]:
        """Each of its cells, in the order of the card."""
        names = self.grid.tasks or [task.name for task in self.suite.task]
        for card in self.grid.backbones:
            backbone = change_backbone(cards.load_backbone(card), self.changes).name
            for task in names:
                said = {axis: of.get(task) for axis, of in self.grid.tasks_as.items()}
                for method in self.grid.methods:
                    for seed in self.grid.seeds:
                        where = (self.suite.name, task, backbone, method, seed)
                        yield dict(zip(WHICH, where, strict=True)) | self.changes | said

    def has(self, record: Record) -> bool:
        """Whether a record of such a place has the point's recipe and fields, and no other."""
        s = record.settings
        asked = record.request.get("changes", {})
        own = self._protocol(s.suite, s.recipe.get("precision", ""))
        return (
            s.suite_version == self.suite.version
            and s.recipe == own
            and (self.tuned or s.rates == self.recipe.rates(s.method))
            and s.fields.keys() & asked.keys() <= self.changes.keys()
            and all(_field(record, name, v) == v for name, v in self.changes.items())
        )

    def _protocol(self, suite: str, precision: str) -> dict[str, Any]:
        if self.tuned:
            return search.protocol(self.recipe, suite, precision)
        return self.recipe.protocol(suite, precision)


def _field(record: Record, name: str, otherwise: Any) -> Any:
    """The record's own value; `otherwise` where the method has no such field."""
    if name == PROMPTS_FROM:
        return record.settings.fields.get(name, record.settings.task)
    return record.settings.fields.get(name, otherwise)


def points(study: Study) -> Iterator[Point]:
    """Each grid with each of its combinations."""
    recipe = cards.load_recipe(study.recipe)
    for grid in study.grid:
        suite = cards.load_suite(grid.suite)
        for changes in grid.variants():
            changed = study.changed(changes)
            mine = {name: value for name, value in changed.items() if is_of_recipe(name)}
            own = change_recipe(recipe, mine) if mine else recipe
            yield Point(grid, suite, own, changes, study.tune)


def cells(
    study: Study, records: Iterable[Record]
) -> Iterator[tuple[dict[str, Any], Record | None]]:
    """Each place of the study, and the record that it has.

    Of records of a backbone with several weights, inputs or precisions, those of the commonest; of
    a task with several variants of the data, or of a plug-in's method with several codes, likewise.
    """
    by_place = gather(_alike(r for r in records if r.ok), _where)
    seen = set[str]()
    for point in points(study):
        for place in point.places():
            if canonical(place) in seen:
                continue
            seen.add(canonical(place))
            found = by_place.get(tuple(place[name] for name in WHICH), [])
            yield place, next((record for record in found if point.has(record)), None)


def _where(record: Record) -> tuple[Any, ...]:
    return tuple(getattr(record.settings, name) for name in WHICH)


def _alike(records: Iterable[Record]) -> list[Record]:
    ordered = sorted(records, key=lambda record: record.cell)
    alike = []
    for found in gather(ordered, lambda r: (r.settings.suite, r.settings.backbone)).values():
        of_one = _commonest(found, _conditions)
        for of_task in gather(of_one, lambda r: r.settings.task).values():
            of_data = _commonest(of_task, lambda r: canonical(r.settings.data))
            for of_method in gather(of_data, lambda r: r.settings.method).values():
                alike += _commonest(of_method, lambda r: r.settings.code)
    return alike


def _commonest(records: list[Record], key: Callable[[Record], str]) -> list[Record]:
    """Of the records those whose key most have."""
    most = Counter(map(key, records)).most_common(1)[0][0]
    return [record for record in records if key(record) == most]


def _conditions(record: Record) -> str:
    """What all the records of a backbone must have alike: tasks of others are not set beside."""
    s = record.settings
    return canonical([s.weights, s.input, s.recipe.get("precision")])


def outcomes(study: Study, records: Iterable[Record]) -> pd.DataFrame:
    """A row a cell that has an outcome: its place, and what it gave."""
    rows = [
        {**place, **{name: getattr(record.outcome, name) for name in OUTCOMES}}
        for place, record in cells(study, records)
        if record
    ]
    return pd.DataFrame(rows, columns=[*WHICH, *study.varied(), *OUTCOMES])


def measured(
    study: Study, records: Iterable[Record], results: Path, measurement: str
) -> pd.DataFrame:
    """A row a value that was measured: the cell's place, and the measurement's columns."""
    columns, rows = list(measurements.find(measurement).columns), []
    for place, record in cells(study, records):
        found = kept.read(results, record.cell, measurement) if record else None
        rows += (
            [{**place, **dict(zip(columns, row, strict=True))} for row in found.rows]
            if found
            else []
        )
    return pd.DataFrame(rows, columns=[*WHICH, *study.varied(), *columns])


def of_value(study: Study, records: Iterable[Record], results: Path, value: str) -> pd.DataFrame:
    """The frame that has a value, without the rows where it was not taken."""
    source = study.source(value)
    if source:
        return measured(study, records, results, source).dropna(subset=[value])
    return outcomes(study, records)


def summary(frame: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """The mean over seeds at each place `by`, and its 95 % interval (Student's t), a row each.

    What a place does not tell apart is averaged within each seed first. Of one seed there is no
    interval.
    """
    each = frame.groupby([*by, "seed"], sort=False, dropna=False)[value].mean()
    if not len(each):
        return pd.DataFrame(columns=[*by, *FOUND])
    return intervals(each, by).rename(columns={"count": "seeds"})[[*by, *FOUND]]


def intervals(values: pd.Series, by: Sequence[str]) -> pd.DataFrame:
    """Of the values alike in the levels `by`: mean, its interval from low to high, and count."""
    found = values.groupby(level=list(by), sort=False, dropna=False).agg(["mean", "std", "count"])
    freedom = found["count"] - 1
    half = stats.t.ppf((1 + LEVEL) / 2, freedom.where(freedom > 0)) * found["std"]
    half = half / found["count"].map(sqrt)
    found["low"], found["high"] = found["mean"] - half, found["mean"] + half
    return found.reset_index()
