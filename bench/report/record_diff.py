"""A record found by its cell's name, compared with another, and the command that reruns it."""

import json
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from bench.config.recipe import load_recipe
from bench.config.suite import load_suite
from bench.records import schema
from bench.records.schema import Record
from bench.records.store import Store, read_record
from bench.report import statistics
from bench.utils import toml
from bench.utils.errors import UserError

MIN_DIGITS = 4  # hex digits that may name a cell


def find_record(store: Store, name: str) -> Record:
    """Return the record called `name`: a file, or the first digits of a cell's name.

    Raises `UserError` where there is none, or more than one.
    """
    if Path(name).is_file():
        return read_record(Path(name))
    if len(name) < MIN_DIGITS:
        raise UserError(
            f"a cell is named by {MIN_DIGITS} digits or more, or by its file; got {name!r}"
        )
    paths = [path for path in store.files() if path.stem.rpartition("-")[2].startswith(name)]
    if len(paths) != 1:
        what = "no record" if not paths else f"{len(paths)} records"
        raise UserError(f"{what} in {store.root} of a cell whose name begins with {name!r}")
    return read_record(paths[0])


def record_differences(one: Record, other: Record) -> list[tuple[str, str, str]]:
    """Return the settings and environment entries that differ: name, one's value, the other's."""
    first, second = (_flatten(_compared_parts(record)) for record in (one, other))
    keys = sorted({*first, *second})
    lines = [(key, str(first.get(key, "–")), str(second.get(key, "–"))) for key in keys]
    return [line for line in lines if line[1] != line[2]]


def mcnemar_sentence(one: Record, other: Record, store: Store) -> str:
    """Return McNemar's test on two cells of one test split, in a sentence, or an empty text."""
    if (one.settings.task, one.settings.data_key) != (other.settings.task, other.settings.data_key):
        return ""
    kept = [store.read_predictions(record.settings) for record in (one, other)]
    right = [found.correct() if found else None for found in kept]
    a, b = right
    if a is None or b is None:
        return "McNemar: the predictions of both cells, with labels, are not at hand"
    return (
        f"McNemar on {len(a)} test images: {(a & ~b).sum()} right in the first alone, "
        f"{(b & ~a).sum()} in the second alone, p = {statistics.mcnemar(a, b):.3g}"
    )


def _compared_parts(record: Record) -> dict[str, Any]:
    about = {k: v for k, v in record.environment.items() if k != "started"}
    return {"settings": asdict(record.settings), "environment": about}


def _flatten(table: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return nested tables as one, with dots in the names."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        inner = isinstance(value, Mapping)
        found |= _flatten(value, f"{path}{name}.") if inner else {f"{path}{name}": value}
    return found


RERUN_FOLDER = "again"  # a results folder that does not have the cell yet
REQUEST_OPTIONS = {
    "--suite": "suite",
    "--methods": "method",
    "--backbones": "backbone",
    "--tasks": "task",
    "--seeds": "seed",
}


def rerun_command(record: Record) -> str:
    """Return the command line, quoted for a shell; empty if the record has no request."""
    asked = record.request
    if not asked:
        return ""
    trial = schema.is_trial(record.settings)
    words = ["python", "-m", "bench", "tune" if trial else "run"]
    for option, name in REQUEST_OPTIONS.items():
        words += [option, str(asked[name])] if not (trial and name == "seed") else []
    for name in ("recipe", "variant"):
        if asked.get(name) is not None:
            words += [f"--{name}", asked[name]]
    words += ["--data-root", asked["data_root"]] if "data_root" in asked else []
    words += [word for path in asked.get("plugins", []) for word in ("--plugin", path)]
    for name, value in asked.get("changes", {}).items():
        words += ["--set", f"{name}={_set_argument(value)}"]
    return shlex.join(
        [*words, *([] if trial else _tuning_options(record)), "--results", RERUN_FOLDER]
    )


def _tuning_options(record: Record) -> list[str]:
    """Return the option that says whether to tune, where the recipe's default differs."""
    tuned = schema.TUNING_KEY in record.settings.recipe
    by_default = _tunes_by_default(record.request["suite"], record.request.get("recipe"))
    return [] if tuned == by_default else ["--tune" if tuned else "--no-tune"]


@cache
def _tunes_by_default(suite: str, recipe: str | None) -> bool:
    """Return whether a run tunes by default."""
    with suppress(UserError, OSError):  # a card that is not here, or a name that no file can have
        return load_recipe(recipe or load_suite(suite).recipe).tuning.by_default
    return False


def _set_argument(value: Any) -> str:
    """Return `value` as `--set` reads it: TOML, or a bare word where that means nothing in TOML."""
    return value if isinstance(value, str) and _is_bare_word(value) else _to_toml(value)


def _is_bare_word(text: str) -> bool:
    try:
        return bool(toml.parse_value(text) == text)
    except toml.NotToml:  # a date, say, which has to be quoted
        return False


def _to_toml(value: Any) -> str:
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)} = {_to_toml(entry)}" for key, entry in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_to_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # of these, JSON and TOML write the same
