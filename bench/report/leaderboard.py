"""Records grouped into boards: tables whose numbers may be compared with one another."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.config.suite import Suite
from bench.records import trials
from bench.records.schema import Record, Settings
from bench.report import statistics
from bench.report.grouping import canonical_json, differing_settings, group_by
from bench.report.rows import MethodRow, accuracy_table, build_rows
from bench.report.statistics import Floats

SIGNIFICANCE_LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """The complete rows of a board compared over its tasks."""

    rows: Sequence[MethodRow]

    @cached_property
    def table(self) -> Floats:
        """Accuracy in percent, mean over seeds, (T, K)."""
        return accuracy_table(self.rows)

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
        """Of the row's mean over tasks, in percent."""
        return statistics.bootstrap_interval(row.accuracies)

    def interval_to_first(self, i: int) -> tuple[float, float]:
        """The interval of the i-th row's mean less the first row's, over the same tasks."""
        return statistics.bootstrap_interval(self.table[:, [i]] - self.table[:, [0]])

    def summary(self) -> str:
        """What these tasks could and could not tell apart, in a sentence or two."""
        if len(self.rows) < 2:
            return ""
        tasks, methods = self.table.shape
        pairs = methods * (methods - 1) // 2
        found = int((self.p < SIGNIFICANCE_LEVEL).sum() // 2)
        least = min(1.0, pairs * statistics.smallest_p(tasks))
        cannot = f"; over {tasks} tasks the smallest that could be is {least:.2g}"
        return (
            f"Ranks are shared where a difference is not significant (Wilcoxon over tasks, Holm): "
            f"{found} of {pairs} pairs have a corrected p below {SIGNIFICANCE_LEVEL}"
            f"{cannot if least >= SIGNIFICANCE_LEVEL else ''}.{self._power()}"
        )

    def _power(self) -> str:
        power = statistics.detectable_difference(self.table)
        if power is None:
            return ""
        return (
            f" A true difference of {power:.2f} points would have shown in four of five such "
            "comparisons of two methods (paired t, uncorrected)."
        )


def format_rank(span: tuple[int, int]) -> str:
    """``3``, or ``2–5`` where ranks are shared."""
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

    @property
    def tasks(self) -> list[str]:
        """The tasks shown, in the order of the columns."""
        return [task for tasks in self.groups.values() for task in tasks]

    @property
    def recipe_name(self) -> str:
        """The recipe and its version, and what else tells the board from others with these."""
        changed = f" [{self.distinguishing_settings}]" if self.distinguishing_settings else ""
        return _recipe_name(self.recipe) + changed

    @property
    def name(self) -> str:
        """The suite, the backbone and the recipe; no two boards share it."""
        return f"{self.suite} v{self.suite_version}, {self.backbone}, {self.recipe_name}"


def build_boards(records: Iterable[Record], suites: Mapping[str, Suite]) -> list[Board]:
    """The boards of `records`, as read from a store, whatever their order; one record a cell.

    A suite without a card of the records' version has its tasks in alphabetical order.
    """
    parts = split_comparable(sorted(records, key=lambda record: record.cell))
    alike = group_by(parts, lambda part: _board_key(part[0].settings))
    boards = []
    for _, same in sorted(alike.items()):
        same.sort(key=lambda part: canonical_json(_board_settings(part[0].settings)))
        shown = [_distinguishing_settings(part, same) for part in same]
        for part, changed in zip(same, differing_settings(shown), strict=True):
            boards.append(_build_board(part, _suite_card(part[0].settings, suites), changed, same))
    return boards


def _recipe_name(recipe: dict[str, Any]) -> str:
    return f"{recipe.get('name')} v{recipe.get('version')}"


def _board_key(settings: Settings) -> tuple[str, int, str, str]:
    recipe = _recipe_name(settings.recipe)
    return settings.suite, settings.suite_version, settings.backbone, recipe


def _board_settings(settings: Settings) -> dict[str, Any]:
    """What, with the names, all the records of a board must have alike."""
    inputs = {f"input.{key}": value for key, value in settings.input.items()}
    tuned = trials.describe_search(settings.recipe)
    recipe = {**settings.recipe, **({trials.TUNING_KEY: tuned} if tuned else {})}
    data = {"variant": settings.variant or "as found"}
    return {**recipe, **inputs, **data, "weights": settings.weights[:12]}


def split_comparable(records: list[Record]) -> list[list[Record]]:
    """The records in parts that share a table: one suite, backbone, recipe, variant, split a task.

    Where a task has records of several splits, the commonest stay with the other tasks.
    """
    parts: dict[tuple[str, int], list[Record]] = defaultdict(list)
    for base, alike in group_by(records, _comparability_key).items():
        for of_task in group_by(alike, lambda r: r.settings.task).values():
            order = _splits_by_frequency(of_task)
            for record in of_task:
                parts[base, order.index(record.settings.data_key)].append(record)
    return [part for _, part in sorted(parts.items())]


def _comparability_key(record: Record) -> str:
    s = record.settings
    shared = [s.suite, s.suite_version, s.backbone, s.weights, s.recipe, s.input, s.variant]
    return canonical_json(shared)


def _splits_by_frequency(records: list[Record]) -> list[tuple[str, int]]:
    """The records' splits with their numbers of classes, the commonest first."""
    counts = Counter(record.settings.data_key for record in records)
    return sorted(counts, key=lambda data: (-counts[data], data))


def _ambiguous_splits(part: list[Record], same: list[list[Record]]) -> dict[str, str]:
    """Task -> digest and classes, where others of its variant have the task with other data."""
    mine = {r.settings.task: r.settings.data_key for r in part}
    alike = [o for o in same if o[0].settings.variant == part[0].settings.variant]
    every = {(r.settings.task, r.settings.data_key) for other in alike for r in other}
    several = Counter(task for task, _ in every)
    return {task: _describe_split(*mine[task]) for task in sorted(mine) if several[task] > 1}


def _describe_split(split: str, classes: int) -> str:
    """A split in a few words."""
    return f"{split.rpartition(':')[2][:12]} of {classes} classes"


def _distinguishing_settings(part: list[Record], same: list[list[Record]]) -> dict[str, Any]:
    splits = _ambiguous_splits(part, same)
    return {**_board_settings(part[0].settings), **({"splits": splits} if splits else {})}


def _suite_card(settings: Settings, suites: Mapping[str, Suite]) -> Suite | None:
    card = suites.get(settings.suite)
    return card if card and card.version == settings.suite_version else None


def _build_board(
    part: list[Record], card: Suite | None, changed: str, same: list[list[Record]]
) -> Board:
    settings = part[0].settings
    groups = _task_groups(part, card)
    rows = build_rows(part, groups)
    complete = sorted(
        (row for row in rows if row.means),
        key=lambda row: (-row.means.over_tasks if row.means else 0.0, row.label),
    )
    run = {record.settings.task for record in part}
    return Board(
        suite=settings.suite,
        suite_version=settings.suite_version,
        title=card.title if card else settings.suite,
        backbone=settings.backbone,
        weights=settings.weights,
        input=settings.input,
        recipe=settings.recipe,
        distinguishing_settings=changed,
        variant=settings.variant,
        splits=_ambiguous_splits(part, same),
        groups=groups,
        rows=complete,
        comparison=Comparison(complete),
        incomplete=[row for row in rows if not row.means],
        not_run=[task.name for task in card.task if task.name not in run] if card else [],
        records=len(part),
    )


def _task_groups(part: list[Record], card: Suite | None) -> dict[str, list[str]]:
    """The groups and their tasks, the card's first and in its order."""
    recorded = {r.settings.task: r.group for r in sorted(part, key=lambda r: r.settings.task)}
    groups = {t.name: t.group for t in card.task if t.name in recorded} if card else {}
    for task, group in recorded.items():
        groups.setdefault(task, group)
    return group_by(groups, lambda task: groups[task])
