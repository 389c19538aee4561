"""Records grouped into boards: tables whose numbers may be compared with one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.config.shots import dataset_name
from bench.config.suite import Suite
from bench.records import description, schema
from bench.records.schema import Settings
from bench.report import statistics
from bench.report.frame import canonical_json, differing_settings, shared_recipe
from bench.report.row_costs import MethodCosts, costs_on
from bench.report.rows import MethodRow, accuracy_table, build_rows
from bench.report.statistics import Floats

if TYPE_CHECKING:
    import pandas as pd

SIGNIFICANCE_LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """The complete rows of a board compared over its tasks."""

    rows: Sequence[MethodRow]
    clusters: Sequence[Sequence[int]] = ()  # tasks, by number, that count as one; empty: each does

    @cached_property
    def table(self) -> Floats:
        """Accuracy in percent, mean over seeds, (T, K); of few-shot tasks, one line a data set."""
        return self._per_cluster(accuracy_table(self.rows))

    def _per_cluster(self, values: Floats) -> Floats:
        """Return the means of `values` (T, ...) over the tasks that count as one."""
        if not self.clusters:
            return values
        return np.stack([values[list(cluster)].mean(axis=0) for cluster in self.clusters])

    @cached_property
    def p(self) -> Floats:
        """Holm-corrected p of each pair, (K, K)."""
        return statistics.pairwise_p_values(self.table)

    @cached_property
    def ranks(self) -> list[tuple[int, int]]:
        """The best and the worst rank that each row may hold."""
        return statistics.shared_ranks(self.table, self.p, SIGNIFICANCE_LEVEL) if self.rows else []

    @cached_property
    def average_ranks(self) -> Floats:
        """Over tasks, (K,)."""
        return statistics.average_ranks(self.table)

    def interval(self, row: MethodRow) -> tuple[float, float]:
        """Return the interval of the row's mean over tasks, in percent."""
        return statistics.bootstrap_interval(self._per_cluster(row.accuracies))

    def interval_to_first(self, i: int) -> tuple[float, float]:
        """Return the interval of the i-th row's mean less the first row's, over the same tasks."""
        return statistics.bootstrap_interval(self.table[:, [i]] - self.table[:, [0]])

    @property
    def num_pairs(self) -> int:
        """The number of pairs of rows."""
        return len(self.rows) * (len(self.rows) - 1) // 2

    @property
    def units(self) -> str:
        """The unit of comparison: tasks, or data sets for few-shot tasks."""
        return "data sets" if self.clusters else "tasks"

    def num_significant(self) -> int:
        """Return how many pairs have a corrected p below the level."""
        return int((self.p < SIGNIFICANCE_LEVEL).sum() // 2)

    def smallest_p(self) -> float:
        """Return the smallest corrected p that a pair could have over so many tasks."""
        return min(1.0, self.num_pairs * statistics.smallest_p(len(self.table)))

    def summary(self) -> str:
        """Return which differences these tasks could show, in a sentence or two."""
        if len(self.rows) < 2:
            return ""
        found, least, units = self.num_significant(), self.smallest_p(), self.units
        cannot = f"; with {len(self.table)} {units} the smallest possible one is {least:.2g}"
        return (
            "Methods share ranks where their difference is not significant "
            f"(Wilcoxon over {units}, Holm): "
            f"{found} of {self.num_pairs} pairs have a corrected p below {SIGNIFICANCE_LEVEL}"
            f"{cannot if least >= SIGNIFICANCE_LEVEL else ''}.{self._power()}"
        )

    def _power(self) -> str:
        power = statistics.detectable_difference(self.table)
        if power is None:
            return ""
        return (
            " One comparison of two methods has 80 % power to detect a true difference of "
            f"{power:.2f} points (paired t, uncorrected)."
        )


def format_rank(span: tuple[int, int]) -> str:
    """Return ``3``, or ``2–5`` where ranks are shared."""
    best, worst = span
    return str(best) if best == worst else f"{best}–{worst}"


@dataclass(frozen=True)
class Board:
    """One table: one suite, backbone and recipe, every setting but method, task and seed alike."""

    suite: str
    suite_version: int
    title: str
    backbone: str
    weights: str  # sha256
    input: dict[str, Any]  # of the backbone: size, mean, std and pooling
    recipe: dict[str, Any]
    distinguishing_settings: (
        str  # what tells it from boards of the same suite, backbone and recipe name
    )
    variant: str  # of the data; empty: embedded, or read as found
    splits: dict[str, str]  # task -> digest, where its records are of several; else empty
    groups: dict[str, list[str]]  # group -> tasks shown
    rows: list[MethodRow]  # complete, the best mean over tasks first
    comparison: Comparison  # of `rows`
    incomplete: list[MethodRow]
    not_run: list[str]  # tasks of the suite without any record
    records: int
    is_built_in: bool = False  # all tasks of the suite come with the project
    costs: MethodCosts = field(default_factory=MethodCosts)
    # few-shot task -> its shots and the number of its list
    draws: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def all_rows(self) -> list[MethodRow]:
        """The complete rows, and then the incomplete ones."""
        return [*self.rows, *self.incomplete]

    @property
    def tasks(self) -> list[str]:
        """The tasks shown, in the order of the columns."""
        return [task for tasks in self.groups.values() for task in tasks]

    @property
    def is_synthetic(self) -> bool:
        """Whether its images were drawn: a rehearsal, compared with nothing."""
        return self.variant == schema.SYNTHETIC

    @property
    def recipe_name(self) -> str:
        """The recipe and its version, and what else tells the board from others with these."""
        changed = f" [{self.distinguishing_settings}]" if self.distinguishing_settings else ""
        return versioned_recipe(self.recipe) + changed

    @property
    def name(self) -> str:
        """The suite, the backbone and the recipe; no two boards share it."""
        return f"{self.suite} v{self.suite_version}, {self.backbone}, {self.recipe_name}"


def build_boards(
    frame: "pd.DataFrame", suites: Mapping[str, Suite], costs: Sequence[Mapping[str, str]] = ()
) -> list[Board]:
    """Return the boards of the records of `frame`, a `frame.record_frame`.

    The board of most complete cells comes first, those of synthetic images last. A suite without a
    card of the records' version has its tasks in alphabetical order. `costs` are lines of
    `ledger_files.read_costs`.
    """
    parts = sorted(split_comparable(_mark_ambiguous_tasks(frame)), key=_board_order)
    boards = []
    for _, alike in groupby(parts, key=lambda part: _board_order(part)[0]):
        same = list(alike)
        changes = differing_settings([_distinguishing_settings(part) for part in same])
        for part, changed in zip(same, changes, strict=True):
            board = _build_board(part, _suite_card(_first_settings(part), suites), changed)
            boards.append(replace(board, costs=costs_on(board.backbone, costs)))
    return sorted(boards, key=lambda board: (board.is_synthetic, -_complete_cells(board)))


def _complete_cells(board: Board) -> int:
    return len(board.rows) * len(board.tasks)


def split_comparable(frame: "pd.DataFrame") -> list["pd.DataFrame"]:
    """Split the records into parts that can share a table.

    A part is of one suite, backbone, recipe, input and variant of the data, and has one split a
    task. Where a task has records of several splits, the commonest stay with the other tasks.
    """
    if frame.empty:
        return []
    counts = frame.groupby(["board", "task", "split", "classes"]).size().reset_index(name="count")
    splits = counts.sort_values("count", ascending=False, kind="stable").drop(columns="count")
    splits["part"] = splits.groupby(["board", "task"]).cumcount()
    return [part for _, part in frame.merge(splits).groupby(["board", "part"])]


def _mark_ambiguous_tasks(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Add `ambiguous`: boards of a record's names and variant have its task on different data."""
    names = ["suite", "suite_version", "backbone", "recipe", "recipe_version", "variant", "task"]
    data = frame["split"] + " " + frame["classes"].astype(str)
    of_task = data.groupby([frame[name] for name in names])
    return frame.assign(ambiguous=of_task.transform("nunique") > 1)


def _first_settings(part: "pd.DataFrame") -> Settings:
    settings: Settings = part["record"].iloc[0].settings
    return settings


def versioned_recipe(recipe: Mapping[str, Any]) -> str:
    """Return a recorded recipe's name and version: ``quick v1``."""
    return f"{recipe.get('name')} v{recipe.get('version')}"


def _board_order(part: "pd.DataFrame") -> tuple[tuple[str, int, str, str], str]:
    """Return the names of a part's board, and what tells it from boards of the same names."""
    s = _first_settings(part)
    names = s.shown_suite, s.suite_version, s.backbone, versioned_recipe(s.recipe)
    return names, canonical_json(_board_settings(s))


def _board_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings that, with the names, all the records of a board share."""
    inputs = {f"input.{key}": value for key, value in settings.input.items()}
    tuned = description.describe_search(settings.recipe)
    recipe = {**settings.recipe, **({schema.TUNING_KEY: tuned} if tuned else {})}
    data = {"variant": settings.variant or "as found"}
    return {**recipe, **inputs, **data, "weights": settings.weights[:12]}


def _ambiguous_splits(part: "pd.DataFrame") -> dict[str, str]:
    """Return the data of the part's ambiguous tasks, by task: digest and classes."""
    found = part[part["ambiguous"]].drop_duplicates("task").sort_values("task")
    data = zip(found["task"], found["split"], found["classes"], strict=True)
    return {task: f"{_short_digest(split)} of {classes} classes" for task, split, classes in data}


def _short_digest(split: str) -> str:
    """Return the first digits of a frame's split, and of its further test sets'."""
    own, mark, shifts = split.rpartition(":")[2].partition("+")
    return f"{own[:12]}{mark}{shifts[:12]}"


def _distinguishing_settings(part: "pd.DataFrame") -> dict[str, Any]:
    splits = _ambiguous_splits(part)
    return {**_board_settings(_first_settings(part)), **({"splits": splits} if splits else {})}


def _suite_card(settings: Settings, suites: Mapping[str, Suite]) -> Suite | None:
    card = suites.get(settings.suite)
    return card if card and card.version == settings.suite_version else None


def _build_board(part: "pd.DataFrame", card: Suite | None, changed: str) -> Board:
    settings = _first_settings(part)
    groups = _task_groups(part, card)
    rows = build_rows(part, groups)
    complete = sorted(
        (row for row in rows if row.means),
        key=lambda row: (-row.means.over_tasks if row.means else 0.0, row.label),
    )
    run = set(part["task"])
    draws = {r.settings.task: r.settings.few_shot for r in part["record"] if r.settings.few_shot}
    return Board(
        suite=settings.shown_suite,
        suite_version=settings.suite_version,
        title=card.title if card else settings.shown_suite,
        backbone=settings.backbone,
        weights=settings.weights,
        input=settings.input,
        recipe=shared_recipe(settings),
        distinguishing_settings=changed,
        variant=settings.variant,
        splits=_ambiguous_splits(part),
        groups=groups,
        rows=complete,
        comparison=Comparison(complete, _clusters(groups, draws)),
        incomplete=[row for row in rows if not row.means],
        not_run=[task.name for task in card.task if task.name not in run] if card else [],
        records=len(part),
        is_built_in=card is not None and all(task.embedded for task in card.task),
        draws=draws,
    )


def _clusters(
    groups: Mapping[str, Sequence[str]], draws: Mapping[str, Mapping[str, int]]
) -> list[list[int]]:
    """Return the tasks of each data set by number: its lists and shots are not independent."""
    found: dict[str, list[int]] = {}
    tasks = [task for listed in groups.values() for task in listed]
    for number, task in enumerate(tasks):
        if task in draws:
            found.setdefault(dataset_name(task, draws[task]), []).append(number)
    return list(found.values())


def _task_groups(part: "pd.DataFrame", card: Suite | None) -> dict[str, list[str]]:
    """Return the groups and their tasks, the card's first and in its order."""
    recorded = part.drop_duplicates("task", keep="last").sort_values("task")
    group_of = {t.name: t.group for t in card.task if t.name in set(part["task"])} if card else {}
    for task, group in zip(recorded["task"], recorded["group"], strict=True):
        group_of.setdefault(task, group)
    groups: dict[str, list[str]] = {}
    for task, group in group_of.items():
        groups.setdefault(group, []).append(task)
    return groups
