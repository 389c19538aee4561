"""The methods of a request: known by name, with their fields changed."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from types import MappingProxyType
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

import methods
from bench.config.overrides import BACKBONE_FIELDS, suggest_fields
from bench.config.recipe import Recipe
from bench.execution import prompt_source
from bench.records.schema import PROMPTS_FROM
from bench.utils.errors import UserError, unknown_name
from methods import Method

NO_FIELDS: Mapping[str, Any] = MappingProxyType({})


def require_known_methods(chosen: Iterable[str]) -> list[str]:
    """The names, each once; raises `UserError` for one that is refused or not registered."""
    names = list(dict.fromkeys(chosen))
    for name in names:
        if methods.refusal(name):
            raise UserError(f"{name} is no method here: {methods.refusal(name)}")
        if name not in methods.names():
            raise unknown_name("method", name, methods.names())
    return names


def build_method(
    name: str, recipe: Recipe, changes: dict[str, Any], own: Mapping[str, Any] = NO_FIELDS
) -> Method:
    """The method with the fields that the recipe, the command line and a point change."""
    plain = methods.create(name)
    known = {f.name for f in fields(plain)}
    wanted = recipe.fields_of(name, known) | {k: v for k, v in changes.items() if k in known}
    wanted |= own
    try:
        return methods.create(name, **_coerce_types(plain, wanted))
    except (ValueError, TypeError) as error:
        raise UserError(f"{name}: {error}") from None


def _coerce_types(method: Method, wanted: dict[str, Any]) -> dict[str, Any]:
    """The values as their fields' types have them: 8 for a float is 8.0, in the record as well."""
    types = get_type_hints(type(method))
    typed = dict(wanted)
    for name in wanted.keys() & types:
        try:
            typed[name] = TypeAdapter(types[name]).validate_python(wanted[name])
        except ValidationError as error:
            raise ValueError(f"{name}={wanted[name]}: {error.errors()[0]['msg']}") from None
    return typed


def require_overrides_used(
    recipe: Recipe, changes: dict[str, Any], adapted: dict[str, Method]
) -> None:
    """Raise `UserError` for a change that neither the recipe nor any chosen method knows."""
    prompt_source.require_prompt_source_used(changes, adapted)
    has = {PROMPTS_FROM}.union(f.name for method in adapted.values() for f in fields(method))
    for name in changes:
        if name not in has:
            near = suggest_fields(asdict(recipe), name)
            raise unknown_name(
                "field", name, [*near, *BACKBONE_FIELDS] if "." in name else has.union(near)
            )
