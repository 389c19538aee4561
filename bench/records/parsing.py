"""Strict validation of untrusted files: one sentence for any problem.

Entries are of the type that the schema names, and none is unknown; lax validation reads "5" and
true as numbers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from bench.utils import strict_json
from bench.utils.errors import UserError, first_line, reason
from bench.utils.files import read_regular_file
from bench.utils.names import shorten

T = TypeVar("T")
EXPECTATIONS = {  # pydantic's messages that say too little, or speak of Python
    "unexpected_keyword_argument": "is no known entry",
    "extra_forbidden": "is no known entry",
    "missing": "is missing",
    "dataclass_type": "should be an object",
    "dict_type": "should be an object",
    "string_pattern_mismatch": "should be of another form",
}
SAY_ENOUGH = {"missing", "unexpected_keyword_argument", "extra_forbidden", "value_error"}


def validate_json(adapter: TypeAdapter[T], content: bytes) -> T:
    """Validate strictly parsed JSON; raises `ValueError` with the entry at fault."""
    try:
        return adapter.validate_json(content, strict=True)
    except ValidationError as error:
        raise ValueError(_describe(error)) from None


def read_json(path: Path, adapter: TypeAdapter[T], limit: int, what: str) -> T:
    """Read a regular file of at most `limit` bytes; raises `UserError`: it is not `what`."""
    content = read_content(path, limit, what)
    try:
        strict_json.parse(content)
        return validate_json(adapter, content)
    except ValueError as error:
        raise UserError(f"{path} is not {what}: {first_line(error)}") from None


def read_content(path: Path, limit: int, what: str) -> bytes:
    """Read a regular file of at most `limit` bytes; raises `UserError`: it is not `what`."""
    try:
        return read_regular_file(path, limit)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        why = reason(error)
        raise UserError(f"{path} is not {what}: {why}") from None


def _describe(error: ValidationError) -> str:
    """Return the first error: the entry, what was given, and what was expected."""
    errors = error.errors(include_url=False, include_context=False)
    first = next((e for e in errors if e["type"] in EXPECTATIONS), errors[0])
    where = format_place(first["loc"]) or "it"
    kind, message = first["type"], first["msg"].removeprefix("Value error, ")
    expected = EXPECTATIONS.get(kind) or message[:1].lower() + message[1:]
    shown = "" if kind in SAY_ENOUGH else f", not {shorten(first['input'])}"
    return f"{where} {expected.removeprefix('input ')}{shown}"


def format_place(parts: Sequence[int | str]) -> str:
    """Format the place of an entry: ``settings.recipe.batch``; an unknown name may be any text."""
    plain = (part if isinstance(part, int) else ascii(part)[1:-1][:60] for part in parts)
    return ".".join(map(str, plain))
