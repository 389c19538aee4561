"""A table of the page: what stands in it, by what it sorts, and what its drop-downs offer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

FIRST, LAST = -1.0, 1e9  # where an entry without a number sorts


@dataclass(frozen=True)
class Column:
    """A column; one with a menu has a drop-down above the table that filters by it."""

    name: str
    kind: Literal["text", "number", "name"] = "text"  # a line's name stays in sight
    menu: bool = False
    chosen: str = ""  # in the drop-down at first; empty: all
    hint: str = ""

    @property
    def look(self) -> str:
        """The class of its entries in the style sheet."""
        return "" if self.kind == "text" else self.kind


@dataclass(frozen=True)
class Entry:
    """What stands in one column of one line."""

    text: str
    order: float | None = None  # what a number sorts by, however it is written
    aside: str | None = None  # in quiet letters beside it; empty keeps its room
    link: str = ""
    mark: tuple[str, str] | None = None  # a dot before it: colour and meaning
    look: str = ""  # a class of the style sheet

    @property
    def sorts_by(self) -> str:
        return "" if self.order is None else f"{self.order:.8g}"


@dataclass(frozen=True)
class Table:
    """A table with a name that serves as its id."""

    name: str
    columns: Sequence[Column]
    lines: Sequence[Sequence[Entry]]

    @property
    def menus(self) -> Iterator[tuple[int, Column, list[str]]]:
        """The columns with a drop-down: number, column, and what there is to choose."""
        for number, column in enumerate(self.columns):
            if column.menu:
                yield number, column, list(dict.fromkeys(line[number].text for line in self.lines))


def numbered(value: float | None, text: str, absent: float = FIRST) -> Entry:
    """A number written as `text`; without one, it sorts as `absent`."""
    return Entry(text, absent if value is None else value)
