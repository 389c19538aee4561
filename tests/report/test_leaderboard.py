"""The leaderboard as Markdown, on made-up records of nineteen tasks."""

from dataclasses import replace

from bench.report.boards import build_boards
from bench.report.frame import record_frame
from bench.report.leaderboard import render_leaderboard
from support.vtab_boards import HIGH, LOW, VTAB, board, row


def test_nineteen_tasks_have_a_table_of_their_own_below_the_means() -> None:
    page = render_leaderboard([board(row("lora", LOW), row("vpt_deep", HIGH))], "")
    means, tasks = page.split("### By task")
    heads = [line for line in (*means.splitlines(), *tasks.splitlines()) if "| method" in line]
    first, second = ([cell.strip() for cell in head.strip("|").split("|")] for head in heads)
    assert "mean over tasks" in first
    assert not {task.name for task in VTAB.task} & set(first)
    assert second == ["method", *(task.name for task in VTAB.task)]


def test_the_precision_is_said_and_another_one_is_another_board() -> None:
    plain = row("lora", LOW)
    rough = [
        replace(one, settings=replace(s, recipe={**s.recipe, "precision": "bf16"}))
        for one, s in ((one, one.settings) for one in row("lora", HIGH))
    ]
    found = build_boards(record_frame([*plain, *rough]), {VTAB.name: VTAB})
    pages = [render_leaderboard([one], "") for one in found]
    assert sorted(("epochs, fp32)" in page, "epochs, bf16)" in page) for page in pages) == [
        (False, True),
        (True, False),
    ]
    assert len({one.name for one in found}) == 2
