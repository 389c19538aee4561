"""What a study's cells gave, as data frames: a row a value, at its place."""

# MERGED bench.report.study_data: """What trials chose for the cells of a study, and what they found at each learning rate."""
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

from bench.config import search_space
from bench.config.backbone import load_backbone
from bench.config.overrides import is_recipe_field, override_backbone, override_recipe
from bench.config.recipe import Recipe, load_recipe
from bench.config.suite import Suite, load_suite
from bench.papers.study import CELL_COLUMNS, OUTCOME_COLUMNS, Grid, Study
from bench.records import measurements
from bench.records.schema import PROMPTS_FROM, Record, Trial
from bench.records.trials import extract_point
from bench.report.grouping import canonical_json, group_by

CONFIDENCE_LEVEL = 0.95  # of intervals
SUMMARY_COLUMNS = ("mean", "low", "high", "seeds")


@dataclass(frozen=True)
class GridPoint:
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
            backbone = override_backbone(load_backbone(card), self.changes).name
            for task in names:
                said = {axis: of.get(task) for axis, of in self.grid.tasks_as.items()}
                for method in self.grid.methods:
                    for seed in self.grid.seeds:
                        where = (self.suite.name, task, backbone, method, seed)
                        yield dict(zip(CELL_COLUMNS, where, strict=True)) | self.changes | said

    def matches(self, record: Record) -> bool:
        """Whether a record of such a place has the point's recipe and fields, and no other."""
        s = record.settings
        asked = record.request.get("changes", {})
        own = self._protocol(s.suite, s.recipe.get("precision", ""))
        return (
            s.suite_version == self.suite.version
            and s.recipe == own
            and (self.tuned or s.rates == self.recipe.rates(s.method))
            and s.fields.keys() & asked.keys() <= self.changes.keys()
            and all(_field_or_default(record, name, v) == v for name, v in self.changes.items())
        )

    def _protocol(self, suite: str, precision: str) -> dict[str, Any]:
        if self.tuned:
            return search_space.tuned_protocol(self.recipe, suite, precision)
        return self.recipe.protocol(suite, precision)


def _field_or_default(record: Record, name: str, otherwise: Any) -> Any:
    """The record's own value; `otherwise` where the method has no such field."""
    if name == PROMPTS_FROM:
        return record.settings.fields.get(name, record.settings.task)
    return record.settings.fields.get(name, otherwise)


def grid_points(study: Study) -> Iterator[GridPoint]:
    """Each grid with each of its combinations."""
    recipe = load_recipe(study.recipe)
    for grid in study.grid:
        suite = load_suite(grid.suite)
        for changes in grid.variants():
            changed = study.overrides(changes)
            mine = {name: value for name, value in changed.items() if is_recipe_field(name)}
            own = override_recipe(recipe, mine) if mine else recipe
            yield GridPoint(grid, suite, own, changes, study.tune)


def study_cells(
    study: Study, records: Iterable[Record]
) -> Iterator[tuple[dict[str, Any], Record | None]]:
    """Each place of the study, and the record that it has.

    Of records of a backbone with several weights, inputs or precisions, those of the commonest; of
    a task with several variants of the data, or of a plug-in's method with several codes, likewise.
    """
    by_place = group_by(_comparable_records(r for r in records if r.ok), _record_key)
    seen = set[str]()
    for point in grid_points(study):
        for place in point.places():
            if canonical_json(place) in seen:
                continue
            seen.add(canonical_json(place))
            found = by_place.get(tuple(place[name] for name in CELL_COLUMNS), [])
            yield place, next((record for record in found if point.matches(record)), None)


def _record_key(record: Record) -> tuple[Any, ...]:
    return tuple(getattr(record.settings, name) for name in CELL_COLUMNS)


def _comparable_records(records: Iterable[Record]) -> list[Record]:
    ordered = sorted(records, key=lambda record: record.cell)
    alike = []
    for found in group_by(ordered, lambda r: (r.settings.suite, r.settings.backbone)).values():
        of_one = _commonest(found, _run_conditions)
        for of_task in group_by(of_one, lambda r: r.settings.task).values():
            of_data = _commonest(of_task, lambda r: canonical_json(r.settings.data_key))
            for of_method in group_by(of_data, lambda r: r.settings.method).values():
                alike += _commonest(of_method, lambda r: r.settings.code)
    return alike


def _commonest(records: list[Record], key: Callable[[Record], str]) -> list[Record]:
    """Of the records those whose key most have."""
    most = Counter(map(key, records)).most_common(1)[0][0]
    return [record for record in records if key(record) == most]


def _run_conditions(record: Record) -> str:
    """What all the records of a backbone must have alike: tasks of others are not set beside."""
    s = record.settings
    return canonical_json([s.weights, s.input, s.recipe.get("precision")])


