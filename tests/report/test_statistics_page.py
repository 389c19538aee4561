"""The statistics page, on made-up records of nineteen tasks."""

import pytest

from bench.report.boards import Board
from bench.report.statistics import average_ranks, friedman
from bench.report.statistics_page import render_statistics
from support.vtab_boards import HIGH, LOW, NEAR, board, row


def cells(found: Board) -> dict[str, dict[str, str]]:
    """The page's first table, by method."""
    lines = [line.strip("|").split("|") for line in render_statistics([found]).splitlines()
             if line.startswith("|")]  # fmt: skip
    head, _, *body = [[cell.strip() for cell in line] for line in lines]
    return {line[1]: dict(zip(head, line, strict=True)) for line in body[:3]}


def test_a_method_that_is_higher_on_every_task_is_better_and_the_others_worse() -> None:
    found = cells(board(row("vpt_deep", HIGH), row("lora", LOW), row("ssf", NEAR)))
    shown = {
        method: (line["rank"], line["better than"], line["worse than"], line["average rank"])
        for method, line in found.items()
    }
    assert shown == {
        "vpt_deep": ("1", "2", "0", "1.00"),
        "ssf": ("2–3", "0", "1", "2.53"),  # ahead of lora on nine tasks of nineteen
        "lora": ("2–3", "0", "1", "2.47"),
    }


def test_the_significant_pairs_stand_with_the_better_method_first() -> None:
    page = render_statistics([board(row("lora", LOW), row("vpt_deep", HIGH))])
    line = page.split("### Significant pairs")[1].strip().splitlines()[2]
    assert [cell.strip() for cell in line.strip("|").split("|")[:3]] == [
        "vpt_deep",
        "lora",
        f"{sum(HIGH) / 19 - sum(LOW) / 19:.2f}",
    ]


def test_the_page_lists_the_significant_pairs_alone_and_says_how_many_of_all_they_are() -> None:
    """Of three pairs lora and ssf, which differ by chance, are not one."""
    made = board(row("vpt_deep", HIGH), row("lora", LOW), row("ssf", NEAR))
    page = render_statistics([made])
    lines = page.split("### Significant pairs")[1].strip().splitlines()[2:]
    pairs = [[cell.strip() for cell in line.strip("|").split("|")[:2]] for line in lines]
    assert sorted(pairs) == [["vpt_deep", "lora"], ["vpt_deep", "ssf"]]
    assert "2 of 3 pairs have a corrected p below 0.05" in page


def test_the_critical_difference_is_of_the_methods_over_the_tasks() -> None:
    """Demsar, 2006: q of three methods is 2.343, times sqrt(k (k + 1) / 6 N)."""
    made = board(row("vpt_deep", HIGH), row("lora", LOW), row("ssf", NEAR))
    page = render_statistics([made])
    wanted = 2.343 * (3 * 4 / (6 * 19)) ** 0.5
    assert f"critical difference of average ranks is {wanted:.2f}." in page


def test_the_interval_to_the_first_is_of_differences_over_the_same_tasks() -> None:
    found = cells(board(row("vpt_deep", HIGH), row("lora", LOW), row("ssf", NEAR)))
    less, most = map(float, found["lora"]["to the first"].split(" to "))
    assert -7 <= less <= most <= -5  # not as wide as the tasks lie apart
    assert found["vpt_deep"]["to the first"] == ""


def test_differences_that_floats_alone_make_are_ties_in_ranks_and_in_friedman_s_test() -> None:
    """In floats 0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1: the same seeds in another order."""
    gains = (0.1, 0.2, 0.3)
    several = [row("lora", [gain + i / 7 for i in range(19)], s) for s, gain in enumerate(gains)]
    equal = [row("ssf", [gain + i / 7 for i in range(19)], 2 - s) for s, gain in enumerate(gains)]
    low = [row("vpt_deep", [i / 7 for i in range(19)], s) for s in range(3)]
    made = board(*several, *equal, *low)
    table = made.comparison.table
    assert (table[:, 0] != table[:, 1]).any()  # else this test would show nothing
    assert average_ranks(table).tolist() == [1.5, 1.5, 3.0]
    found = cells(made)
    assert {line["average rank"] for line in found.values()} == {"1.50", "3.00"}
    tested, clean = friedman(table), friedman(table.round(3))
    assert tested == pytest.approx(clean)


def test_a_board_of_one_row_has_no_section() -> None:
    assert "##" not in render_statistics([board(row("lora", LOW))]).replace("# Stat", "")
