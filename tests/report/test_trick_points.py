"""The points of grids: whose scores belong together, and the largest block of cells."""

from itertools import product

from bench.report.frame import record_frame
from bench.report.trick_points import common_points, final_spaces, largest_block
from support.made_up_records import make


def test_the_largest_block_has_every_cell_and_most_of_them() -> None:
    wide = list(product("abc", ["x"]))
    assert largest_block(wide) == (["a", "b", "c"], ["x"])
    deep = [*wide, *product("ab", ["y", "z"])]
    assert largest_block(deep) == (["a", "b"], ["x", "y", "z"])
    assert largest_block(reversed(deep)) == largest_block(deep)
    assert largest_block([]) == ([], [])


def test_final_runs_are_means_over_seeds_a_point() -> None:
    made = [make("bias", "digits", seed, 60.0 + seed) for seed in (0, 1)]
    [space] = final_spaces(record_frame(made))
    [scores] = space.by_cell.values()
    assert list(scores.values()) == [60.5]


def test_other_recipes_and_backbones_share_no_space() -> None:
    made = [
        make("bias", "digits"),
        make("bias", "digits", backbone="vit_mini_sup"),
        make("bias", "digits", recipe={"name": "quick", "version": 1, "epochs": 20}),
    ]
    assert len(final_spaces(record_frame(made))) == 3


def test_rates_of_the_recipe_are_points_of_one_space() -> None:
    made = [
        make(
            "bias",
            "digits",
            recipe={"name": "quick", "version": 1, "epochs": 10, "lr": lr},
            rates={"lr": lr, "weight_decay": 0.01},
        )
        for lr in (0.1, 0.2)
    ]
    [space] = final_spaces(record_frame(made))
    assert len(common_points(space, "bias", ["digits"])) == 2


def test_a_failed_run_has_no_point() -> None:
    assert final_spaces(record_frame([make("bias", "digits", 0, "failed")])) == []
