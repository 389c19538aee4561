"""A sortable, filterable table of the HTML page, and the table of the papers' claims."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.report.markdown import format_number

SORTS_FIRST, SORTS_LAST = -1.0, 1e9  # where an entry without a number sorts


@dataclass(frozen=True)
class TableColumn:
    """A column; one with a menu has a drop-down above the table that filters by it."""

    name: str
    kind: Literal["text", "number", "name"] = "text"  # a line's name stays in sight
    menu: bool = False
    hint: str = ""
    group: str = ""  # of tasks, that its numbers are of
    is_task: bool = False

    @property
    def look(self) -> str:
        """The class of its entries in the style sheet."""
        return "" if self.kind == "text" else self.kind


@dataclass(frozen=True)
class TableCell:
    """One column of one line."""

    text: str
    order: float | None = None  # what a number sorts by, however it is written
    aside: str | None = None  # in quiet letters after it; empty keeps its room
    link: str = ""
    mark: tuple[str, str] | None = None  # a dot before it: colour and meaning
    look: str = ""  # a class of the style sheet

    @property
    def sorts_by(self) -> str:
        return "" if self.order is None else f"{self.order:.8g}"


@dataclass(frozen=True)
class DataTable:
    """A table with a name that serves as its id."""

    name: str
    columns: Sequence[TableColumn]
    lines: Sequence[Sequence[TableCell]]

    @property
    def menus(self) -> Iterator[tuple[int, TableColumn, list[str]]]:
        """The columns with a drop-down: number, column, and what there is to choose."""
        for number, column in enumerate(self.columns):
            if column.menu:
                yield number, column, list(dict.fromkeys(line[number].text for line in self.lines))


def number_cell(value: float | None, text: str, absent: float = SORTS_FIRST) -> TableCell:
    """Return a number written as `text`; without one, it sorts as `absent`."""
    return TableCell(text, absent if value is None else value)


def decimal_cell(value: float | None, decimals: int) -> TableCell:
    """Return a number with that many decimals, or a dash."""
    return number_cell(value, format_number(value, decimals))


CLAIM_COLUMNS = (
    TableColumn("paper", menu=True),
    TableColumn("dataset"),
    TableColumn("model"),
    TableColumn("metric"),
    TableColumn("claimed", kind="number", hint="what the paper prints"),
    TableColumn("verified", kind="number", hint="what was found here"),
    TableColumn("status", menu=True),
)
ARXIV_ID = re.compile(r"\b\d{4}\.\d{4,5}\b")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def claims_table(claims: Sequence[Mapping[str, str]]) -> DataTable:
    """Return a line per claim, in the order given."""
    return DataTable(
        "papers",
        CLAIM_COLUMNS,
        [[_cell(c, claim[c.name]) for c in CLAIM_COLUMNS] for claim in claims],
    )


STATED_COLUMNS = (
    TableColumn("suite", menu=True),
    TableColumn("backbone", menu=True),
    TableColumn("recipe"),
    TableColumn("task"),
    TableColumn("method"),
    TableColumn("seed", kind="number"),
    TableColumn("accuracy", kind="number", hint="what its author states"),
    TableColumn("cell"),
)


def stated_table(rows: Sequence[Mapping[str, str]]) -> DataTable:
    """Return a line per record that others have stated, in the order given."""
    lines = [[_cell(column, row[column.name]) for column in STATED_COLUMNS] for row in rows]
    return DataTable("others", STATED_COLUMNS, lines)


KNOWN_COLUMNS = (
    TableColumn("suite", menu=True),
    TableColumn("backbone", menu=True),
    TableColumn("weights", menu=True),
    TableColumn("method", kind="name"),
    TableColumn("over groups", kind="number", hint="mean of the three groups' means"),
    TableColumn("over tasks", kind="number", hint="mean of all tasks"),
    TableColumn("unsaid mean", kind="number", hint="the source does not say of which kind"),
    TableColumn("marks", hint="their meanings stand above the table"),
    TableColumn("here", hint="the project's own records of the same method, suite and weights"),
    TableColumn("natural", kind="number"),
    TableColumn("specialized", kind="number"),
    TableColumn("structured", kind="number"),
    TableColumn("params (M)", kind="number"),
    TableColumn("seeds", kind="number"),
    TableColumn("epoch", menu=True, hint="at which accuracy is reported"),
    TableColumn("tuned", hint="what was chosen for each task"),
    TableColumn("paper"),
    TableColumn("remark"),
)


def known_table(rows: Sequence[Mapping[str, str]]) -> DataTable:
    """Return a line per known result, in the order given."""
    lines = [[_cell(column, row[column.name]) for column in KNOWN_COLUMNS] for row in rows]
    return DataTable("printed", KNOWN_COLUMNS, lines)


def _cell(column: TableColumn, text: str) -> TableCell:
    """Return a text as it is; in a column of numbers, it sorts by the first one in it."""
    if column.kind == "number":
        found = NUMBER.search(text.replace(",", ""))
        return number_cell(float(found[0]) if found else None, text)
    paper = ARXIV_ID.search(text) if column.name == "paper" else None
    return TableCell(text, link=f"https://arxiv.org/abs/{paper[0]}" if paper else "")
