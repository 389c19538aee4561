"""Strict parsing of JSON that a stranger may have written: one sentence for whatever is wrong.

No key stands twice in an object, numbers are finite and of the type that the schema names, and no
key is unknown. Plain `json` keeps the last of two equal keys and reads NaN; lax validation reads
"5" and true as numbers.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from bench.utils.errors import UserError, first_line
from bench.utils.files import read_regular_file
from bench.utils.names import shorten

T = TypeVar("T")
MAX_ENTRIES = 2**17  # of an object; an accuracy of each of `MAX_EPOCHS` fits
EXPECTATIONS = {  # pydantic's messages that say too little, or speak of Python
    "unexpected_keyword_argument": "is no known entry",
    "extra_forbidden": "is no known entry",
    "missing": "is missing",
    "dataclass_type": "should be an object",
    "dict_type": "should be an object",
    "string_pattern_mismatch": "should be of another form",
}
SAY_ENOUGH = {"missing", "unexpected_keyword_argument", "extra_forbidden", "value_error"}


def parse_json(content: bytes) -> Any:
    """Parse JSON; raises `ValueError` with one line for anything that is not strictly JSON."""
    try:
        return _decoder.decode(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def validate_json(adapter: TypeAdapter[T], content: bytes) -> T:
    """Validate what `parse_json` has accepted; raises `ValueError` with the entry at fault."""
    try:
        return adapter.validate_json(content, strict=True)
    except ValidationError as error:
        raise ValueError(_describe(error)) from None


def read_json(path: Path, adapter: TypeAdapter[T], limit: int, what: str) -> T:
    """Read a regular file of at most `limit` bytes; raises `UserError`: it is not `what`."""
    content = read_content(path, limit, what)
    try:
        parse_json(content)
        return validate_json(adapter, content)
    except ValueError as error:
        raise UserError(f"{path} is not {what}: {first_line(error)}") from None


def read_content(path: Path, limit: int, what: str) -> bytes:
    """Read a regular file of at most `limit` bytes; raises `UserError`: it is not `what`."""
    try:
        return read_regular_file(path, limit)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        why = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"{path} is not {what}: {why}") from None


def _unique_entries(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"the entry {shorten(twice)} stands twice")
    if len(found) > MAX_ENTRIES:
        raise ValueError(f"an object has {len(found):,} entries; {MAX_ENTRIES:,} may be")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_unique_entries, parse_constant=_refuse_constant)


def _describe(error: ValidationError) -> str:
    """Return the first error: the entry, what was given, and what was expected."""
    errors = error.errors(include_url=False, include_context=False)
    first = next((e for e in errors if e["type"] in EXPECTATIONS), errors[0])
    where = _format_place(first["loc"]) or "it"
    kind, message = first["type"], first["msg"].removeprefix("Value error, ")
    expected = EXPECTATIONS.get(kind) or message[:1].lower() + message[1:]
    shown = "" if kind in SAY_ENOUGH else f", not {shorten(first['input'])}"
    return f"{where} {expected.removeprefix('input ')}{shown}"


def _format_place(parts: Sequence[int | str]) -> str:
    """Format the place of an entry: ``settings.recipe.batch``; an unknown name may be any text."""
    plain = (part if isinstance(part, int) else ascii(part)[1:-1][:60] for part in parts)
    return ".".join(map(str, plain))
