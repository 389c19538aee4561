import hashlib
import json
from collections.abc import Mapping
from typing import Any

from bench.records.schema import Settings
from bench.utils.text import longest_prefix

RATE_NAMES = ("lr", "weight_decay")
TUNING_KEY = "tuning"  # in a recorded recipe: how the search went
SCORED_SPLIT_KEY = "scored"  # in a trial's recorded recipe: the split, which is not test
GridPoint = dict[str, Any]  # learning rate, weight decay, and fields of the method


def format_point(point: GridPoint) -> str:
    """A point in words: ``lr 0.005, weight_decay 0.01``."""
    ordered = [*RATE_NAMES, *sorted(point.keys() - RATE_NAMES)]
    return ", ".join(f"{name} {point[name]}" for name in ordered)


def method_fields(point: GridPoint) -> dict[str, Any]:
    """Return a point's fields of the method, without the rates."""
    return {name: value for name, value in point.items() if name not in RATE_NAMES}


def is_trial(settings: Settings) -> bool:
    """Whether a cell with these settings is scored on validation data."""
    return SCORED_SPLIT_KEY in settings.recipe


def searched_fields(settings: Settings) -> list[str]:
    """The fields of a final run's method that were chosen by trials."""
    grids = settings.recipe.get(TUNING_KEY, {}).get("grid_of", {})
    return list(grids.get(longest_prefix(settings.method, grids), {}))


def describe_search(recipe: Mapping[str, Any]) -> str:
    """How a recorded recipe was tuned, in words that differ where the search does; or nothing."""
    how = recipe.get(TUNING_KEY)
    if not how:
        return ""
    text = json.dumps([how["grid"], how["grid_of"]], sort_keys=True)
    grid_name = hashlib.sha256(text.encode()).hexdigest()[:6]
    rule = ", halving" if "halving" in how else ""
    return f"{how['trials']} trials, seed {how['seed']}, grid {grid_name}{rule}"


def extract_point(settings: Settings, like: GridPoint) -> GridPoint:
    """The point at which a cell was run, under the names that another point has."""
    known = {**settings.fields, **settings.rates}
    return {name: known.get(name) for name in like}