def outcome_frame(study: Study, records: Iterable[Record]) -> pd.DataFrame:
    """A row a cell that has an outcome: its place, and what it gave."""
    rows = [
        {**place, **{name: getattr(record.outcome, name) for name in OUTCOME_COLUMNS}}
        for place, record in study_cells(study, records)
        if record
    ]
    return pd.DataFrame(rows, columns=[*CELL_COLUMNS, *study.varied(), *OUTCOME_COLUMNS])


def measurement_frame(
    study: Study, records: Iterable[Record], results: Path, measurement: str
) -> pd.DataFrame:
    """A row a value that was measured: the cell's place, and the measurement's columns."""
    columns, rows = list(measurements.find_measurement(measurement).columns), []
    for place, record in study_cells(study, records):
        found = measurements.read_measurement(results, record.cell, measurement) if record else None
        rows += (
            [{**place, **dict(zip(columns, row, strict=True))} for row in found.rows]
            if found
            else []
        )
    return pd.DataFrame(rows, columns=[*CELL_COLUMNS, *study.varied(), *columns])


def value_frame(study: Study, records: Iterable[Record], results: Path, value: str) -> pd.DataFrame:
    """The frame that has a value, without the rows where it was not taken."""
    source = study.measurement_for(value)
    if source:
        return measurement_frame(study, records, results, source).dropna(subset=[value])
    return outcome_frame(study, records)


def summarise_over_seeds(frame: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """The mean over seeds at each place `by`, and its 95 % interval (Student's t), a row each.

    What a place does not tell apart is averaged within each seed first. Of one seed there is no
    interval.
    """
    each = frame.groupby([*by, "seed"], sort=False, dropna=False)[value].mean()
    if not len(each):
        return pd.DataFrame(columns=[*by, *SUMMARY_COLUMNS])
    return confidence_intervals(each, by).rename(columns={"count": "seeds"})[
        [*by, *SUMMARY_COLUMNS]
    ]


def confidence_intervals(values: pd.Series, by: Sequence[str]) -> pd.DataFrame:
    """Of the values alike in the levels `by`: mean, its interval from low to high, and count."""
    found = values.groupby(level=list(by), sort=False, dropna=False).agg(["mean", "std", "count"])
    freedom = found["count"] - 1
    half = stats.t.ppf((1 + CONFIDENCE_LEVEL) / 2, freedom.where(freedom > 0)) * found["std"]
    half = half / found["count"].map(sqrt)
    found["low"], found["high"] = found["mean"] - half, found["mean"] + half
    return found.reset_index()


SEARCH_COLUMNS = ("suite", "task", "backbone", "method")


def tuned_points(study: Study, records: Iterable[Record]) -> pd.DataFrame:
    """A row a search: its place, what was chosen of what trials tried more than one value of.

    `ends`: whether the learning rate is the least or the largest of those tried.
    """
    return pd.DataFrame(
        [
            place | _tuned_point(record, trials)
            for place, record, trials in _unique_searches(study, records)
        ]
    )


def best_by_learning_rate(study: Study, records: Iterable[Record]) -> pd.DataFrame:
    """A row a search and learning rate: its place, `lr`, and the best validation `accuracy` there.

    Empty where trials tried one learning rate alone. A trial without an accuracy has no row.
    """
    rows = [
        place | {"lr": trial.point["lr"], "accuracy": trial.accuracy}
        for place, _, trials in _unique_searches(study, records)
        for trial in trials
        if trial.accuracy is not None
    ]
    if len({row["lr"] for row in rows}) < 2:
        return pd.DataFrame()
    known = [name for name in rows[0] if name != "accuracy"]
    found = pd.DataFrame(rows).groupby(known, sort=False, dropna=False)["accuracy"].max()
    return found.reset_index()


def _unique_searches(
    study: Study, records: Iterable[Record]
) -> Iterator[tuple[dict[str, Any], Record, list[Trial]]]:
    """Each search once, with its place and the first of its final runs."""
    seen = set[tuple[str, ...]]()
    for place, record in study_cells(study, records):
        if record and record.tuned:
            known = {name: place[name] for name in (*SEARCH_COLUMNS, *study.varied())}
            if (key := tuple(map(str, known.values()))) not in seen:
                seen.add(key)
                yield known, record, record.tuned.trials


def _tuned_point(record: Record, trials: list[Trial]) -> dict[str, Any]:
    tried = pd.DataFrame([trial.point for trial in trials])
    point = extract_point(record.settings, trials[0].point)
    rates = tried["lr"]
    ends = len(set(rates)) > 1 and point["lr"] in (rates.min(), rates.max())
    open_ = [name for name in point if tried[name].astype(str).nunique() > 1]
    return {**{name: point[name] for name in open_}, "ends": ends}
