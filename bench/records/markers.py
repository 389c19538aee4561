"""Markers in `Annotated` that bound values read from JSON: numbers, texts, tables and lists.

They apply only to JSON. For records made by this process, the planner and the runner refuse bad
input before any compute.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema


def _in_json(
    schema: core_schema.CoreSchema, source: Any, handler: GetCoreSchemaHandler
) -> core_schema.CoreSchema:
    """Return a schema that holds for JSON alone; elsewhere the annotated type's does."""
    return core_schema.json_or_python_schema(json_schema=schema, python_schema=handler(source))


@dataclass(frozen=True)
class Whole:
    """Whole numbers within bounds."""

    least: int
    most: int

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return _in_json(core_schema.int_schema(ge=self.least, le=self.most), source, handler)


@dataclass(frozen=True)
class Real:
    """Finite numbers, within bounds where there are any."""

    least: float | None = None
    most: float | None = None

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        plain = core_schema.float_schema(ge=self.least, le=self.most, allow_inf_nan=False)
        return _in_json(plain, source, handler)


@dataclass(frozen=True)
class Text:
    """Texts that a pattern matches as a whole."""

    pattern: str
    most: int | None = None  # characters

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        whole = f"^(?:{self.pattern})$"
        return _in_json(
            core_schema.str_schema(pattern=whole, max_length=self.most), source, handler
        )


@dataclass(frozen=True)
class Table:
    """Dictionaries with these entries; others are refused, left out, or kept as they are."""

    required: Mapping[str, Any] = field(default_factory=dict)
    optional: Mapping[str, Any] = field(default_factory=dict)
    others: Literal["forbid", "ignore", "allow"] = "forbid"

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        entries = {
            name: core_schema.typed_dict_field(
                handler.generate_schema(kind), required=name in self.required
            )
            for name, kind in {**self.required, **self.optional}.items()
        }
        table = core_schema.typed_dict_schema(entries, extra_behavior=self.others)
        return _in_json(table, source, handler)


@dataclass(frozen=True)
class Checked:
    """Values that a function returns; it raises `ValueError` for others."""

    check: Callable[[Any], Any]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        plain = core_schema.no_info_after_validator_function(self.check, handler(source))
        return _in_json(plain, source, handler)


@dataclass(frozen=True)
class Items:
    """Lists of so many items; the first bad one ends the reading."""

    least: int
    most: int

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        (kind,) = get_args(source)
        listed = core_schema.list_schema(
            handler.generate_schema(kind),
            min_length=self.least,
            max_length=self.most,
            fail_fast=True,
        )
        return _in_json(listed, source, handler)
