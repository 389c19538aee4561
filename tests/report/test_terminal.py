"""Boards as a terminal and a pipe show them: columns that fit, and no more said than is known."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.records.schema import Record
from bench.report import terminal
from bench.report.boards import Board, Comparison
from bench.report.generate import read_boards
from support import hostile, made_up_records


def boards(folder: Path, records: Sequence[Record]) -> list[Board]:
    made_up_records.write(folder, records)
    return read_boards(folder)[0]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    """The board of most results."""
    return boards(tmp_path_factory.mktemp("results"), made_up_records.forty())[0]


def head(lines: Sequence[str]) -> list[str]:
    return [word.strip() for word in lines[1].split("   ") if word.strip()]


def test_a_pipe_gets_every_column(board: Board) -> None:
    lines = list(terminal.board_lines(board))
    assert lines[0] == board.name
    columns = ["rank", "method", "params (M)", "tasks", *board.tasks, "mean", "seeds", "train (s)"]
    assert head(lines) == columns
    for row in board.rows:
        [line] = [line for line in lines if row.label in line.split()]
        assert f"{len(row.cells)}/{len(row.cells)}" in line


def test_no_line_is_markdown(board: Board) -> None:
    lines = list(terminal.board_lines(board))
    assert not [line for line in lines if line.startswith(("|", "#", "<", "-"))]


@given(width=st.integers(20, 200))
@settings(max_examples=25)
def test_no_line_of_the_table_is_wider_than_the_terminal(board: Board, width: int) -> None:
    lines = list(terminal.board_lines(board, width))[1:-1]
    assert max(map(len, lines)) <= width


def test_a_narrow_terminal_keeps_rank_method_and_mean(board: Board) -> None:
    assert head(list(terminal.board_lines(board, 34))) == ["rank", "method", "mean"]


def test_tasks_are_left_out_before_what_sums_them_up(board: Board) -> None:
    columns = head(list(terminal.board_lines(board, 75)))
    assert not set(columns) & set(board.tasks)
    assert {"tasks", "mean", "seeds"} <= set(columns)


def test_an_incomplete_row_has_neither_rank_nor_mean(board: Board) -> None:
    rows = [replace(row, means=None) for row in board.rows]
    bare = replace(board, rows=[], incomplete=rows, comparison=Comparison([]))
    lines = list(terminal.board_lines(bare))
    assert lines[3].split()[0] == "–"


def test_only_the_boards_of_the_cells_that_were_asked_for_are_shown(board: Board) -> None:
    cells = next(iter(board.rows[0].cells.values())).cell_names.values()
    assert terminal.boards_of([board], set(cells)) == [board]
    assert terminal.boards_of([board], {"0" * 16}) == []


def test_a_long_board_says_how_many_rows_it_leaves_out(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "MOST_ROWS", 1)
    left = len(board.rows) + len(board.incomplete) - 1
    assert f"and {left} more methods" in terminal.board_lines(board)


def test_what_no_test_could_tell_apart_is_said_so(board: Board) -> None:
    said = terminal.verdict(board.comparison)
    assert said.startswith("No two methods can be told apart (Wilcoxon over tasks, Holm-corrected")
    assert "no p can be below" in said


@pytest.mark.parametrize("text", hostile.TEXTS.values(), ids=hostile.TEXTS)
def test_a_hostile_name_stays_in_its_cell(board: Board, text: str) -> None:
    rows = [replace(board.rows[0], label=text), *board.rows[1:]]
    odd = replace(board, rows=rows, backbone=text)
    for width in (None, 50):
        shown = "\n".join(terminal.board_lines(odd, width))
        assert not list(hostile.in_terminal(shown))
