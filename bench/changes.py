"""A recipe, or a backbone's card, with some of its fields changed, as ``--set`` names them."""

from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from typing import Any

from bench.cards import BackboneCard, Recipe, checked
from bench.errors import UserError, unknown

OF_BACKBONE = tuple(f"backbone.{name}" for name in ("pooling", "input_size", "mean", "std"))
POOLINGS = ("token", "avg", "backbone")


def change_recipe(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """The recipe with some of its fields changed, checked anew.

    A dotted name is that of an entry in a field's table: ``views.default.train``.
    """
    table = asdict(recipe)
    for name, value in changes.items():
        if name not in _paths(table):
            raise unknown("field", name, near_fields(table, name))
        table = _with(table, name, value)
    return checked(Recipe, "--set", table)


def is_of_recipe(name: str) -> bool:
    """Whether a change of that name is one of the recipe, and not of a method's fields."""
    return name.partition(".")[0] in {f.name for f in fields(Recipe)}


def is_of_backbone(name: str) -> bool:
    """Whether a change of that name is one of the backbones' input: ``backbone.pooling``."""
    return name.partition(".")[0] == "backbone"


def change_backbone(card: BackboneCard, changes: dict[str, Any]) -> BackboneCard:
    """The card with the changes that are a backbone's; what they make another goes into its name.

    Tables then show two inputs of one backbone as two backbones.
    """
    mine = {name: value for name, value in changes.items() if is_of_backbone(name)}
    for name, value in mine.items():
        if name not in OF_BACKBONE:
            raise unknown("field", name, OF_BACKBONE)
        if not value:
            raise UserError(f"--set {name} needs a value; {value!r} was given")
    own = {name.partition(".")[2]: value for name, value in mine.items()}
    if own.get("pooling", POOLINGS[0]) not in POOLINGS:
        raise unknown("pooling", str(own["pooling"]), POOLINGS)
    changed = checked(BackboneCard, "--set backbone", asdict(card) | own)
    now, before = asdict(changed), asdict(card)
    other = ", ".join(f"{name}={now[name]}" for name in sorted(own) if now[name] != before[name])
    return replace(changed, name=f"{card.name}[{other}]") if other else card


def near_fields(table: dict[str, Any], name: str) -> list[str]:
    """What `name` may be a slip for: fields or, where it has dots, entries of a field's table."""
    first, dot, _ = name.partition(".")
    found = [path for path in _paths(table) if ("." in path) == bool(dot)]
    return [path for path in found if dot and path.startswith(f"{first}.")] or found


def _paths(table: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in table.items():
        yield above + name
        if isinstance(value, dict):
            yield from _paths(value, f"{above}{name}.")


def _with(table: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The table with another value at a dotted path that it has."""
    first, dot, rest = path.partition(".")
    return {**table, first: _with(table[first], rest, value) if dot else value}
