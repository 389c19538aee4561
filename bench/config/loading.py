"""Loading and validation of the TOML cards of suites, recipes, backbones and sources."""

import os
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from bench.utils import files, text, toml
from bench.utils.collector import paused_collector
from bench.utils.errors import UserError, reason, unknown_name
from bench.utils.files import REPO_ROOT

SUITES_DIR = REPO_ROOT / "datasets"
RECIPES_DIR = REPO_ROOT / "bench" / "recipes"
BACKBONES_FILE = REPO_ROOT / "bench" / "backbones.toml"
WEIGHTS_DIR = REPO_ROOT / "bench" / "weights"
FETCHED_DIR = Path(os.environ.get("BENCH_WEIGHTS") or WEIGHTS_DIR / "fetched")
MAX_CARD = 2**25  # bytes: a suite of 100,000 tasks has a third of it
T = TypeVar("T")


def card_names(folder: Path) -> list[str]:
    """List the names of the cards in `folder`."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def load_card(cls: type[T], kind: str, name: str, folder: Path) -> T:
    """Load the card called `name` in `folder`, or the card at that path if it ends in .toml."""
    path = Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    if not name.endswith(".toml") and not os.path.exists(path):
        raise unknown_name(kind, name, card_names(folder))
    card: T = _parse_card((cls, kind, path, _read_card(path, kind)))
    return card


@lru_cache(maxsize=16)
@paused_collector()
def _parse_card(given: tuple[Any, str, Path, bytes]) -> Any:
    """Parse a card; the last few are kept, since planning a request reads each more than once."""
    cls, kind, path, content = given
    return validate(cls, f"the card {path}", _parse_toml(path, kind, content))


def read_toml(path: Path, kind: str) -> dict[str, Any]:
    """Read a card's table; a link to a card is one, too. Raises `UserError`."""
    return _parse_toml(path, kind, _read_card(path, kind))


def _read_card(path: Path, kind: str) -> bytes:
    try:
        return files.read_regular_file(path, MAX_CARD, follow_links=True)
    except FileNotFoundError:
        raise UserError(f"no {kind} card at {path}") from None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        why = reason(error)
        raise UserError(f"the {kind} card {path} cannot be read: {why}") from None


def _parse_toml(path: Path, kind: str, content: bytes) -> dict[str, Any]:
    try:
        return toml.parse(text.decode_utf8(content))
    except (text.NotText, toml.NotToml) as error:
        raise UserError(f"the {kind} card {path} cannot be read: {error}") from None


def validate(cls: type[T], origin: str, table: dict[str, Any]) -> T:
    """Validate a table as a `cls`; raise `UserError` with `origin` and the entry at fault."""
    try:
        found: T = _adapter(cls).validate_python(table)
    except ValidationError as error:
        raise UserError(describe_invalid(cls, origin, error)) from None
    return found


def _adapter(cls: Any) -> TypeAdapter[Any]:
    if cls not in _adapters:
        _adapters[cls] = TypeAdapter(cls)
    return _adapters[cls]


_adapters: dict[Any, TypeAdapter[Any]] = {}


def describe_invalid(cls: Any, origin: str, error: ValidationError) -> str:
    """Say in a sentence what is wrong first, with `origin` and the entry at fault."""
    errors = error.errors()  # a misspelt key shows as an unknown one and a missing one
    first = next((e for e in errors if e["type"].startswith("unexpected")), errors[0])
    where = ".".join(str(part) for part in first["loc"])
    what = first["msg"].removeprefix("Value error, ")
    is_unknown = first["type"].startswith("unexpected")
    if known := is_unknown and _allowed_entries(cls, first["loc"][:-1]):
        what = str(unknown_name("entry", str(first["loc"][-1]), known))
    return ": ".join(filter(None, (origin, where, what)))


def hold_to_types(instance: Any, origin: str) -> None:
    """Put the fields of a plain dataclass to their types; raise `UserError` for one that cannot be.

    Called from `__post_init__`: a caller of the API gets the sentence where the mistake is made.
    """
    for name, kind in _field_types(type(instance)).items():
        try:
            value = _adapter(kind).validate_python(getattr(instance, name))
        except ValidationError as error:
            raise UserError(describe_invalid(None, f"{origin}: {name}", error)) from None
        object.__setattr__(instance, name, value)


def _field_types(cls: Any) -> dict[str, Any]:
    if cls not in _types:
        _types[cls] = get_type_hints(cls, include_extras=True)
    return _types[cls]


_types: dict[Any, dict[str, Any]] = {}


def _allowed_entries(cls: Any, place: Sequence[Any]) -> list[str]:
    """List the entries allowed in the table at `place` of a `cls`; empty if unknown."""
    for part in place:
        if isinstance(part, str) and is_dataclass(cls):
            cls = get_type_hints(cls).get(part)
        while get_args(cls) and not is_dataclass(cls):
            cls = next((of for of in get_args(cls) if is_dataclass(of)), get_args(cls)[-1])
    return [f.name for f in fields(cls)] if is_dataclass(cls) else []
