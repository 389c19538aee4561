"""Many-shot studies: a grid over shares of the training images becomes tasks, or a varied field.

A suite such as ``imagenet1k`` has a task for each share, smaller ones inside larger ones. In the
other suites the recipe's `train_share` takes the share of each class.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.config.suite import Suite, Task, load_suite
from bench.utils.errors import UserError

if TYPE_CHECKING:
    from bench.papers.study import Grid

AXIS = "train_share"


def expand_shares(grid: "Grid") -> "Grid":
    """Return the grid with its shares as tasks where the suite has these, else as a varied field.

    Raises `UserError` for a share of which the suite has no task.
    """
    if not grid.shares:
        return grid
    suite = load_suite(grid.suite)
    of_task = {task.name: _share(task) for task in _tasks(grid, suite) if task.shares}
    if not of_task:
        return replace(grid, shares=[], vary={**grid.vary, AXIS: list(grid.shares)})
    absent = sorted(set(grid.shares) - set(of_task.values()))
    if absent:
        there = ", ".join(map(str, sorted(set(of_task.values()))))
        raise UserError(
            f"suite {grid.suite!r} has no task of the share {absent[0]}; it has {there}"
        )
    chosen = {name: share for name, share in of_task.items() if share in grid.shares}
    axes = {**grid.tasks_as, AXIS: dict(chosen)}
    return replace(grid, shares=[], tasks=list(chosen), tasks_as=axes)


def collapse_shares(grid: "Grid") -> "Grid":
    """Return the grid for another suite: tasks that are shares become `shares` again.

    Where `--quick` has shares of its own, the varied field is left to these, too.
    """
    of_task = grid.tasks_as.get(AXIS)
    if of_task and "tasks_as" not in grid.quick:
        axes = _without_axis(grid.tasks_as)
        return replace(grid, tasks=[], tasks_as=axes, shares=sorted(set(of_task.values())))
    return replace(grid, vary=_without_axis(grid.vary)) if "shares" in grid.quick else grid


def _without_axis(axes: dict[str, Any]) -> dict[str, Any]:
    return {name: values for name, values in axes.items() if name != AXIS}


def _tasks(grid: "Grid", suite: Suite) -> list[Task]:
    return [suite.find(name) for name in grid.tasks] or suite.task


def _share(task: Task) -> float:
    """Return the share of the source's images that are for training and validation."""
    return round(max(share.last for share in task.shares.values()) / 100, 6)
