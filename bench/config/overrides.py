"""Overrides of recipe and backbone fields, as ``--set FIELD=VALUE`` gives them."""

from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

from bench.config.backbone import BackboneCard
from bench.config.loading import validate
from bench.config.recipe import Recipe
from bench.utils.errors import UserError, unknown_name

BACKBONE_FIELDS = tuple(
    f"backbone.{name}" for name in ("pooling", "input_size", "mean", "std", "state_dict")
)
RECIPE_FIELDS = frozenset(f.name for f in fields(Recipe))
POOLINGS = ("token", "avg", "backbone")


def override_recipe(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """Return the recipe with overrides applied and validated.

    A dotted name is an entry of a field's table: ``views.default.train``.
    """
    table = asdict(recipe)
    for name, value in changes.items():
        if name not in _dotted_paths(table):
            raise unknown_name("field", name, suggest_fields(table, name))
        table = _set_path(table, name, value)
    return validate(Recipe, "--set", table)


def is_recipe_field(name: str) -> bool:
    """Return whether an override is of the recipe rather than of a method's fields."""
    return name.partition(".")[0] in RECIPE_FIELDS


def is_backbone_field(name: str) -> bool:
    """Return whether an override is of the backbones' input: ``backbone.pooling``."""
    return name.partition(".")[0] == "backbone"


def override_backbone(card: BackboneCard, changes: dict[str, Any]) -> BackboneCard:
    """Return the card with the backbone overrides applied, and the changed values in its name.

    Tables then show a backbone with two kinds of input as two backbones.
    """
    mine = {name: value for name, value in changes.items() if is_backbone_field(name)}
    for name, value in mine.items():
        if name not in BACKBONE_FIELDS:
            raise unknown_name("field", name, BACKBONE_FIELDS)
        if not value:
            raise UserError(f"--set {name} needs a value; {value!r} was given")
    own = {name.partition(".")[2]: value for name, value in mine.items()}
    if own.get("pooling", POOLINGS[0]) not in POOLINGS:
        raise unknown_name("pooling", str(own["pooling"]), POOLINGS)
    changed = validate(BackboneCard, "--set backbone", asdict(card) | own)
    now, before = asdict(changed), asdict(card)
    other = ", ".join(f"{name}={now[name]}" for name in sorted(own) if now[name] != before[name])
    if not other:
        return card
    return validate(BackboneCard, "--set backbone", now | {"name": f"{card.name}[{other}]"})


def suggest_fields(table: dict[str, Any], name: str) -> list[str]:
    """List candidates for a misspelt `name`: fields or, if it is dotted, entries of a table."""
    first, dot, _ = name.partition(".")
    found = [path for path in _dotted_paths(table) if ("." in path) == bool(dot)]
    return [path for path in found if dot and path.startswith(f"{first}.")] or found


def _dotted_paths(table: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in table.items():
        yield above + name
        if isinstance(value, dict):
            yield from _dotted_paths(value, f"{above}{name}.")


def _set_path(table: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return the table with the value at an existing dotted path replaced."""
    first, dot, rest = path.partition(".")
    return {**table, first: _set_path(table[first], rest, value) if dot else value}
