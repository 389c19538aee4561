"""The tricks that boards show: each on records made up so that its effect is known."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.records.schema import Record
from bench.report import trick_boards
from bench.report.trick_effects import Effect
from support.made_up_records import SUITE, boards, row

LOW, HIGH = [40.0, 50.0, 60.0, 70.0, 80.0], [42.0, 50.0, 63.0, 70.0, 80.0]
MAE: dict[str, Any] = {"input": {"size": 32, "timm": "vit_tiny", "pooling": "avg"}}
SUP = {
    "backbone": "vit_mini_sup",
    "weights": "f" * 64,
    "input": {**MAE["input"], "pooling": "token"},
}
RECIPE = {"name": "quick", "version": 1, "batch": 32, "epochs": 10}


def two(**changed: Any) -> list[Record]:
    return [*row("bias", LOW, **changed), *row("lora", HIGH, **changed)]


def only(found: Iterable[Effect]) -> Effect:
    [shown] = found
    return shown


def test_the_best_epoch_is_set_against_the_last() -> None:
    made = two()
    assert made[0].outcome is not None
    better = replace(made[0].outcome, best_epoch_accuracy=90.0)
    shown = only(trick_boards.best_epochs(boards([replace(made[0], outcome=better), *made[1:]])))
    assert pytest.approx(np.array([LOW, HIGH])) == shown.before.T
    assert shown.gains == pytest.approx([(50.0 + 4 * 0.25) / 5, 0.25])
    assert shown.place == {
        "suite": f"mini v{SUITE.version}",
        "backbone": "vit_mini_mae",
        "recipe": "quick v1",
    }


def test_the_best_of_seeds_is_a_task_at_a_time_and_needs_as_many() -> None:
    """A seed that is the best on one task need not be on another."""
    made = [
        *(r for seed in (0, 1) for r in row("bias", [60.0 + seed, 61.0 - seed], seed)),
        *(r for seed in (0, 1) for r in row("lora", [70.0, 70.0 + 4 * seed], seed)),
        *row("ssf", [50.0, 50.0]),
    ]
    shown = only(trick_boards.best_seeds(boards(made), 2))
    assert shown.methods == 2
    assert shown.gains == pytest.approx([0.5, 1.0])
    assert list(trick_boards.best_seeds(boards(made), 3)) == []


def test_the_mean_over_groups_is_that_of_the_boards() -> None:
    [board] = boards(two())
    shown = only(trick_boards.group_means([board]))
    by_label = sorted(board.rows, key=lambda found: found.label)
    means = [found.means for found in by_label if found.means]
    assert shown.gains == pytest.approx([m.over_groups - m.over_tasks for m in means])
    assert any(shown.gains)


def test_a_board_of_equal_groups_has_no_other_mean() -> None:
    assert (
        list(trick_boards.group_means(boards([*row("bias", [50.0]), *row("lora", [60.0])]))) == []
    )


@pytest.mark.parametrize("gain", [3.0, -3.0])
def test_checkpoints_are_compared_in_the_direction_that_gains(gain: float) -> None:
    other = [*row("bias", [x + gain for x in LOW], **SUP), *row("lora", HIGH, **SUP)]
    shown = only(trick_boards.checkpoints(boards([*two(**MAE), *other])))
    assert shown.gains == pytest.approx([3.0, 0.0])
    names = ("vit_mini_sup", "vit_mini_mae")
    assert shown.place["backbone"] == " for ".join(names if gain > 0 else names[::-1])
    assert shown.swaps_of_all == shown.swaps_of_one == (gain > 0)  # from 60 past 61, or to 60


def test_another_size_or_recipe_is_no_other_checkpoint() -> None:
    for apart in (
        {"input": {**MAE["input"], "architecture": {"depth": 4}}},
        {"recipe": {**RECIPE, "epochs": 20}},
    ):
        assert list(trick_boards.checkpoints(boards([*two(**MAE), *two(**{**SUP, **apart})]))) == []


def test_methods_and_tasks_that_both_boards_have_are_compared() -> None:
    other = [
        *row("bias", LOW[:3], **SUP),
        *row("lora", HIGH[:3], **SUP),
        *row("ssf", LOW[:3], **SUP),
    ]
    shown = only(trick_boards.checkpoints(boards([*two(**MAE), *other])))
    assert (shown.methods, shown.tasks) == (2, 3)
    assert list(trick_boards.checkpoints(boards([*two(**MAE), *row("ssf", LOW, **SUP)]))) == []


def test_jpeg_copies_are_set_against_lossless_images_whichever_comes_first() -> None:
    copies = [*row("bias", [30.0] * 5, split=f"jpeg75:{'6' * 32}"),
              *row("lora", HIGH, split=f"jpeg75:{'6' * 32}")]  # fmt: skip
    shown = only(trick_boards.jpeg_copies(boards([*copies, *two(split=f"lossless:{'5' * 32}")])))
    assert shown.gains == pytest.approx([-30.0, 0.0])
    assert shown.place["data"] == "jpeg75 for lossless"


def test_jpeg_copies_of_built_in_tasks_are_set_against_the_originals_but_not_of_found_folders() -> (
    None
):
    copies = [*row("bias", [30.0] * 5, split=f"jpeg75:{'6' * 32}"),
              *row("lora", HIGH, split=f"jpeg75:{'6' * 32}")]  # fmt: skip
    found = boards([*copies, *two()])
    assert only(trick_boards.jpeg_copies(found)).gains == pytest.approx([-30.0, 0.0])
    folders = [replace(board, is_built_in=False) for board in found]
    assert list(trick_boards.jpeg_copies(folders)) == []


def test_inputs_in_0_to_1_are_set_against_normalised_ones() -> None:
    plain, none = ({**RECIPE, "normalisation": name} for name in ("backbone", "none"))
    made = [*two(recipe=plain), *row("bias", [41.0] * 5, recipe=none),
            *row("lora", HIGH, recipe=none)]  # fmt: skip
    shown = only(trick_boards.unnormalised_inputs(boards(made)))
    assert shown.gains == pytest.approx([-19.0, 0.0])
    assert list(trick_boards.unnormalised_inputs(boards(two(recipe=plain)))) == []


def test_one_method_alone_has_no_pair() -> None:
    alone = boards(row("bias", LOW))
    assert list(trick_boards.best_epochs(alone)) == []
    assert list(trick_boards.group_means(alone)) == []


def test_a_row_that_lacks_a_task_does_not_count_and_one_of_more_seeds_does() -> None:
    more = [*two(), *row("lora", HIGH[:2], seed=1), *row("ssf", LOW[:4])]
    assert only(trick_boards.best_epochs(boards(more))).methods == 2
