"""The registry of methods by name."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any

from methods.shared.base import Method

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")  # as in `bench.utils.names`

_methods: dict[str, Method] = {}
_remarks: dict[str, str] = {}
_refusals: dict[str, str] = {}
_codes: dict[str, str] = {}
_loading_code = ""  # hash of the plug-in that is being loaded


def register(name: str, method: Method, remark: str = "") -> None:
    """Register `method` under the `name` that the command line and the records use.

    A `remark` is a footnote shown with the method's results. Raises `ValueError` if the name is
    taken or cannot stand in a path, and `TypeError` for what is no method.
    """
    if not isinstance(method, Method) or not is_dataclass(method):
        raise TypeError(f"{name!r} is registered as a {type(method).__name__}, which is no method")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(
            f"{name!a:.60} is no name for a method: letters, digits, _, . and - were expected, "
            "1 to 100, and no . or - first"
        )
    if name in _methods:
        raise ValueError(f"the method name {name!r} is taken by {_methods[name]}; choose another")
    _methods[name] = method
    _remarks[name] = remark
    _codes[name] = _loading_code


def refuse(name: str, reason: str) -> None:
    """Register the reason why `name`, which users may look for, is not offered."""
    _refusals[name] = reason


@contextmanager
def registering_plugin(code: str) -> Iterator[None]:
    """Attribute every method registered within this context to the plug-in with this `code`.

    Where the plug-in fails, none of its methods stay.
    """
    global _loading_code
    before, _loading_code = _loading_code, code
    tables: list[dict[str, Any]] = [_methods, _remarks, _refusals, _codes]
    known = [dict(table) for table in tables]
    try:
        yield
    except BaseException:
        for table, former in zip(tables, known, strict=True):
            table.clear()
            table.update(former)
        raise
    finally:
        _loading_code = before


def code(name: str) -> str:
    """Return the hash of the plug-in that registered `name`; empty for a method of this package."""
    return _codes.get(name, "")


def remark(name: str) -> str:
    """Return the footnote of the method registered under `name`, or an empty string."""
    return _remarks.get(name, "")


def refusal(name: str) -> str:
    """Return the reason why `name` is not offered, or an empty string."""
    return _refusals.get(name, "")


def create(name: str, **changed: Any) -> Method:
    """Return the method registered under `name`, with some of its fields `changed`.

    Raises `KeyError` for an unknown name and `ValueError` for an unknown field, with suggestions.
    """
    if name in _refusals:
        raise KeyError(f"{name!r} is no method here: {_refusals[name]}")
    if name not in _methods:
        near = get_close_matches(name, _methods, n=3) or names()
        raise KeyError(f"no method {name!r}; did you mean {', '.join(near)}?")
    method = _methods[name]
    known = [field.name for field in fields(method)]
    for field in changed:
        if field not in known:
            has = f"its fields are {', '.join(known)}" if known else "it has none"
            raise ValueError(f"method {name!r} has no field {field!r}; {has}")
    return replace(method, **changed)


def names() -> list[str]:
    """Return all registered names, sorted."""
    return sorted(_methods)
