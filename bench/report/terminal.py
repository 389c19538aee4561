"""Boards for a terminal or a pipe: a compact table of each, and what its rows allow to say.

A table has the columns that fit the width; without a width it has them all.
"""

import io
from collections.abc import Collection, Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.report.boards import SIGNIFICANCE_LEVEL, Board, Comparison, format_rank
from bench.report.leaderboard import MOST_TASK_COLUMNS, cell_text
from bench.report.markdown import MISSING, format_mean_sd, format_number
from bench.report.rows import MethodRow
from bench.utils.escaping import for_terminal

MOST_ROWS = 40
WIDE = 10_000  # characters; no table of a board is wider
EXPENDABLE = ("train (s)", "seeds", "params (M)", "tasks")  # the first is left out first

Line = dict[str, str]


def boards_of(boards: Sequence[Board], cells: Collection[str]) -> list[Board]:
    """Return the boards with a result of these cells, given by their digests."""
    return [board for board in boards if not _cells_of(board).isdisjoint(cells)]


def _cells_of(board: Board) -> set[str]:
    found = (cell.cell_names.values() for row in board.all_rows for cell in row.cells.values())
    return {name for names in found for name in names}


def board_lines(board: Board, width: int | None = None) -> Iterator[str]:
    """Yield a board's name, its table and the sentence on its ranks, line by line."""
    yield for_terminal(board.name)
    lines = _lines(board)
    yield from _table(_fit(lines[:MOST_ROWS], width), width)
    if len(lines) > MOST_ROWS:
        yield f"and {len(lines) - MOST_ROWS} more methods"
    if sentence := verdict(board.comparison):
        yield sentence


def verdict(found: Comparison) -> str:
    """Say how many pairs of methods can be told apart; empty for fewer than two complete rows."""
    if len(found.rows) < 2:
        return ""
    test = f"Wilcoxon over {found.units}, Holm-corrected, p < {SIGNIFICANCE_LEVEL}"
    if apart := found.num_significant():
        noun = "pair of methods differs" if apart == 1 else "pairs of methods differ"
        return f"{apart} of {found.num_pairs} {noun} significantly ({test})."
    least = found.smallest_p()
    tasks = len(found.table)
    noun = found.units.removesuffix("s") if tasks == 1 else found.units
    cannot = f"; with {tasks} {noun} no p can be below {least:.2g}"
    return (
        f"No two methods can be told apart ({test}{cannot if least >= SIGNIFICANCE_LEVEL else ''})."
    )


def _lines(board: Board) -> list[Line]:
    """Return the complete rows by rank, then the incomplete ones; all have the same columns."""
    complete = zip(board.comparison.ranks, board.rows, strict=True)
    ranked = [_line(board, row, format_rank(rank)) for rank, row in complete]
    return [*ranked, *(_line(board, row, MISSING) for row in board.incomplete)]


def _line(board: Board, row: MethodRow, rank: str) -> Line:
    done = sum(bool(cell.accuracies) for cell in row.cells.values())
    few = len(board.tasks) <= MOST_TASK_COLUMNS
    means = row.means
    return {
        "rank": rank,
        "method": row.label,
        "params (M)": format_number(row.params_in_millions, 3),
        "tasks": f"{done}/{len(row.cells)}",
        **({task: cell_text(cell) for task, cell in row.cells.items()} if few else {}),
        "mean": format_mean_sd(means.over_tasks, means.sd) if means else MISSING,
        "seeds": str(len(row.seeds)),
        "train (s)": format_number(row.train_seconds, 1),
    }


def _fit(lines: list[Line], width: int | None) -> list[Line]:
    """Leave out columns until the table is no wider than `width`: tasks first."""
    if width is None or not lines:
        return lines
    always = {"rank", "method", "mean", *EXPENDABLE}
    tasks = [name for name in lines[0] if name not in always]
    for dropped in (tasks, *([name] for name in EXPENDABLE)):
        if _width(lines) <= width:
            break
        lines = [{k: v for k, v in line.items() if k not in dropped} for line in lines]
    return lines


def _width(lines: Sequence[Line]) -> int:
    """Return how wide the table of these lines is: three spaces between two columns."""
    columns = [max(len(head), *(len(line[head]) for line in lines)) for head in lines[0]]
    return sum(columns) + 3 * (len(columns) - 1)


def _table(lines: Sequence[Line], width: int | None) -> Iterator[str]:
    if not lines:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in lines[0]:
        is_text = head == "method"
        table.add_column(
            Text(for_terminal(head)),
            justify="left" if is_text else "right",
            no_wrap=not is_text,
            overflow="fold",
        )
    for line in lines:
        table.add_row(*(Text(for_terminal(value)) for value in line.values()))
    stream = io.StringIO()
    Console(file=stream, width=width or WIDE, no_color=True).print(table)
    yield from (line.rstrip() for line in stream.getvalue().splitlines())
