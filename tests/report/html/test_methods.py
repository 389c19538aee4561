"""The page's view of a row: intervals, place, and the comparison with every other row."""

from dataclasses import replace

import numpy as np
import pytest

from bench.report import statistics
from bench.report.boards import Board
from bench.report.html import methods
from bench.report.html.methods import pairs_data, row_data, sources_data
from support.made_up_records import boards, make, row

TASKS = 12


def board_of_many_tasks() -> Board:
    """A board on which one method is the best everywhere, and two others are alike."""
    values = {"lora": 70.0, "bias": 50.0, "linear": 50.5}
    records = [
        make(method, f"task{i}", accuracy=mean + i / 10 + (i % 3 if method == "linear" else 0))
        for method, mean in values.items()
        for i in range(TASKS)
    ]
    return boards(records)[0]


def test_the_interval_of_several_seeds_is_over_seeds() -> None:
    records = row("bias", [60.0] * 5) + row("bias", [62.0] * 5, seed=1)
    [board] = boards(records)
    found = row_data(board, board.rows[0], (1, 1), {r.cell: r for r in records})
    interval, over, seeds = found["tasks"][0]
    assert (interval, over) == ("48.29 to 73.71", "seeds")  # 61 ± 12.706 · √2 / √2
    assert [(seed, text) for seed, text, _ in seeds] == [(0, "60.00"), (1, "62.00")]


def test_the_interval_of_one_seed_is_of_its_test_images_and_says_so() -> None:
    records = row("bias", [50.0] * 5)
    [board] = boards(records)
    found = row_data(board, board.rows[0], (1, 1), {r.cell: r for r in records})
    assert found["tasks"][0][:2] == ["46.54 to 53.46", "images"]  # Wilson's, 400 of 800


def test_without_its_record_a_single_seed_has_no_interval() -> None:
    [board] = boards(row("bias", [50.0] * 5))
    assert row_data(board, board.rows[0], (1, 1), {})["tasks"][0][:2] == ["", ""]


def test_a_row_names_those_it_can_be_told_apart_from() -> None:
    board = board_of_many_tasks()
    assert [one.label for one in board.rows] == ["lora", "linear", "bias"]
    best, middle, _ = (row_data(board, one, (1, 1), {}) for one in board.rows)
    assert (best["better"], best["worse"]) == ([1, 2], [])
    assert 0 in middle["worse"]


def test_every_pair_has_the_corrected_p_and_the_interval_of_its_difference() -> None:
    board = board_of_many_tasks()
    found = pairs_data(board)
    table = board.comparison.table
    for number, (i, j) in enumerate([(0, 1), (0, 2), (1, 2)]):
        expected = statistics.bootstrap_interval(table[:, [i]] - table[:, [j]])
        assert found["ends"][2 * number : 2 * number + 2] == [round(100 * e) for e in expected]
        assert float(found["p"].get(str(number), 1)) == pytest.approx(
            board.comparison.p[i, j], rel=0.05
        )


def test_a_p_of_one_is_left_out() -> None:
    [board] = boards(row("bias", [50.0] * 5) + row("lora", [50.0] * 5))
    assert pairs_data(board)["p"] == {}


def test_of_many_rows_the_best_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "MOST_COMPARED", 2)
    found = pairs_data(board_of_many_tasks())
    assert found["rows"] == 2
    assert len(found["ends"]) == 2


def test_incomplete_and_single_rows_are_compared_with_none() -> None:
    [board] = boards(row("bias", [50.0] * 5) + row("full", [50.0, "failed"]))
    assert pairs_data(board)["rows"] == 0
    alone = row_data(board, board.rows[0], (1, 1), {})
    assert (alone["mean"], alone["better"], alone["worse"]) == (None, [], [])
    assert row_data(board, board.incomplete[0], None, {})["mean"] is None


def test_training_times_of_several_machines_are_in_no_picture() -> None:
    [board] = boards(row("bias", [50.0] * 5))
    elsewhere = replace(board.rows[0], machine="")
    assert row_data(board, board.rows[0], (1, 1), {})["x"][2] == 12.0
    assert row_data(board, elsewhere, (1, 1), {})["x"][2] is None


def test_a_method_has_the_paper_that_its_file_cites_and_a_strangers_has_none() -> None:
    found = sources_data(boards(row("vpt_deep", [50.0] * 5) + row("theirs", [50.0] * 5)))
    text, papers = found["vpt_deep"]
    assert text.startswith("VPT: visual prompt tuning")
    assert papers == [("https://arxiv.org/abs/2203.12119", "Visual Prompt Tuning")]
    assert "theirs" not in found


def test_an_interval_over_seeds_needs_two() -> None:
    with pytest.raises(ValueError, match="2 of them or more"):
        statistics.seeds_interval(np.array([50.0]))
