"""TOML of strangers: parsed within bounds of nesting and digits, for values that cards can have."""

import math
import re
import tomllib
from typing import Any

from bench.utils.names import shorten

MAX_DEPTH = 16  # of nested tables and arrays; also of the parts of a dotted key
MAX_DIGITS = 40  # of a number; those of 64 bits have 20
MAX_MESSAGE = 200  # characters of the parser's own, which quotes keys
WHOLE_NUMBERS = range(-(2**63), 2**63)  # as TOML has them

# Strings and comments, in which brackets and dots mean nothing. One that is not closed goes on to
# where the parser stops. Nothing is looked at twice: quantifiers are possessive.
_QUOTED = re.compile(
    r'''"""(?:[^\\"]|\\.|"{1,2}(?!"))*+(?:"{3,5}|\\?\Z)'''
    r"""|'{3}(?:[^']|'{1,2}(?!'))*+(?:'{3,5}|\Z)"""
    r"""|"(?:[^"\\\n]|\\.)*+(?:"|(?=\n)|\\?\Z)"""
    r"""|'[^'\n]*+'?|\#[^\n]*+""",
    re.DOTALL,
)
_INNERMOST = re.compile(r"\[[^\[\]{}]*+\]|\{[^\[\]{}]*+\}")
_DOTTED = re.compile(rf"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){{{MAX_DEPTH}}}")
_DIGITS = re.compile(rf"[0-9_]{{{MAX_DIGITS}}}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # tabs and line ends are text's own


class NotToml(ValueError):
    """Text that is not TOML or exceeds its limits; the message explains the problem."""


def parse(text: str) -> dict[str, Any]:
    """Parse a document; raise `NotToml` for one that is not TOML, or that no card would hold.

    That is deep nesting, numbers beyond 64 bits or not finite, dates, and control characters. Time
    and memory grow in proportion to the text, whatever it holds.
    """
    _require_shallow(text)
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # int() raises it, too
        raise NotToml(str(error)[:MAX_MESSAGE]) from None
    _require_plain(table, "")
    return table


def parse_value(text: str) -> Any:
    """Parse one value, as of ``FIELD=VALUE``; a bare word is a string. Raises as `parse` does."""
    _require_shallow(text)
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # a bare word
        table = {}
    value = table["value"] if list(table) == ["value"] else text
    _require_plain(value, "the value")
    return value


def _require_shallow(text: str) -> None:
    """Raise `NotToml` for what the parser would take very long over, or not come back from."""
    plain = _QUOTED.sub('"', text)
    left = plain
    for _ in range(MAX_DEPTH):  # a level at a time, the innermost first
        left, found = _INNERMOST.subn("", left)
        if not found:
            break
    unclosed = left.count("[") + left.count("{")
    if unclosed > MAX_DEPTH or _INNERMOST.search(left):
        raise NotToml(f"it nests tables or arrays more than {MAX_DEPTH} deep")
    if plain.count(".") >= MAX_DEPTH and _DOTTED.search(plain.replace('"', "s")):
        raise NotToml(f"it has a key of more than {MAX_DEPTH} parts")
    if _DIGITS.search(plain):
        raise NotToml(f"it has a number of {MAX_DIGITS} digits or more")


def _require_plain(value: Any, place: str) -> None:
    """Raise `NotToml` for the first key or value that no card could hold, with its place."""
    if isinstance(value, dict):
        for name, one in value.items():
            if _CONTROL.search(name):
                raise NotToml(f"{place} has a control character in a name: {shorten(name)}".strip())
            if type(one) is not str or _CONTROL.search(one):
                _require_plain(one, f"{place}.{name}".removeprefix("."))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            if type(one) is not str or _CONTROL.search(one):
                _require_plain(one, f"{place}.{number}")
    elif problem := _value_problem(value):
        raise NotToml(f"{place} {problem}")


def _value_problem(value: Any) -> str:
    """Return the problem with a value, as the end of a sentence; empty if there is none."""
    if isinstance(value, str):
        return f"has a control character: {shorten(value)}" if _CONTROL.search(value) else ""
    if isinstance(value, int):  # bool among them
        return "" if value in WHOLE_NUMBERS else "is a number of more than 64 bits"
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"is {value}; a finite number was expected"
    return f"is a date or time, {value}; nothing here has one"
