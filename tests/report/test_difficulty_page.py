"""The page of a built-in suite's difficulty: one line a task, baselines from the records."""

from pathlib import Path

import pytest

from bench.cli.main import main
from bench.report.difficulty_page import render_difficulty
from support.made_up_records import SUITE, TASKS, boards, row, write

UNTRAINED = {name: (10.0, 30.0 + i) for i, name in enumerate(TASKS)}


def table(page: str) -> dict[str, list[str]]:
    """The cells of each task."""
    lines = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("|")]
    return {line[1].strip(): [cell.strip() for cell in line] for line in lines}


def test_baselines_of_each_backbone_stand_beside_chance_and_neighbours() -> None:
    records = [
        *row("linear", [40.0, 41.0, 42.0, 43.0, 44.0]),
        *row("linear", [42.0, 41.0, 42.0, 43.0, 44.0], seed=1),
        *row("full", [60.0, 61.0], backbone="vit_mini_sup"),
        *row("lora", [99.0] * 5),
    ]
    found = table(render_difficulty(SUITE, boards(records), UNTRAINED))
    assert found["task"][3:] == [
        *("chance", "1-NN", "full, vit_mini_mae", "linear, vit_mini_mae"),
        *("full, vit_mini_sup", "linear, vit_mini_sup"),
    ]
    assert found[TASKS[0]][3:] == ["10.0", "30.0", "–", "41.0", "60.0", "–"]
    assert found[TASKS[4]][3:] == ["10.0", "34.0", "–", "44.0", "–", "–"]


def test_of_two_recipes_that_of_most_records_is_shown() -> None:
    long = {"name": "long", "version": 1, "batch": 32, "epochs": 30}
    records = [*row("full", [50.0] * 5), *row("full", [90.0] * 2, recipe=long)]
    page = render_difficulty(SUITE, boards(records), UNTRAINED)
    assert table(page)[TASKS[0]][5] == "50.0"
    assert "vit_mini_mae: quick v1" in page


def test_a_suite_that_is_not_built_in_has_no_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, row("full", [50.0]))
    assert main(["difficulty", "--suite", "vtab1k", "--results", str(tmp_path)]) == 2
    assert "is not built in" in capsys.readouterr().err
