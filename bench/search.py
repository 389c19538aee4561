"""The search over a recipe's grid: which points are tried, for how long, and which is chosen.

Every method has as many trials, on validation data, scored after the last epoch.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from bench.cards import Recipe, family
from bench.errors import UserError
from bench.records import Record, Settings, Trial

AXES = ("lr", "weight_decay")
SHARES = (
    4,
    2,
    1,
)  # of the points, and of the epochs, one in so many, where the better half goes on
TUNING = "tuning"  # in a recorded recipe: how the search went
SCORED = "scored"  # in a trial's recorded recipe: the split, which is not test
Point = dict[str, Any]  # learning rate, weight decay, and fields of the method


@dataclass(frozen=True)
class Rung:
    """So many points, trained for so long."""

    count: int
    epochs: int


def axes(recipe: Recipe, method: str) -> dict[str, list[Any]]:
    """What is searched of a method, with the values: the rates first, then its own fields."""
    own = recipe.grid_of.get(family(method, recipe.grid_of), {})
    fixed = {axis: [rate] for axis, rate in recipe.rates(method).items()}
    rates: dict[str, list[Any]] = dict(recipe.grid.items())
    return {**fixed, **rates, **own}


def grid(recipe: Recipe, method: str) -> list[Point]:
    """Every point there is, in the order of the card."""
    found = axes(recipe, method)
    return [dict(zip(found, values, strict=True)) for values in product(*found.values())]


def points(recipe: Recipe, method: str) -> list[Point]:
    """The points that are tried, in the order of the grid: as many for every method.

    Where there are more, those whose hashes with the seed of the tuning are the smallest.
    """
    every = grid(recipe, method)
    drawn = sorted(range(len(every)), key=lambda i: _draw(recipe.tuning.seed, method, every[i]))
    return [every[i] for i in sorted(drawn[: rungs(recipe)[0].count])]


def _draw(seed: int, method: str, point: Point) -> str:
    text = f"{seed} {method} {json.dumps(point, sort_keys=True)}"
    return hashlib.sha256(text.encode()).hexdigest()


def budget(recipe: Recipe) -> int:
    """How many trials of full length a method has, or as long ones in all."""
    return recipe.tuning.trials or recipe.pairs()


def rungs(recipe: Recipe) -> list[Rung]:
    """How many points are tried, for how many epochs; of each rung the best come to the next.

    Raises `UserError` where halving cannot keep within the budget.
    """
    trials, epochs = budget(recipe), recipe.epochs
    if not recipe.tuning.halving:
        return [Rung(trials, epochs)]
    if trials < 2 or epochs < SHARES[0]:
        raise UserError(
            f"halving needs 2 trials and {SHARES[0]} epochs at least; recipe {recipe.name!r} has "
            f"{trials} and {epochs}"
        )
    fits = [n for n in range(1, recipe.pairs() + 1) if _cost(n, epochs) <= trials * epochs]
    return _halved(max(fits), epochs)


def _halved(count: int, epochs: int) -> list[Rung]:
    """Fewer and fewer points, for longer and longer."""
    going_on = zip(reversed(SHARES), SHARES, strict=True)
    return [Rung(max(1, count // points), epochs // share) for points, share in going_on]


def _cost(count: int, epochs: int) -> int:
    return sum(rung.count * rung.epochs for rung in _halved(count, epochs))


def best(tried: Sequence[Trial], count: int) -> list[Point]:
    """The best points by validation accuracy, in the order in which they were tried.

    Of equally good ones those with the smaller learning rate, then the smaller weight decay, then
    those that come first in the grid. A trial without an accuracy is the worst.
    """
    ranked = sorted(range(len(tried)), key=lambda i: (_merit(tried[i]), i))
    return [tried[i].point for i in sorted(ranked[:count])]


def _merit(trial: Trial) -> tuple[float, ...]:
    accuracy = float("-inf") if trial.accuracy is None else trial.accuracy
    return -accuracy, *(trial.point[axis] for axis in AXES)


def changed(recipe: Recipe, point: Point, epochs: int) -> Recipe:
    """The recipe at a point; a shorter training warms up for the same share of it."""
    warmup = recipe.warmup_epochs * epochs // recipe.epochs
    rates = {axis: point[axis] for axis in AXES}
    return replace(recipe, **rates, lr_of={}, epochs=epochs, warmup_epochs=warmup)


def protocol(recipe: Recipe, suite: str, precision: str) -> dict[str, Any]:
    """What the tuned final runs of a table share: the search, in place of the rates it chooses."""
    shared = recipe.protocol(suite, precision)
    found = {
        "trials": budget(recipe),
        "seed": recipe.tuning.seed,
        "grid": recipe.grid,
        "grid_of": recipe.grid_of,
    }
    halved = [[rung.count, rung.epochs] for rung in rungs(recipe)]
    how = {**found, "halving": halved} if recipe.tuning.halving else found
    return {k: v for k, v in shared.items() if k not in recipe.grid} | {TUNING: how}


def trial_protocol(recipe: Recipe, suite: str, precision: str, scored: str) -> dict[str, Any]:
    """What can change a trial's number, beside its own rates and fields.

    How many other trials there are is not in it: a search over a larger grid finds those made.
    """
    shared = recipe.protocol(suite, precision)
    return {k: v for k, v in shared.items() if k not in AXES} | {SCORED: scored}


def said(point: Point) -> str:
    """A point in words: ``lr 0.005, weight_decay 0.01``."""
    ordered = [*AXES, *sorted(point.keys() - AXES)]
    return ", ".join(f"{name} {point[name]}" for name in ordered)


def is_trial(settings: Settings) -> bool:
    """Whether a cell with these settings is scored on validation data."""
    return SCORED in settings.recipe


def searched(settings: Settings) -> list[str]:
    """The fields of a final run's method that were chosen by trials."""
    grids = settings.recipe.get(TUNING, {}).get("grid_of", {})
    return list(grids.get(family(settings.method, grids), {}))


