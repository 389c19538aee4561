"""The layouts of the papers' tables: rows and columns of ``layouts.toml``, expanded to entries."""

from collections.abc import Iterator
from dataclasses import dataclass as plain
from dataclasses import field, replace
from typing import Literal

from pydantic.dataclasses import dataclass

from bench.config.bounds import Line, Plain, Text, Version
from bench.config.loading import read_toml, validate
from bench.papers.claims import (
    PAPERS_FOLDER,
    PaperEntry,
    cached_suite,
    canonical_fields,
    paper_names,
    resolve_tasks,
)
from bench.records.schema import STRICT
from bench.utils.errors import UserError, unknown_name

EACH_TASK, EACH_GROUP = "tasks", "groups"  # columns that expand to all of a suite's
# of columns; another metric's label is what it is on
METRIC_LABELS = {"params": "Params (M)", "total_params": "Total params"}
MAX_TITLE = 20  # characters: a longer title of a task gives way to its name


@dataclass(frozen=True, config=STRICT)
class Paper:
    """A paper, with the settings of all its tables."""

    title: Line
    short: Line
    url: Line
    year: Version
    recipe: Line  # whose records fill its tables
    column: Literal["accuracy", "best_epoch_accuracy"]  # what the paper's code reports
    runs: Version  # seeds behind a printed number


@dataclass(frozen=True, config=STRICT)
class LayoutColumn:
    """One column, or all tasks or groups of a suite."""

    suite: Line
    on: Line
    label: Line = ""
    metric: Literal["accuracy", "params", "total_params", "init_seconds"] = "accuracy"
    backbone: Line = ""  # empty: the section's
    fields: dict[Line, Plain] = field(default_factory=dict)
    variant: Line = ""  # which of a row's methods is used here


@dataclass(frozen=True, config=STRICT)
class LayoutRow:
    """One method, or one a variant of the columns."""

    label: Line
    method: Line = ""
    methods: dict[Line, Line] = field(default_factory=dict)  # by the variant of the column
    backbone: Line = ""  # empty: the column's or the section's
    backbones: dict[Line, Line] = field(default_factory=dict)  # this row's own in place of those
    fields: dict[Line, Plain] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.method) == bool(self.methods):
            raise ValueError(f"the row {self.label!r} should name a method, or methods by variant")


@dataclass(frozen=True, config=STRICT)
class LayoutSection:
    """A block of rows."""

    rows: list[LayoutRow]
    title: Line = ""
    backbone: Line = ""


@dataclass(frozen=True, config=STRICT)
class LayoutTable:
    """One table of a paper."""

    id: Line
    title: Line
    columns: list[LayoutColumn]
    section: list[LayoutSection]
    footer: Text = ""


@dataclass(frozen=True, config=STRICT)
class Layouts:
    """A paper and its tables."""

    paper: Paper
    table: list[LayoutTable]


@dataclass(frozen=True, config=STRICT)
class StandIns:
    """Substitutes for a paper's suites, backbones and tasks where they are not at hand."""

    recipe: Line
    suites: dict[Line, Line]
    backbones: dict[Line, Line]
    tasks: dict[Line, Line]


@plain(frozen=True)
class ExpandedTable:
    """A table expanded: labels and the entry of each cell; None: the cell has no meaning there."""

    id: str
    title: str
    footer: str
    columns: list[str]
    # title, and rows of a label and its cells
    sections: list[tuple[str, list[tuple[str, list[PaperEntry | None]]]]]

    def entries(self) -> Iterator[PaperEntry]:
        """Yield the entry of every cell, row by row."""
        for _, rows in self.sections:
            for _, cells in rows:
                yield from (cell for cell in cells if cell)


def load_layouts(paper: str) -> Layouts:
    """Return a paper's layouts; raises `UserError` for an unknown paper or an unusable card."""
    if paper not in paper_names():
        raise unknown_name("paper", paper, paper_names())
    path = PAPERS_FOLDER / paper / "layouts.toml"
    return validate(Layouts, str(path), read_toml(path, "layouts"))


def load_stand_ins(suite: str) -> StandIns:
    """Return the stand-ins that a suite offers; raises `UserError` if it offers none."""
    path = PAPERS_FOLDER / "stand_ins.toml"
    known = read_toml(path, "stand-ins")
    if suite not in known:
        raise unknown_name("suite that can stand in for a paper's", suite, known)
    return validate(StandIns, str(path), known[suite])


