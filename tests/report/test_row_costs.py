"""The costs beside a row's parameters: of one workload, dashes where nobody measured."""

from bench.report.boards import Board, build_boards
from bench.report.frame import record_frame
from bench.report.leaderboard import complete_lines, render_leaderboard
from bench.report.row_costs import COST_COLUMNS, costs_on
from support.made_up_records import SUITES, row

Line = dict[str, str]


def measured(method: str, batch: int = 32, **changed: str) -> Line:
    place = {"backbone": "vit_mini_mae", "batch": f"{batch}", "precision": "fp32"}
    machine = {"device": "a processor", "threads": "1", "torch": "2"}
    times = {"train_step_ms": "12.34", "test_batch_ms": "4.56", "peak_memory_mb": "99.6"}
    return {**place, **machine, "method": method, **times, "test_merged_ms": "", **changed}


def board(*lines: Line) -> Board:
    records = [*row("lora", [70.0] * 5), *row("bias", [60.0] * 5)]
    [found] = build_boards(record_frame(records), SUITES, lines)
    return found


def test_a_row_shows_what_its_method_costs_on_the_boards_backbone() -> None:
    elsewhere = measured("lora", backbone="vit_mini_sup", train_step_ms="99")
    lora, bias = complete_lines(board(measured("lora", test_merged_ms="4.1"), elsewhere))
    assert [lora[head] for head in COST_COLUMNS] == ["12.3", "100", "4.6", "4.1"]
    assert [bias[head] for head in COST_COLUMNS] == ["–"] * 4


def test_a_method_that_cannot_be_merged_has_a_dash() -> None:
    lora, _ = complete_lines(board(measured("lora")))
    assert (lora["test (ms)"], lora["merged (ms)"]) == ("4.6", "–")


def test_one_board_shows_one_batch_that_of_most_methods() -> None:
    lines = [measured("lora", 8), measured("lora"), measured("bias", train_step_ms="1")]
    shown = complete_lines(board(*lines))
    assert [line["step (ms)"] for line in shown] == ["12.3", "1.0"]
    assert "a batch of 32 in fp32 on a processor, 1 thread" in render_leaderboard(
        [board(*lines)], ""
    )


def test_a_board_without_measured_costs_has_no_such_columns() -> None:
    found = board(measured("lora", backbone="another"))
    assert not COST_COLUMNS.keys() & complete_lines(found)[0].keys()
    assert "bench cost" not in render_leaderboard([found], "")


def test_changed_fields_do_not_borrow_the_methods_cost() -> None:
    assert set(costs_on("vit_mini_mae", [measured("lora")]).columns("lora[rank=4]").values()) == {
        "–"
    }
