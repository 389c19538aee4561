"""The search over a recipe's grid: which points are tried, for how long, and which is chosen.

Every method has as many trials, on validation data, scored after the last epoch.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from bench.config.recipe import Recipe
from bench.records.schema import Record, Trial
from bench.records.trials import RATE_NAMES, SCORED_SPLIT_KEY, TUNING_KEY, GridPoint, extract_point
from bench.utils.errors import UserError
from bench.utils.text import longest_prefix

HALVING_FACTORS = (
    4,
    2,
    1,
)  # of the points, and of the epochs, one in so many, where the better half goes on


@dataclass(frozen=True)
class Rung:
    """So many points, trained for so long."""

    count: int
    epochs: int


def search_axes(recipe: Recipe, method: str) -> dict[str, list[Any]]:
    """What is searched of a method, with the values: the rates first, then its own fields."""
    own = recipe.grid_of.get(longest_prefix(method, recipe.grid_of), {})
    fixed = {axis: [rate] for axis, rate in recipe.rates(method).items()}
    rates: dict[str, list[Any]] = dict(recipe.grid.items())
    return {**fixed, **rates, **own}


def all_points(recipe: Recipe, method: str) -> list[GridPoint]:
    """Every point there is, in the order of the card."""
    found = search_axes(recipe, method)
    return [dict(zip(found, values, strict=True)) for values in product(*found.values())]


def sample_points(recipe: Recipe, method: str) -> list[GridPoint]:
    """The points that are tried, in the order of the grid: as many for every method.

    Where there are more, those whose hashes with the seed of the tuning are the smallest.
    """
    every = all_points(recipe, method)
    drawn = sorted(
        range(len(every)), key=lambda i: _sampling_key(recipe.tuning.seed, method, every[i])
    )
    return [every[i] for i in sorted(drawn[: halving_rungs(recipe)[0].count])]


def _sampling_key(seed: int, method: str, point: GridPoint) -> str:
    text = f"{seed} {method} {json.dumps(point, sort_keys=True)}"
    return hashlib.sha256(text.encode()).hexdigest()


def trial_budget(recipe: Recipe) -> int:
    """How many trials of full length a method has, or as long ones in all."""
    return recipe.tuning.trials or recipe.num_rate_pairs()


def halving_rungs(recipe: Recipe) -> list[Rung]:
    """How many points are tried, for how many epochs; of each rung the best come to the next.

    Raises `UserError` where halving cannot keep within the budget.
    """
    trials, epochs = trial_budget(recipe), recipe.epochs
    if not recipe.tuning.halving:
        return [Rung(trials, epochs)]
    if trials < 2 or epochs < HALVING_FACTORS[0]:
        raise UserError(
            f"halving needs 2 trials and {HALVING_FACTORS[0]} epochs at least; recipe {recipe.name!r} has "
            f"{trials} and {epochs}"
        )
    fits = [
        n
        for n in range(1, recipe.num_rate_pairs() + 1)
        if _total_epochs(n, epochs) <= trials * epochs
    ]
    return _shrink_rungs(max(fits), epochs)


def _shrink_rungs(count: int, epochs: int) -> list[Rung]:
    """Fewer and fewer points, for longer and longer."""
    going_on = zip(reversed(HALVING_FACTORS), HALVING_FACTORS, strict=True)
    return [Rung(max(1, count // points), epochs // share) for points, share in going_on]


def _total_epochs(count: int, epochs: int) -> int:
    return sum(rung.count * rung.epochs for rung in _shrink_rungs(count, epochs))


def best_points(tried: Sequence[Trial], count: int) -> list[GridPoint]:
    """The best points by validation accuracy, in the order in which they were tried.

    Of equally good ones those with the smaller learning rate, then the smaller weight decay, then
    those that come first in the grid. A trial without an accuracy is the worst.
    """
    ranked = sorted(range(len(tried)), key=lambda i: (_rank_key(tried[i]), i))
    return [tried[i].point for i in sorted(ranked[:count])]


def _rank_key(trial: Trial) -> tuple[float, ...]:
    accuracy = float("-inf") if trial.accuracy is None else trial.accuracy
    return -accuracy, *(trial.point[axis] for axis in RATE_NAMES)


def recipe_at_point(recipe: Recipe, point: GridPoint, epochs: int) -> Recipe:
    """The recipe at a point; a shorter training warms up for the same share of it."""
    warmup = recipe.warmup_epochs * epochs // recipe.epochs
    rates = {axis: point[axis] for axis in RATE_NAMES}
    return replace(recipe, **rates, lr_of={}, epochs=epochs, warmup_epochs=warmup)


def tuned_protocol(recipe: Recipe, suite: str, precision: str) -> dict[str, Any]:
    """What the tuned final runs of a table share: the search, in place of the rates it chooses."""
    shared = recipe.protocol(suite, precision)
    found = {
        "trials": trial_budget(recipe),
        "seed": recipe.tuning.seed,
        "grid": recipe.grid,
        "grid_of": recipe.grid_of,
    }
    halved = [[rung.count, rung.epochs] for rung in halving_rungs(recipe)]
    how = {**found, "halving": halved} if recipe.tuning.halving else found
    return {k: v for k, v in shared.items() if k not in recipe.grid} | {TUNING_KEY: how}


def trial_protocol(recipe: Recipe, suite: str, precision: str, scored: str) -> dict[str, Any]:
    """What can change a trial's number, beside its own rates and fields.

    How many other trials there are is not in it: a search over a larger grid finds those made.
    """
    shared = recipe.protocol(suite, precision)
    return {k: v for k, v in shared.items() if k not in RATE_NAMES} | {SCORED_SPLIT_KEY: scored}


def tuning_inconsistency(record: Record, recipe: Recipe) -> str:
    """Why a tuned record does not follow from the trials it names, or nothing."""
    if TUNING_KEY not in record.settings.recipe:
        return "has trials, but its recipe does not" if record.tuned else ""
    if record.tuned is None:
        return "does not name the trials that chose its rates"
    left, points_ = list(record.tuned.trials), sample_points(recipe, record.settings.method)
    for rung, after in promotions(halving_rungs(recipe)):
        tried, left = left[: rung.count], left[rung.count :]
        if [trial.point for trial in tried] != points_ or {t.epochs for t in tried} != {
            rung.epochs
        }:
            return "names other trials than its recipe has"
        points_ = best_points(tried, after)
    if left or record.tuned.seed != recipe.tuning.seed:
        return "names other trials than its recipe has"
    return "" if points_ == [extract_point(record.settings, points_[0])] else "has rates that lost"


def promotions(found: Sequence[Rung]) -> Iterator[tuple[Rung, int]]:
    """Each rung, and how many of its points go on."""
    return zip(found, [*(rung.count for rung in found[1:]), 1], strict=True)
