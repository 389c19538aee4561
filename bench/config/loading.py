"""Loading and validation of the TOML cards of suites, recipes, backbones and sources."""

import tomllib
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from bench.utils import text
from bench.utils.errors import UserError, unknown_name
from bench.utils.files import REPO_ROOT

SUITES_DIR = REPO_ROOT / "datasets"
RECIPES_DIR = REPO_ROOT / "bench" / "recipes"
BACKBONES_FILE = REPO_ROOT / "bench" / "backbones.toml"
WEIGHTS_DIR = REPO_ROOT / "bench" / "weights"
T = TypeVar("T")


def card_names(folder: Path) -> list[str]:
    """List the names of the cards in `folder`."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def load_card(cls: type[T], kind: str, name: str, folder: Path) -> T:
    """Load the card called `name` in `folder`, or the card at that path if it ends in .toml."""
    path = Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    if not name.endswith(".toml") and not path.exists():
        raise unknown_name(kind, name, card_names(folder))
    return validate(cls, f"the card {path}", _read_toml(path, kind))


def _read_toml(path: Path, kind: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text.decode_utf8(path.read_bytes()))
    except FileNotFoundError:
        raise UserError(f"no {kind} card at {path}") from None
    except (OSError, text.NotText, tomllib.TOMLDecodeError) as error:
        raise UserError(f"the {kind} card {path} cannot be read: {error}") from None


def validate(cls: type[T], origin: str, table: dict[str, Any]) -> T:
    """Validate a table as a `cls`; raise `UserError` with `origin` and the entry at fault."""
    try:
        return TypeAdapter(cls).validate_python(table)
    except ValidationError as error:
        errors = error.errors()  # a misspelt key shows as an unknown one and a missing one
        first = next((e for e in errors if e["type"].startswith("unexpected")), errors[0])
        where = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        if known := first["type"].startswith("unexpected") and _allowed_entries(
            cls, first["loc"][:-1]
        ):
            what = str(unknown_name("entry", str(first["loc"][-1]), known))
        raise UserError(": ".join(filter(None, (origin, where, what)))) from None


def _allowed_entries(cls: Any, place: Sequence[Any]) -> list[str]:
    """List the entries allowed in the table at `place` of a `cls`; empty if unknown."""
    for part in place:
        if isinstance(part, str) and is_dataclass(cls):
            cls = get_type_hints(cls).get(part)
        while get_args(cls) and not is_dataclass(cls):
            cls = next((of for of in get_args(cls) if is_dataclass(of)), get_args(cls)[-1])
    return [f.name for f in fields(cls)] if is_dataclass(cls) else []
