"""A study's cells with their records, and what these gave as data frames, a row per value."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
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
from bench.records.schema import PROMPTS_FROM, Record, Trial, extract_point
from bench.report.frame import canonical_json

CONFIDENCE_LEVEL = 0.95  # of intervals
SUMMARY_COLUMNS = ("mean", "low", "high", "seeds")


@dataclass(frozen=True)
class GridPoint:
    """A grid with one combination of its varied values."""

    grid: Grid
    suite: Suite
    recipe: Recipe  # with the varied values
    changes: dict[str, Any]
    tuned: bool = False  # by trials, which choose the rates

    def places(self) -> Iterator[dict[str, Any]]:
        """Yield the place of each cell, in the order of the card."""
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
        """Return whether a record of a place has the point's recipe and fields, and no others."""
        s = record.settings
        asked = record.request.get("changes", {})
        own = self._protocol(s.suite, s.recipe.get("precision", ""), s.method)
        return (
            s.suite_version == self.suite.version
            and s.recipe == own
            and (self.tuned or s.rates == self.recipe.rates(s.method))
            and s.fields.keys() & asked.keys() <= self.changes.keys()
            and all(_field_or_default(record, name, v) == v for name, v in self.changes.items())
        )

    def _protocol(self, suite: str, precision: str, method: str) -> dict[str, Any]:
        if self.tuned:
            return search_space.tuned_protocol(self.recipe, suite, precision, method)
        return self.recipe.protocol(suite, precision)


def _field_or_default(record: Record, name: str, otherwise: Any) -> Any:
    """Return the record's own value; `otherwise` where the method has no such field."""
    if name == PROMPTS_FROM:
        return record.settings.fields.get(name, record.settings.task)
    return record.settings.fields.get(name, otherwise)


def grid_points(study: Study) -> Iterator[GridPoint]:
    """Yield each grid with each of its combinations."""
    recipe = load_recipe(study.recipe)
    for grid in study.grid:
        suite = load_suite(grid.suite)
        for changes in grid.variants():
            changed = study.overrides(changes)
            mine = {name: value for name, value in changed.items() if is_recipe_field(name)}
            own = override_recipe(recipe, mine) if mine else recipe
            yield GridPoint(grid, suite, own, changes, study.tune)


StudyCell = tuple[dict[str, Any], Record | None]  # its place, and its record where there is one
RecordsByCell = Mapping[Hashable, list[Record]]  # by the values of `CELL_COLUMNS`


def records_by_cell(frame: pd.DataFrame) -> RecordsByCell:
    """Return the comparable records with an outcome, by the values of `CELL_COLUMNS`."""
    return comparable_records(frame).groupby(list(CELL_COLUMNS))["record"].agg(list).to_dict()


def comparable_records(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep the records with an outcome that can be compared with each other.

    If a backbone has records with several weights, inputs or precisions, the most frequent one is
    kept; likewise for variants of the data of a task, and versions of the code of a plug-in method.
    """
    alike = _keep_commonest(frame[frame["ok"]], ["suite", "backbone"], ["trunk"])
    alike = _keep_commonest(alike, ["suite", "backbone", "task"], ["split", "classes"])
    return _keep_commonest(alike, ["suite", "backbone", "task", "method"], ["code"])


def _keep_commonest(frame: pd.DataFrame, by: list[str], columns: list[str]) -> pd.DataFrame:
    """Keep, of the records alike `by` some columns, those with the commonest values of others."""
    count = frame.groupby([*by, *columns])["cell"].transform("size")
    ordered = frame.assign(count=count).sort_values("count", ascending=False, kind="stable")
    return frame.merge(ordered.drop_duplicates(by)[[*by, *columns]])


def study_cells(study: Study, records: RecordsByCell) -> list[StudyCell]:
    """Return each place of the study with the record that it has."""
    cells: dict[str, StudyCell] = {}
    for point in grid_points(study):
        for place in point.places():
            key = canonical_json(place)
            if key not in cells:
                alike = records.get(tuple(place[name] for name in CELL_COLUMNS), [])
                cells[key] = place, next(filter(point.matches, alike), None)
    return list(cells.values())


def outcome_frame(study: Study, cells: Iterable[StudyCell]) -> pd.DataFrame:
    """Return a row per cell that has an outcome: its place, and what it gave."""
    rows = [
        {**place, **{name: getattr(record.outcome, name) for name in OUTCOME_COLUMNS}}
        for place, record in cells
        if record
    ]
    return pd.DataFrame(rows, columns=[*CELL_COLUMNS, *study.varied(), *OUTCOME_COLUMNS])


def measurement_frame(
    study: Study, cells: Iterable[StudyCell], results: Path, measurement: str
) -> pd.DataFrame:
    """Return a row per value that was measured: the cell's place, and the measurement's columns."""
    columns, rows = list(measurements.find_measurement(measurement).columns), []
    for place, record in cells:
        found = measurements.find_measured(results, record.cell, measurement) if record else None
        rows += (
            [{**place, **dict(zip(columns, row, strict=True))} for row in found.rows]
            if found
            else []
        )
    return pd.DataFrame(rows, columns=[*CELL_COLUMNS, *study.varied(), *columns])


def value_frame(
    study: Study, cells: Iterable[StudyCell], results: Path, value: str
) -> pd.DataFrame:
    """Return the frame that has a value, without the rows where it was not taken."""
    source = study.measurement_for(value)
    if source:
        return measurement_frame(study, cells, results, source).dropna(subset=[value])
    return outcome_frame(study, cells)


def summarise_over_seeds(frame: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Return the mean over seeds at each place `by`, with its 95 % interval (Student's t).

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
    """Return mean, interval (low and high) and count of the values alike in the levels `by`."""
    found = values.groupby(level=list(by), sort=False, dropna=False).agg(["mean", "std", "count"])
    freedom = found["count"] - 1
    half = stats.t.ppf((1 + CONFIDENCE_LEVEL) / 2, freedom.where(freedom > 0)) * found["std"]
    half = half / found["count"].map(sqrt)
    found["low"], found["high"] = found["mean"] - half, found["mean"] + half
    return found.reset_index()


SEARCH_COLUMNS = ("suite", "task", "backbone", "method")


def tuned_points(study: Study, cells: Iterable[StudyCell]) -> pd.DataFrame:
    """Return a row per search: its place, and the choices where trials tried several values.

    `ends`: whether the learning rate is the least or the largest of those tried.
    """
    return pd.DataFrame(
        [
            place | _tuned_point(record, trials)
            for place, record, trials in _unique_searches(study, cells)
        ]
    )


def best_by_learning_rate(study: Study, cells: Iterable[StudyCell]) -> pd.DataFrame:
    """Return the best validation `accuracy` per search and learning rate `lr`, with the place.

    Empty where trials tried one learning rate alone. A trial without an accuracy has no row.
    """
    rows = [
        place | {"lr": trial.point["lr"], "accuracy": trial.accuracy}
        for place, _, trials in _unique_searches(study, cells)
        for trial in trials
        if trial.accuracy is not None
    ]
    if len({row["lr"] for row in rows}) < 2:
        return pd.DataFrame()
    known = [name for name in rows[0] if name != "accuracy"]
    found = pd.DataFrame(rows).groupby(known, sort=False, dropna=False)["accuracy"].max()
    return found.reset_index()


def _unique_searches(
    study: Study, cells: Iterable[StudyCell]
) -> Iterator[tuple[dict[str, Any], Record, list[Trial]]]:
    """Yield each search once, with its place and the first of its final runs."""
    seen = set[tuple[str, ...]]()
    for place, record in cells:
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
