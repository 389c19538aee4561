"""Seeds that not all tasks of a row have are left out of its means, and named briefly."""

import pytest

from bench.records.schema import Record
from bench.report.leaderboard import render_leaderboard
from bench.report.unshared_seeds import unshared_sentence
from support.made_up_records import TASKS, boards, row

START = "Seeds left out, as not all tasks have them: "


def whole(*methods: str) -> list[Record]:
    """Rows with seed 0 on all tasks."""
    return [record for method in methods for record in row(method, [60.0] * len(TASKS))]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (row("bias", [99.0], 1), "bias on digits (1)"),
        (row("bias", [99.0], 1) + row("bias", [98.0], 2), "bias on digits (1, 2)"),
        (row("bias", [99.0] * 2, 1), f"bias on {TASKS[0]}, {TASKS[1]} (1)"),
        (row("bias", [99.0], 1) + row("full", [98.0], 1), "bias, full on digits (1)"),
        (
            row("bias", [99.0], 1) + row("full", [98.0], 2),
            "bias on digits (1); full on digits (2)",
        ),
        (
            [r for method in ("bias", "full", "lora") for r in row(method, [99.0] * 2, 1)],
            f"all methods on {TASKS[0]}, {TASKS[1]} (1)",
        ),
    ],
)
def test_methods_and_tasks_with_the_same_seeds_share_an_entry(
    more: list[Record], said: str
) -> None:
    [board] = boards(whole("bias", "full", "lora") + more)
    assert unshared_sentence(board.rows) == f"{START}{said}."
    assert f"{START}{said}." in render_leaderboard([board], "")


def test_the_only_method_of_a_board_is_named() -> None:
    [board] = boards(whole("bias") + row("bias", [99.0], 1))
    assert unshared_sentence(board.rows) == f"{START}bias on digits (1)."


def test_without_such_seeds_nothing_is_said() -> None:
    [board] = boards(whole("bias") + row("bias", [99.0] * len(TASKS), 1))
    assert unshared_sentence(board.rows) == ""
