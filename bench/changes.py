"""A recipe with some of its fields changed, as ``--set`` names them."""

from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

from bench.cards import Recipe, checked
from bench.errors import unknown


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