def words(recipe: Mapping[str, Any]) -> str:
    """How a recorded recipe was tuned, in words that differ where the search does; or nothing."""
    how = recipe.get(TUNING)
    if not how:
        return ""
    text = json.dumps([how["grid"], how["grid_of"]], sort_keys=True)
    grid_name = hashlib.sha256(text.encode()).hexdigest()[:6]
    rule = ", halving" if "halving" in how else ""
    return f"{how['trials']} trials, seed {how['seed']}, grid {grid_name}{rule}"


def problem(record: Record, recipe: Recipe) -> str:
    """Why a tuned record does not follow from the trials it names, or nothing."""
    if TUNING not in record.settings.recipe:
        return "has trials, but its recipe does not" if record.tuned else ""
    if record.tuned is None:
        return "does not name the trials that chose its rates"
    left, points_ = list(record.tuned.trials), points(recipe, record.settings.method)
    for rung, after in followed(rungs(recipe)):
        tried, left = left[: rung.count], left[rung.count :]
        if [trial.point for trial in tried] != points_ or {t.epochs for t in tried} != {
            rung.epochs
        }:
            return "names other trials than its recipe has"
        points_ = best(tried, after)
    if left or record.tuned.seed != recipe.tuning.seed:
        return "names other trials than its recipe has"
    return "" if points_ == [point_of(record.settings, points_[0])] else "has rates that lost"


def followed(found: Sequence[Rung]) -> Iterator[tuple[Rung, int]]:
    """Each rung, and how many of its points go on."""
    return zip(found, [*(rung.count for rung in found[1:]), 1], strict=True)


def point_of(settings: Settings, like: Point) -> Point:
    """The point at which a cell was run, under the names that another point has."""
    known = {**settings.fields, **settings.rates}
    return {name: known.get(name) for name in like}
