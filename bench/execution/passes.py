"""Passes: trials that a worker trains together, for they differ in nothing but their rates."""

from collections import deque
from collections.abc import Collection

from bench.execution.request import RunOptions
from bench.records import schema
from bench.records.schema import Settings
from bench.training.cell import Cell


def take_pass(waiting: deque[Cell], options: RunOptions, alone: Collection[str]) -> list[Cell]:
    """Take the first cell that waits, and those that follow it and can share its pass.

    `alone` are the digests of cells that share none.
    """
    taken = [waiting.popleft()]
    most = options.trials_per_pass if _can_share(taken[0], options, alone) else 1
    while waiting and len(taken) < most and _shares_pass(waiting[0], taken[0], options, alone):
        taken.append(waiting.popleft())
    return taken


def _shares_pass(cell: Cell, first: Cell, options: RunOptions, alone: Collection[str]) -> bool:
    same = _without_rates(cell.settings) == _without_rates(first.settings)
    return same and _can_share(cell, options, alone)


def _can_share(cell: Cell, options: RunOptions, alone: Collection[str]) -> bool:
    """Return whether a cell is a trial of one process, uncompiled, and not to be run alone."""
    special = options.processes > 1 or cell.recipe.compile or cell.measurements
    return schema.is_trial(cell.settings) and not special and cell.digest not in alone


def _without_rates(settings: Settings) -> dict[str, object]:
    return vars(settings) | {"rates": None}
