"""The search over a recipe's grid: the points tried, their epochs, and the point selected.

Every method has the same number of trials, scored on validation data after the last epoch; one
with fewer points than that tries all of them.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from bench.config.loading import validate
from bench.config.recipe import Recipe
from bench.records.schema import (
    OWN_GRIDS_KEY,
    RATE_NAMES,
    SCORED_SPLIT_KEY,
    TUNING_KEY,
    GridPoint,
    Record,
    Trial,
    extract_point,
)
from bench.utils.errors import UserError
from bench.utils.text import longest_prefix_entry

# Successive halving: rung i trains points // (1, 2, 4) for epochs // (4, 2, 1).
HALVING_FACTORS = 4, 2, 1


@dataclass(frozen=True)
class Rung:
    """A rung of successive halving: a number of points, each trained for a number of epochs."""

    count: int
    epochs: int


def search_axes(recipe: Recipe, method: str) -> dict[str, Sequence[Any]]:
    """Return the axes of a method's search with their values: rates first, then its fields.

    A rate that is not in the grid has the recipe's value alone.
    """
    fixed: dict[str, Sequence[Any]] = {k: [v] for k, v in recipe.rates(method).items()}
    return {**fixed, **recipe.grid_for(method)}


def all_points(recipe: Recipe, method: str) -> list[GridPoint]:
    """List all grid points, in the order of the card."""
    found = search_axes(recipe, method)
    return [dict(zip(found, values, strict=True)) for values in product(*found.values())]


def sample_points(recipe: Recipe, method: str) -> list[GridPoint]:
    """List the points to try, in the order of the grid: the same number for every method.

    Of a larger grid, a random subset drawn deterministically from the tuning seed and the method's
    name.
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
    """Return a method's budget, in trials of full length."""
    return recipe.tuning.trials or recipe.num_rate_pairs()


def halving_rungs(recipe: Recipe) -> list[Rung]:
    """Return the rungs of the search; the best points of each are promoted to the next.

    Raises `UserError` if halving cannot keep within the budget.
    """
    trials, epochs = trial_budget(recipe), recipe.epochs
    if not recipe.tuning.halving:
        return [Rung(trials, epochs)]
    if trials < 2 or epochs < HALVING_FACTORS[0]:
        raise UserError(
            f"halving needs 2 trials and {HALVING_FACTORS[0]} epochs at least; "
            f"recipe {recipe.name!r} has {trials} and {epochs}"
        )
    fits = [
        n
        for n in range(1, recipe.num_rate_pairs() + 1)
        if _total_epochs(n, epochs) <= trials * epochs
    ]
    return _shrink_rungs(max(fits), epochs)


def method_rungs(recipe: Recipe, method: str) -> list[Rung]:
    """Return the rungs of a method's search, limited to its number of points."""
    most = len(all_points(recipe, method))
    return [replace(rung, count=min(rung.count, most)) for rung in halving_rungs(recipe)]


def _shrink_rungs(count: int, epochs: int) -> list[Rung]:
    """Return the rungs of halving: ever fewer points, trained ever longer."""
    going_on = zip(reversed(HALVING_FACTORS), HALVING_FACTORS, strict=True)
    return [Rung(max(1, count // points), epochs // share) for points, share in going_on]


def _total_epochs(count: int, epochs: int) -> int:
    return sum(rung.count * rung.epochs for rung in _shrink_rungs(count, epochs))


def best_points(tried: Sequence[Trial], count: int) -> list[GridPoint]:
    """Return the best points by validation accuracy, in the order in which they were tried.

    Ties go to the smaller learning rate, then to the smaller weight decay, then to the first in
    the grid. A trial without an accuracy ranks last.
    """
    ranked = sorted(range(len(tried)), key=lambda i: (_rank_key(tried[i]), i))
    return [tried[i].point for i in sorted(ranked[:count])]


def _rank_key(trial: Trial) -> tuple[float, ...]:
    accuracy = float("-inf") if trial.accuracy is None else trial.accuracy
    return -accuracy, *(trial.point[axis] for axis in RATE_NAMES)


def recipe_at_point(recipe: Recipe, point: GridPoint, epochs: int) -> Recipe:
    """Return the recipe at a grid point; the warm-up scales with the epochs.

    Raises `UserError` for rates that no recipe has: the point may be another's, of a job or record.
    """
    warmup = recipe.warmup_epochs * epochs // recipe.epochs
    there = {axis: point[axis] for axis in RATE_NAMES} | {"lr_of": {}}
    there |= {"epochs": epochs, "warmup_epochs": warmup}
    return validate(Recipe, "the search point", asdict(recipe) | there)


def tuned_protocol(recipe: Recipe, suite: str, precision: str, method: str) -> dict[str, Any]:
    """Return the protocol of tuned final runs: the search, instead of the rates it selects.

    Of the methods' own grids, it has that of this method: no other can change its results.
    """
    shared = recipe.protocol(suite, precision)
    found = {
        "trials": trial_budget(recipe),
        "seed": recipe.tuning.seed,
        "grid": recipe.grid,
        OWN_GRIDS_KEY: longest_prefix_entry(method, recipe.grid_of),
    }
    halved = [[rung.count, rung.epochs] for rung in halving_rungs(recipe)]
    how = {**found, "halving": halved} if recipe.tuning.halving else found
    return {k: v for k, v in shared.items() if k not in recipe.grid} | {TUNING_KEY: how}


def trial_protocol(recipe: Recipe, suite: str, precision: str, scored: str) -> dict[str, Any]:
    """Return the protocol of a trial: everything but rates and fields that affects its accuracy.

    The number of other trials is left out, so that a search over a larger grid reuses trials.
    """
    shared = recipe.protocol(suite, precision)
    return {k: v for k, v in shared.items() if k not in RATE_NAMES} | {SCORED_SPLIT_KEY: scored}


def tuning_inconsistency(record: Record, recipe: Recipe) -> str:
    """Return why a tuned record does not follow from its trials, or an empty string."""
    if TUNING_KEY not in record.settings.recipe:
        return "has trials, but its recipe does not" if record.tuned else ""
    if record.tuned is None:
        return "does not name the trials that chose its rates"
    left, points_ = list(record.tuned.trials), sample_points(recipe, record.settings.method)
    for rung, after in promotions(method_rungs(recipe, record.settings.method)):
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
    """Pair each rung with the number of points promoted from it."""
    return zip(found, [*(rung.count for rung in found[1:]), 1], strict=True)
