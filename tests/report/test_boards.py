"""Records grouped into boards and rows."""

from typing import Any

import pytest

from bench.report.boards import Board
from support.made_up_records import TASKS, boards, make, row


def shown(found: list[Board]) -> list[dict[str, list[str]]]:
    """Of each board its rows and their tasks that have a result."""
    return [
        {
            one.label: [task for task, cell in one.cells.items() if cell.accuracies]
            for one in [*board.rows, *board.incomplete]
        }
        for board in found
    ]


def test_tasks_of_two_variants_of_the_data_stand_on_two_boards() -> None:
    lossless = [make("bias", "digits", split="lossless:1-1")]
    copied = [make("bias", "count", split="jpeg75:2-2")]
    found = boards(lossless + copied)
    assert [board.tasks for board in found] == [["digits"], ["count"]] or [
        board.tasks for board in found
    ] == [["count"], ["digits"]]
    assert {board.variant for board in found} == {"lossless", "jpeg75"}


def test_the_commonest_split_of_a_task_stays_with_the_other_tasks() -> None:
    common = row("bias", [60.0] * 5) + row("lora", [70.0] * 5)
    rare = [make("ssf", TASKS[0], split="4" * 32)]  # would be the first by its name
    found = shown(boards(common + rare))
    assert {"bias": TASKS, "lora": TASKS} in found
    assert {"ssf": [TASKS[0]]} in found
    assert len(found) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("suite_version", 2),
        ("weights", "f" * 64),
        ("input", {"size": 32, "pooling": "avg"}),
        ("recipe", {"name": "quick", "version": 1, "batch": 64, "epochs": 10}),
        ("split", "lossless:" + "5" * 32),
    ],
)
def test_a_row_is_made_of_one_board_s_records_alone(field: str, value: object) -> None:
    """Three tasks under one setting and two under another are no complete row."""
    first = row("bias", [60.0] * 5)[:3]
    second = row("bias", [60.0] * 5, **{field: value})[3:]
    found = boards(first + second)
    assert len(found) == 2
    assert sorted(len(board.tasks) for board in found) == [2, 3]


def searched(**own: list[float]) -> dict[str, Any]:
    """A recipe whose rates are searched, with these grids of methods' own."""
    grids = {method: {"lr": rates} for method, rates in own.items()}
    search = {"trials": 2, "seed": 0, "grid": {"lr": [0.1, 0.2]}, "grid_of": grids}
    return {"name": "quick", "version": 1, "batch": 32, "epochs": 10, "tuning": search}


def test_methods_with_grids_of_their_own_share_a_board() -> None:
    records = row("bias", [60.0] * 5, recipe=searched(bias=[0.3, 0.4]))
    records += row("lora", [70.0] * 5, recipe=searched())
    [board] = boards(records)
    assert shown([board]) == [{"lora": TASKS, "bias": TASKS}]
    assert board.recipe["tuning"] == {"trials": 2, "seed": 0, "grid": {"lr": [0.1, 0.2]}}


def test_a_method_with_two_grids_of_its_own_has_two_rows_that_name_them() -> None:
    records = row("bias", [60.0] * 5, recipe=searched(bias=[0.3, 0.4]))
    records += row("bias", [65.0] * 5, recipe=searched(bias=[0.4, 0.5]))
    assert shown(boards(records)) == [
        {"bias[grid.lr=[0.4, 0.5]]": TASKS, "bias[grid.lr=[0.3, 0.4]]": TASKS}
    ]