def expand_table(table: LayoutTable, instead: StandIns | None = None) -> ExpandedTable | None:
    """Expand a table to its cells; with stand-ins, to what they offer; None: nothing."""
    columns = _unique_columns(
        [one for column in table.columns for one in _expand_column(column, instead)]
    )
    sections = [
        (_section_title(section, instead), rows)
        for section in table.section
        if (rows := _expand_rows(section, columns, instead))
    ]
    if not columns or not sections:
        return None
    return ExpandedTable(table.id, table.title, table.footer, [c.label for c in columns], sections)


def _section_title(section: LayoutSection, instead: StandIns | None) -> str:
    """Return the block's title; with stand-ins, the name of their backbone."""
    return instead.backbones.get(section.backbone, "") if instead else section.title


def _expand_rows(
    section: LayoutSection, columns: list[LayoutColumn], instead: StandIns | None
) -> list[tuple[str, list[PaperEntry | None]]]:
    rows = []
    for row in section.rows:
        cells = [_paper_entry(section, row, column, instead) for column in columns]
        if any(cells):
            rows.append((row.label, cells))
    return rows


def _paper_entry(
    section: LayoutSection, row: LayoutRow, column: LayoutColumn, instead: StandIns | None
) -> PaperEntry | None:
    named = row.backbone or column.backbone or section.backbone
    own = row.backbones.get(named, named)
    backbone = instead.backbones.get(own, "") if instead else own
    method = row.method or row.methods.get(column.variant, "")
    if not backbone or not method:
        return None
    fields = canonical_fields({**row.fields, **column.fields})
    return PaperEntry(method, fields, backbone, column.suite, column.on, column.metric)


def _expand_column(column: LayoutColumn, instead: StandIns | None) -> Iterator[LayoutColumn]:
    """Yield the column, or those that it expands to, with labels."""
    known = [_substitute_column(column, instead)] if instead else [column]
    for found in filter(None, known):
        if found.on not in (EACH_TASK, EACH_GROUP):
            yield found if found.label else replace(found, label=_column_label(found, instead))
            continue
        suite = cached_suite(found.suite)
        names = suite.groups() if found.on == EACH_GROUP else [task.name for task in suite.task]
        for name in names:
            one = replace(found, on=name)
            yield replace(one, label=_column_label(one, instead))


def _substitute_column(column: LayoutColumn, instead: StandIns) -> LayoutColumn | None:
    """Return the column over the stand-ins of its suite and task, or None if there are none."""
    names = dict.fromkeys(instead.suites.get(name, "") for name in column.suite.split("+"))
    if "" in names or (column.backbone and column.backbone not in instead.backbones):
        return None
    suite, on = "+".join(names), instead.tasks.get(column.on, column.on)
    try:
        if on not in (EACH_TASK, EACH_GROUP):
            resolve_tasks(cached_suite(next(iter(names))), on)
    except UserError:
        return None
    return replace(column, suite=suite, on=on, label="")  # the paper's label names its own data


def _column_label(column: LayoutColumn, instead: StandIns | None) -> str:
    backbone = instead.backbones[column.backbone] if instead and column.backbone else ""
    words = METRIC_LABELS.get(column.metric) or _tasks_label(column)
    return " ".join(
        filter(None, (backbone, words, column.variant, canonical_fields(column.fields)))
    )


def _tasks_label(column: LayoutColumn) -> str:
    suite = cached_suite(column.suite)
    task = next((task for task in suite.task if task.name == column.on), None)
    if task:
        return task.title if 0 < len(task.title) <= MAX_TITLE else task.name
    return f"{column.on} ({len(resolve_tasks(suite, column.on))})"


def _unique_columns(columns: list[LayoutColumn]) -> list[LayoutColumn]:
    """Return the columns, each once: two suites may have the same stand-in."""
    seen: dict[tuple[str, ...], LayoutColumn] = {}
    for c in columns:
        key = (c.suite, c.on, c.metric, c.backbone, canonical_fields(c.fields), c.variant)
        seen.setdefault(key, c)
    return list(seen.values())
