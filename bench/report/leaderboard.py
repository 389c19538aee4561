"""Records grouped into boards: tables whose numbers may be compared with one another."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench import search
from bench.cards import Suite
from bench.records import Record, Settings
from bench.report.comparison import Comparison
from bench.report.grouping import canonical, differences, gather
from bench.report.rows import Row, rows_of


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
    changed: str  # what tells it from boards of the same suite, backbone and recipe name
    variant: str  # of the data; empty: embedded, or read as found
    splits: dict[str, str]  # task -> digest, where its records are of several; else empty
    groups: dict[str, list[str]]  # group -> tasks shown
    rows: list[Row]  # complete, the best mean over tasks first
    comparison: Comparison  # of `rows`
    incomplete: list[Row]
    not_run: list[str]  # tasks of the suite without any record
    records: int

    @property
    def tasks(self) -> list[str]:
        """The tasks shown, in the order of the columns."""
        return [task for tasks in self.groups.values() for task in tasks]

    @property
    def recipe_name(self) -> str:
        """The recipe and its version, and what else tells the board from others with these."""
        changed = f" [{self.changed}]" if self.changed else ""
        return _recipe_name(self.recipe) + changed

    @property
    def name(self) -> str:
        """The suite, the backbone and the recipe; no two boards share it."""
        return f"{self.suite} v{self.suite_version}, {self.backbone}, {self.recipe_name}"


def build(records: Iterable[Record], suites: Mapping[str, Suite]) -> list[Board]:
    """The boards of `records`, as read from a store, whatever their order; one record a cell.

    A suite without a card of the records' version has its tasks in alphabetical order.
    """
    parts = comparable(sorted(records, key=lambda record: record.cell))
    alike = gather(parts, lambda part: _named(part[0].settings))
    boards = []
    for _, same in sorted(alike.items()):
        same.sort(key=lambda part: canonical(_shared(part[0].settings)))
        shown = [_distinct(part, same) for part in same]
        for part, changed in zip(same, differences(shown), strict=True):
            boards.append(_board(part, _card(part[0].settings, suites), changed, same))
    return boards


def _recipe_name(recipe: dict[str, Any]) -> str:
    return f"{recipe.get('name')} v{recipe.get('version')}"


def _named(settings: Settings) -> tuple[str, int, str, str]:
    recipe = _recipe_name(settings.recipe)
    return settings.suite, settings.suite_version, settings.backbone, recipe


def _shared(settings: Settings) -> dict[str, Any]:
    """What, with the names, all the records of a board must have alike."""
    inputs = {f"input.{key}": value for key, value in settings.input.items()}
    tuned = search.words(settings.recipe)
    recipe = {**settings.recipe, **({search.TUNING: tuned} if tuned else {})}
    data = {"variant": settings.variant or "as found"}
    return {**recipe, **inputs, **data, "weights": settings.weights[:12]}


def comparable(records: list[Record]) -> list[list[Record]]:
    """The records in parts that share a table: one suite, backbone, recipe, variant, split a task.

    Where a task has records of several splits, the commonest stay with the other tasks.
    """
    parts: dict[tuple[str, int], list[Record]] = defaultdict(list)
    for base, alike in gather(records, _base).items():
        for of_task in gather(alike, lambda r: r.settings.task).values():
            order = _splits(of_task)
            for record in of_task:
                parts[base, order.index(record.settings.data)].append(record)
    return [part for _, part in sorted(parts.items())]


def _base(record: Record) -> str:
    s = record.settings
    shared = [s.suite, s.suite_version, s.backbone, s.weights, s.recipe, s.input, s.variant]
    return canonical(shared)


def _splits(records: list[Record]) -> list[tuple[str, int]]:
    """The records' splits with their numbers of classes, the commonest first."""
    counts = Counter(record.settings.data for record in records)
    return sorted(counts, key=lambda data: (-counts[data], data))


def _task_splits(part: list[Record], same: list[list[Record]]) -> dict[str, str]:
    """Task -> digest and classes, where others of its variant have the task with other data."""
    mine = {r.settings.task: r.settings.data for r in part}
    alike = [o for o in same if o[0].settings.variant == part[0].settings.variant]
    every = {(r.settings.task, r.settings.data) for other in alike for r in other}
    several = Counter(task for task, _ in every)
    return {task: _said(*mine[task]) for task in sorted(mine) if several[task] > 1}


def _said(split: str, classes: int) -> str:
    """A split in a few words."""
    return f"{split.rpartition(':')[2][:12]} of {classes} classes"


def _distinct(part: list[Record], same: list[list[Record]]) -> dict[str, Any]:
    splits = _task_splits(part, same)
    return {**_shared(part[0].settings), **({"splits": splits} if splits else {})}


def _card(settings: Settings, suites: Mapping[str, Suite]) -> Suite | None:
    card = suites.get(settings.suite)
    return card if card and card.version == settings.suite_version else None


def _board(part: list[Record], card: Suite | None, changed: str, same: list[list[Record]]) -> Board:
    settings = part[0].settings
    groups = _groups(part, card)
    rows = rows_of(part, groups)
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
        changed=changed,
        variant=settings.variant,
        splits=_task_splits(part, same),
        groups=groups,
        rows=complete,
        comparison=Comparison(complete),
        incomplete=[row for row in rows if not row.means],
        not_run=[task.name for task in card.task if task.name not in run] if card else [],
        records=len(part),
    )


def _groups(part: list[Record], card: Suite | None) -> dict[str, list[str]]:
    """The groups and their tasks, the card's first and in its order."""
    recorded = {r.settings.task: r.group for r in sorted(part, key=lambda r: r.settings.task)}
    groups = {t.name: t.group for t in card.task if t.name in recorded} if card else {}
    for task, group in recorded.items():
        groups.setdefault(task, group)
    return gather(groups, lambda task: groups[task])
