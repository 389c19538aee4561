"""Effects of choosing fields and rates: on test, on validation, once for all; after many trials."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from bench.report.statistics import Floats
from bench.report.trick_effects import Effect, best_of, effect
from bench.report.trick_points import (
    SearchSpace,
    common_points,
    final_spaces,
    largest_block,
    on_both,
    trial_spaces,
    with_points,
)

if TYPE_CHECKING:
    import pandas as pd

FEWEST_METHODS = 2  # to have a pair
FEWEST_TASKS = 2  # on one, a choice per task is the choice for all
Choices = tuple[list[str], list[Floats], list[Floats]]  # tasks; val and test (P, T) a method


def more_trials(frame: "pd.DataFrame", trials: int) -> Iterator[Effect]:
    """Yield the expected best of so many trials drawn, on validation data, against that of one."""
    for space in trial_spaces(frame):
        methods, tasks = largest_block(with_points(space, trials))
        if len(methods) >= FEWEST_METHODS:
            scores = [
                [np.array(list(space.by_cell[m, task].values())) for m in methods] for task in tasks
            ]
            one, best = (
                np.array([[float(best_of(of, k)) for of in of_task] for of_task in scores])
                for k in (1, trials)
            )  # (T, K)
            yield effect(space.place, one, best)


def per_task_on_trials(frame: "pd.DataFrame") -> Iterator[Effect]:
    """Yield the best point per task against the best point for all tasks, by validation accuracy.

    The validation images take the place of test images: both choices are scored on the images on
    which they were made.
    """
    for space in trial_spaces(frame):
        yield from _per_task_against_once(space, space)


def per_task_on_test(frame: "pd.DataFrame") -> Iterator[Effect]:
    """Yield the best point a task on test against the best for all tasks on test."""
    for space in final_spaces(frame):
        yield from _per_task_against_once(space, space)


def per_task_on_validation(frame: "pd.DataFrame") -> Iterator[Effect]:
    """Yield validation's pick a task against its pick for all tasks, both scored on test."""
    for val, test in _scored_on_both(frame):
        yield from _per_task_against_once(val, test)


def pick_on_test(frame: "pd.DataFrame") -> Iterator[Effect]:
    """Yield the best point a task on test against validation's pick, both scored on test."""
    for val, test in _scored_on_both(frame):
        methods, tasks = largest_block(with_points(test, 2))
        if len(methods) >= FEWEST_METHODS:
            cells = [[(val.by_cell[m, t], test.by_cell[m, t]) for m in methods] for t in tasks]
            picked = [[on[_best(of, on)] for of, on in of_task] for of_task in cells]
            best = [[max(on.values()) for _, on in of_task] for of_task in cells]
            yield effect(test.place, np.array(picked), np.array(best))


def _best(of: dict[str, float], known: Iterable[str]) -> str:
    """Return the point of the highest score among those known, of equal ones the first by name."""
    return max(sorted(known), key=lambda point: of[point])


def _scored_on_both(frame: "pd.DataFrame") -> Iterator[tuple[SearchSpace, SearchSpace]]:
    """Yield the trials' scores and those of final runs at the same points."""
    finals = {space.key: space for space in final_spaces(frame)}
    for val in trial_spaces(frame):
        if val.key in finals:
            yield val, on_both(val, finals[val.key])


def _per_task_against_once(chosen_on: SearchSpace, scored_on: SearchSpace) -> Iterator[Effect]:
    """Yield the effect of choosing a point for each task instead of one for all tasks.

    Methods count that have two points or more in common to all tasks.
    """
    methods, tasks = largest_block(with_points(scored_on, 2))
    if len(tasks) < FEWEST_TASKS:
        return
    tables = [
        _once_and_per_task(*both)
        for method in methods
        if (both := _both_scores(chosen_on, scored_on, method, tasks))
    ]
    if len(tables) >= FEWEST_METHODS:
        once, per_task = (np.stack(columns, axis=1) for columns in zip(*tables, strict=True))
        yield effect(scored_on.place, once, per_task)  # (T, K)


def _both_scores(
    chosen_on: SearchSpace, scored_on: SearchSpace, method: str, tasks: list[str]
) -> tuple[Floats, Floats] | None:
    """Return a method's scores (P, T) to choose by and to count; None: no choice among points."""
    points = common_points(scored_on, method, tasks)
    if len(points) < 2:
        return None
    by, counted = (
        np.array([[space.by_cell[method, task][point] for task in tasks] for point in points])
        for space in (chosen_on, scored_on)
    )
    return by, counted


def _once_and_per_task(by: Floats, counted: Floats) -> tuple[Floats, Floats]:
    """Return the scores (T,) in `counted` (P, T) of the best by `by` for all tasks, and a task."""
    tasks = np.arange(by.shape[1])
    return counted[by.mean(axis=1).argmax()], counted[by.argmax(axis=0), tasks]
