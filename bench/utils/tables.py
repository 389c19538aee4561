"""Tables as text, their cells escaped: CSV, and the plain tables of the terminal."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from tabulate import tabulate

from bench.utils.escaping import for_csv, for_terminal


def csv_text(lines: Iterable[Iterable[object]]) -> str:
    """Return lines as CSV; the heads are the first of them."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(map(for_csv, line) for line in lines)
    return stream.getvalue()


def csv_from_dicts(heads: Sequence[str], lines: Iterable[Mapping[str, object]]) -> str:
    """Return the columns `heads` of lines as CSV; missing values are empty."""
    return csv_text([heads, *([line.get(name, "") for name in heads] for line in lines)])


def terminal_lines(rows: Iterable[Iterable[object]], heads: Iterable[str]) -> list[str]:
    """Return the lines of a table for the terminal."""
    shown = [[for_terminal(c) if isinstance(c, str) else c for c in row] for row in rows]
    return tabulate(shown, list(map(for_terminal, heads)), "simple").split("\n")
