"""A recipe, or a backbone's card, with some of its fields changed, as ``--set`` names them."""

from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from typing import Any

from bench.config.backbone import BackboneCard
from bench.config.loading import validate
from bench.config.recipe import Recipe
from bench.utils.errors import UserError, unknown_name

BACKBONE_FIELDS = tuple(f"backbone.{name}" for name in ("pooling", "input_size", "mean", "std"))
POOLINGS = ("token", "avg", "backbone")


def override_recipe(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """The recipe with some of its fields changed, checked anew.

    A dotted name is that of an entry in a field's table: ``views.default.train``.
    """
    table = asdict(recipe)
    for name, value in changes.items():
        if name not in _dotted_paths(table):
            raise unknown_name("field", name, suggest_fields(table, name))
        table = _set_path(table, name, value)
    return validate(Recipe, "--set", table)


def is_recipe_field(name: str) -> bool:
    """Whether a change of that name is one of the recipe, and not of a method's fields."""
    return name.partition(".")[0] in {f.name for f in fields(Recipe)}


def is_backbone_field(name: str) -> bool:
    """Whether a change of that name is one of the backbones' input: ``backbone.pooling``."""
    return name.partition(".")[0] == "backbone"


def override_backbone(card: BackboneCard, changes: dict[str, Any]) -> BackboneCard:
    """The card with the changes that are a backbone's; what they make another goes into its name.

    Tables then show two inputs of one backbone as two backbones.
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
    return replace(changed, name=f"{card.name}[{other}]") if other else card


def suggest_fields(table: dict[str, Any], name: str) -> list[str]:
    """What `name` may be a slip for: fields or, where it has dots, entries of a field's table."""
    first, dot, _ = name.partition(".")
    found = [path for path in _dotted_paths(table) if ("." in path) == bool(dot)]
    return [path for path in found if dot and path.startswith(f"{first}.")] or found


def _dotted_paths(table: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in table.items():
        yield above + name
        if isinstance(value, dict):
            yield from _dotted_paths(value, f"{above}{name}.")


def _set_path(table: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The table with another value at a dotted path that it has."""
    first, dot, rest = path.partition(".")
    return {**table, first: _set_path(table[first], rest, value) if dot else value}
