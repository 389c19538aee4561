"""Trials as records have them: grid points, and the search that a final run came from."""

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
    """Format a grid point: ``lr 0.005, weight_decay 0.01``."""
    ordered = [*RATE_NAMES, *sorted(point.keys() - RATE_NAMES)]
    return ", ".join(f"{name} {point[name]}" for name in ordered)


def method_fields(point: GridPoint) -> dict[str, Any]:
    """Return a point's fields of the method, without the rates."""
    return {name: value for name, value in point.items() if name not in RATE_NAMES}


def is_trial(settings: Settings) -> bool:
    """Return whether a cell with these settings is scored on validation data."""
    return SCORED_SPLIT_KEY in settings.recipe


def searched_fields(settings: Settings) -> list[str]:
    """Return the fields of a final run's method that trials chose."""
    grids = settings.recipe.get(TUNING_KEY, {}).get("grid_of", {})
    return list(grids.get(longest_prefix(settings.method, grids), {}))


def describe_search(recipe: Mapping[str, Any]) -> str:
    """Describe the search of a recorded recipe: equal for equal searches, empty if untuned."""
    how = recipe.get(TUNING_KEY)
    if not how:
        return ""
    text = json.dumps([how["grid"], how["grid_of"]], sort_keys=True)
    grid_name = hashlib.sha256(text.encode()).hexdigest()[:6]
    rule = ", halving" if "halving" in how else ""
    return f"{how['trials']} trials, seed {how['seed']}, grid {grid_name}{rule}"


def extract_point(settings: Settings, like: GridPoint) -> GridPoint:
    """Return the grid point a cell was run at, with the keys of the point `like`."""
    known = {**settings.fields, **settings.rates}
    return {name: known.get(name) for name in like}
