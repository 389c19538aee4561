"""The data of the page as JSON, from which its script makes the views."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.records.schema import Record
from bench.report.boards import Board
from bench.report.html.cells import records_data
from bench.report.html.leaderboard import board_table, notes_on, place_of, ranked_rows, told_apart
from bench.report.html.methods import families_data, pairs_data, row_data, sources_data
from bench.report.html.table import TableCell, TableColumn
from bench.utils.escaping import for_script

ROUNDED = 6  # digits of a number that orders or is drawn


def page_data(boards: Sequence[Board], records: Mapping[str, Record], with_records: bool) -> str:
    """Return the data as text that may stand in a script element."""
    made = {
        "boards": [_board(board, records) for board in boards],
        "families": families_data(),
        "sources": sources_data(list(boards)),
        "records": records_data(records if with_records else {}, boards),
    }
    return for_script(_rounded(made))


def _board(board: Board, records: Mapping[str, Record]) -> dict[str, Any]:
    table = board_table(board, "")
    return {
        "name": board.name,
        "place": place_of(board),
        "told": told_apart(board),
        "notes": notes_on(board),
        "units": board.comparison.units,
        "groups": list(board.groups),
        "columns": [_column(column) for column in table.columns],
        "lines": [[_entry(cell) for cell in line] for line in table.lines],
        "complete": len(board.rows),
        "rows": [row_data(board, row, rank, records) for row, rank in ranked_rows(board)],
        "pairs": pairs_data(board),
    }


def _column(column: TableColumn) -> list[Any]:
    return [column.name, column.kind, column.hint, column.group, column.is_task]


def _entry(cell: TableCell) -> list[Any]:
    """Return text, order, aside and look, without what is empty at the end."""
    parts = [cell.text, cell.order, cell.aside, cell.look or None]
    while parts[-1] is None:
        parts.pop()
    return parts


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{ROUNDED}g}")
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list | tuple) else value
