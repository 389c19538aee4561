"""Shares of the training images: tasks where a suite has them, the recipe's field elsewhere."""

from pathlib import Path

import pytest

from bench.papers.study import Study, load_study, with_stand_ins
from bench.utils.errors import UserError

SHARES = [0.1, 0.5, 1.0]


def load(folder: Path, suite: str, more: str = "", shares: object = SHARES) -> Study:
    path = folder / "many.toml"
    path.write_text(
        f"""
title = "Many shots"
shows = "What more images are worth."
recipe = "quick"
figure = {{ kind = "curves", x = "train_share", value = "accuracy", lines = ["method"] }}
[[grid]]
suite = "{suite}"
methods = ["linear"]
backbones = ["vit_micro_mae"]
seeds = [0]
shares = {shares}
{more}
""",
        encoding="utf-8",
    )
    return load_study(str(path)).study


def test_shares_of_a_suite_that_has_them_are_its_tasks(tmp_path: Path) -> None:
    [grid] = load(tmp_path, "imagenet1k").grid
    assert grid.tasks == ["imagenet1k_10", "imagenet1k_50", "imagenet1k_100"]
    assert grid.tasks_as == {"train_share": dict(zip(grid.tasks, SHARES, strict=True))}
    assert not grid.vary


@pytest.mark.parametrize("suite", ["mini", "manyshot", "vtab_mini"])
def test_shares_of_another_suite_are_the_recipe_s(suite: str, tmp_path: Path) -> None:
    [grid] = load(tmp_path, suite).grid
    assert grid.vary == {"train_share": SHARES}
    assert not grid.tasks_as


@pytest.mark.parametrize(
    ("quick", "shares"), [("", SHARES), ("shares = [1.0], ", [1.0]), ("seeds = [0], ", SHARES)]
)
@pytest.mark.parametrize("suite", ["imagenet1k", "manyshot"])
def test_a_quick_study_takes_its_shares_of_the_stand_ins(
    suite: str, quick: str, shares: list[float], tmp_path: Path
) -> None:
    over = f'quick = {{ {quick}backbones = ["vit_micro_mae"], tasks = ["digits"] }}'
    [grid] = with_stand_ins("many", load(tmp_path, suite, over))[0].grid
    assert (grid.suite, grid.vary, grid.tasks_as) == ("mini", {"train_share": shares}, {})


def test_a_quick_study_that_varies_the_field_itself_may(tmp_path: Path) -> None:
    axes = "tasks_as = {}, vary = { train_share = [0.5] }"
    over = f'quick = {{ backbones = ["vit_micro_mae"], tasks = ["digits"], {axes} }}'
    [grid] = with_stand_ins("many", load(tmp_path, "imagenet1k", over))[0].grid
    assert grid.vary == {"train_share": [0.5]}


def test_the_paper_s_figures_are_of_one_kind() -> None:
    for name in ("fig4", "figS3"):
        [grid] = load_study(f"spt2024/{name}").study.grid
        assert sorted(grid.tasks_as["train_share"].values()) == [0.01, 0.02, 0.05, 0.1, 0.3, 0.5, 1]


@pytest.mark.parametrize(
    ("suite", "more", "shares", "said"),
    [
        ("imagenet1k", "", [0.2], "has no task of the share 0.2; it has 0.01, 0.02"),
        ("mini", "", [0.0], "shares"),
        ("mini", "", [1.5], "shares"),
        ("mini", "", ["half"], "shares"),
        ("mini", "", [0.5, 0.5], "must be distinct"),
        ("mini", "vary = { train_share = [0.5] }", [0.5], "leave it out of vary and tasks_as"),
    ],
)
def test_bad_shares_are_a_sentence(
    suite: str, more: str, shares: list[object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        load(tmp_path, suite, more, shares)
