"""Cells, grid points, searches and outcomes in words, for progress lines and tables."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Protocol

from bench.records import schema
from bench.records.schema import PROMPTS_FROM, RATE_NAMES, TUNING_KEY, GridPoint, Record, Settings


def format_point(point: GridPoint) -> str:
    """Format a grid point: ``lr 0.005, weight_decay 0.01``."""
    ordered = [*RATE_NAMES, *sorted(point.keys() - RATE_NAMES)]
    return ", ".join(f"{name} {point[name]}" for name in ordered)


def method_fields(point: GridPoint) -> dict[str, Any]:
    """Return a point's fields of the method, without the rates."""
    return {name: value for name, value in point.items() if name not in RATE_NAMES}


def describe_training(recipe: Mapping[str, Any]) -> str:
    """Return how long and how exactly a recipe trains: ``batch 32, 5 epochs, fp32``."""
    parts = (f"batch {recipe.get('batch')}", f"{recipe.get('epochs')} epochs")
    return ", ".join([*parts, *filter(None, [recipe.get("precision")])])


def describe_search(recipe: Mapping[str, Any]) -> str:
    """Describe the search of a recorded recipe: equal for equal searches, empty if untuned.

    The grid is that of all methods without one of their own.
    """
    how = recipe.get(TUNING_KEY)
    if not how:
        return ""
    text = json.dumps(how["grid"], sort_keys=True)
    grid_name = hashlib.sha256(text.encode()).hexdigest()[:6]
    rule = ", halving" if "halving" in how else ""
    return f"{how['trials']} trials, seed {how['seed']}, grid {grid_name}{rule}"


class Describable(Protocol):
    """A cell or its record."""

    @property
    def settings(self) -> Settings: ...

    @property
    def request(self) -> dict[str, Any]: ...


def describe_cell(one: Describable) -> str:
    """Describe a cell in words; a trial by its grid point."""
    s = one.settings
    source = s.fields.get(PROMPTS_FROM)
    prompts = f" with prompts from {source}" if source else ""
    where = f"{s.method}{prompts} on {s.backbone}, {describe_task(s)}"
    if not schema.is_trial(s):
        return f"{where}, seed {s.seed}"
    at = one.request["at"]
    return f"trial of {where}, {format_point(at['point'])}, epochs {at['epochs']}"


def describe_task(settings: Settings) -> str:
    """Return a task's name, and whether its images were drawn."""
    return f"{schema.SYNTHETIC} {settings.task}" if settings.is_synthetic else settings.task


def describe_outcome(record: Record) -> str:
    """Describe how a cell ended."""
    if record.outcome is not None:
        found = record.outcome
        return f"{found.accuracy:.2f} % in {found.train_seconds + found.test_seconds:.1f} s"
    assert record.failure is not None
    if record.failure.kind == "unsupported":
        return f"n/a: {record.failure.message}"
    return f"failed: {record.failure.error}: {record.failure.message}"
