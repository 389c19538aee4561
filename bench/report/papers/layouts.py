"""How a paper's tables look: rows and columns read from ``layouts.toml``, laid out as places."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass as plain
from dataclasses import field, replace
from typing import Any, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from bench.cards import checked
from bench.errors import UserError, unknown
from bench.report.papers.claims import PAPERS, Place, fields_text, papers, suite_card, tasks_of

STRICT = ConfigDict(extra="forbid")
TASKS, GROUPS = "tasks", "groups"  # columns that stand for all of a suite's
METRICS = {"params": "Params (M)", "total_params": "Total params"}  # labels; else what it is on
TITLE = 20  # characters: a longer title of a task gives way to its name


@dataclass(frozen=True, config=STRICT)
class Paper:
    """What holds for all tables of a paper."""

    title: str
    short: str
    url: str
    year: int
    recipe: str  # whose records fill its tables
    column: Literal["accuracy", "best_epoch_accuracy"]  # what the paper's code reports
    runs: int  # seeds behind a printed number


@dataclass(frozen=True, config=STRICT)
class Column:
    """One column, or all tasks or groups of a suite."""

    suite: str
    on: str
    label: str = ""
    metric: Literal["accuracy", "params", "total_params", "init_seconds"] = "accuracy"
    backbone: str = ""  # empty: the section's
    fields: dict[str, Any] = field(default_factory=dict)
    variant: str = ""  # which of a row's methods stands here


@dataclass(frozen=True, config=STRICT)
class LayoutRow:
    """One method, or one a variant of the columns."""

    label: str
    method: str = ""
    methods: dict[str, str] = field(default_factory=dict)  # by the variant of the column
    backbone: str = ""  # empty: the column's or the section's
    backbones: dict[str, str] = field(default_factory=dict)  # this row's own in place of those
    fields: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.method) == bool(self.methods):
            raise ValueError(f"the row {self.label!r} should name a method, or methods by variant")


@dataclass(frozen=True, config=STRICT)
class Section:
    """A block of rows."""

    rows: list[LayoutRow]
    title: str = ""
    backbone: str = ""


@dataclass(frozen=True, config=STRICT)
class Table:
    """One table of a paper."""

    id: str
    title: str
    columns: list[Column]
    section: list[Section]
    footer: str = ""


@dataclass(frozen=True, config=STRICT)
class Layouts:
    """A paper and its tables."""

    paper: Paper
    table: list[Table]


@dataclass(frozen=True, config=STRICT)
class StandIns:
    """What stands in for a paper's suites, backbones and tasks where they are not at hand."""

    recipe: str
    suites: dict[str, str]
    backbones: dict[str, str]
    tasks: dict[str, str]


@plain(frozen=True)
class Laid:
    """A table laid out: labels and the place of each cell; None: the cell has no meaning there."""

    id: str
    title: str
    footer: str
    columns: list[str]
    sections: list[tuple[str, list[tuple[str, list[Place | None]]]]]  # title, rows of label, cells

    def places(self) -> Iterator[Place]:
        """The place of every cell, row by row."""
        for _, rows in self.sections:
            for _, cells in rows:
                yield from (cell for cell in cells if cell)


def load(paper: str) -> Layouts:
    """A paper's layouts; raises `UserError` for an unknown paper or a card that cannot be used."""
    if paper not in papers():
        raise unknown("paper", paper, papers())
    path = PAPERS / paper / "layouts.toml"
    return checked(Layouts, str(path), tomllib.loads(path.read_text()))


def stand_ins(suite: str) -> StandIns:
    """The stand-ins that a suite offers; raises `UserError` where it offers none."""
    path = PAPERS / "stand_ins.toml"
    known = tomllib.loads(path.read_text())
    if suite not in known:
        raise unknown("suite that can stand in for a paper's", suite, known)
    return checked(StandIns, str(path), known[suite])


def lay(table: Table, instead: StandIns | None = None) -> Laid | None:
    """The table's cells; with stand-ins, of what they offer, or None where that is nothing."""
    columns = _distinct([one for column in table.columns for one in _expand(column, instead)])
    sections = [
        (_heading(section, instead), rows)
        for section in table.section
        if (rows := _rows(section, columns, instead))
    ]
    if not columns or not sections:
        return None
    return Laid(table.id, table.title, table.footer, [c.label for c in columns], sections)


def _heading(section: Section, instead: StandIns | None) -> str:
    """The block's title; with stand-ins, the backbone that the block is really of."""
    return instead.backbones.get(section.backbone, "") if instead else section.title


def _rows(
    section: Section, columns: list[Column], instead: StandIns | None
) -> list[tuple[str, list[Place | None]]]:
    rows = []
    for row in section.rows:
        cells = [_place(section, row, column, instead) for column in columns]
        if any(cells):
            rows.append((row.label, cells))
    return rows


def _place(
    section: Section, row: LayoutRow, column: Column, instead: StandIns | None
) -> Place | None:
    named = row.backbone or column.backbone or section.backbone
    own = row.backbones.get(named, named)
    backbone = instead.backbones.get(own, "") if instead else own
    method = row.method or row.methods.get(column.variant, "")
    if not backbone or not method:
        return None
    fields = fields_text({**row.fields, **column.fields})
    return Place(method, fields, backbone, column.suite, column.on, column.metric)


def _expand(column: Column, instead: StandIns | None) -> Iterator[Column]:
    """The column, or those that it stands for, with labels."""
    known = [_stand_in(column, instead)] if instead else [column]
    for found in filter(None, known):
        if found.on not in (TASKS, GROUPS):
            yield found if found.label else replace(found, label=_label(found, instead))
            continue
        suite = suite_card(found.suite)
        names = suite.groups() if found.on == GROUPS else [task.name for task in suite.task]
        for name in names:
            one = replace(found, on=name)
            yield replace(one, label=_label(one, instead))


def _stand_in(column: Column, instead: StandIns) -> Column | None:
    """The column over what stands in for its suite and task, or None where nothing does."""
    names = dict.fromkeys(instead.suites.get(name, "") for name in column.suite.split("+"))
    if "" in names or (column.backbone and column.backbone not in instead.backbones):
        return None
    suite, on = "+".join(names), instead.tasks.get(column.on, column.on)
    try:
        if on not in (TASKS, GROUPS):
            tasks_of(suite_card(next(iter(names))), on)
    except UserError:
        return None
    return replace(column, suite=suite, on=on, label="")  # the paper's label names its own data


def _label(column: Column, instead: StandIns | None) -> str:
    backbone = instead.backbones[column.backbone] if instead and column.backbone else ""
    words = METRICS.get(column.metric) or _on(column)
    return " ".join(filter(None, (backbone, words, column.variant, fields_text(column.fields))))


def _on(column: Column) -> str:
    suite = suite_card(column.suite)
    task = next((task for task in suite.task if task.name == column.on), None)
    if task:
        return task.title if 0 < len(task.title) <= TITLE else task.name
    return f"{column.on} ({len(tasks_of(suite, column.on))})"


def _distinct(columns: list[Column]) -> list[Column]:
    """The columns, each once: two suites may have the same stand-in."""
    seen: dict[tuple[str, ...], Column] = {}
    for c in columns:
        key = (c.suite, c.on, c.metric, c.backbone, fields_text(c.fields), c.variant)
        seen.setdefault(key, c)
    return list(seen.values())
