"""Hyper-parameters: checks for use in ``__post_init__``, and what of them names a cell."""

from collections.abc import Collection
from dataclasses import asdict, field, fields
from typing import Any

from methods.shared.base import Method


def later_field(default: Any) -> Any:
    """Return a field that a method has not always had.

    It belongs to a cell's settings only where it is not `default`: so the cells that were there
    before keep their names.
    """
    return field(default=default, metadata={"later": True})


def recorded_fields(method: Method) -> dict[str, Any]:
    """Return the fields of a method that belong to a cell's settings."""
    return without_later_defaults(method, asdict(method))


def without_later_defaults(method: Method, values: dict[str, Any]) -> dict[str, Any]:
    """Return the `values` of a method's fields without those that `later_field` leaves out."""
    left_out = {f.name: f.default for f in fields(method) if f.metadata.get("later")}
    return {k: v for k, v in values.items() if k not in left_out or v != left_out[k]}


def require_size(what: str, value: int, least: int = 1) -> None:
    """Raise `ValueError` if a rank, a width or a number of layers is below `least`."""
    if value < least:
        raise ValueError(f"{what} must be at least {least}; {value} was given")


def require_dropout_rate(what: str, value: float) -> None:
    """Raise `ValueError` unless a dropout rate is in [0, 1)."""
    if not 0 <= value < 1:
        raise ValueError(f"{what} must be at least 0 and below 1; {value} was given")


def require_choice(what: str, value: str, known: Collection[str]) -> None:
    """Raise `ValueError` unless `value` is one of the `known` names."""
    if value not in known:
        raise ValueError(f"{what} must be one of {', '.join(known)}; {value!r} was given")
