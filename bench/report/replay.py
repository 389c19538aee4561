"""The command that asks for a record's cell again, into a folder of its own to compare with."""

import json
import shlex
import tomllib
from contextlib import suppress
from functools import cache
from typing import Any

from bench import search
from bench.cards import load_recipe, load_suite
from bench.errors import UserError
from bench.records import Record

FOLDER = "again"  # a results folder that does not have the cell yet
OPTIONS = {
    "--suite": "suite",
    "--methods": "method",
    "--backbones": "backbone",
    "--tasks": "task",
    "--seeds": "seed",
}


def replay(record: Record) -> str:
    """The command line, quoted for a shell; empty where the record does not say its request."""
    asked = record.request
    if not asked:
        return ""
    trial = search.is_trial(record.settings)
    words = ["python", "-m", "bench", "tune" if trial else "run"]
    for option, name in OPTIONS.items():
        words += [option, str(asked[name])] if not (trial and name == "seed") else []
    for name in ("recipe", "variant"):
        if asked.get(name) is not None:
            words += [f"--{name}", asked[name]]
    words += ["--data-root", asked["data_root"]] if "data_root" in asked else []
    words += [word for path in asked.get("plugins", []) for word in ("--plugin", path)]
    for name, value in asked.get("changes", {}).items():
        words += ["--set", f"{name}={_argument(value)}"]
    return shlex.join([*words, *([] if trial else _tuning(record)), "--results", FOLDER])


def _tuning(record: Record) -> list[str]:
    """Whether the rates were chosen by trials, where the recipe's card does not say just that."""
    tuned = search.TUNING in record.settings.recipe
    by_default = _by_default(record.request["suite"], record.request.get("recipe"))
    return [] if tuned == by_default else ["--tune" if tuned else "--no-tune"]


@cache
def _by_default(suite: str, recipe: str | None) -> bool:
    """Whether a run tunes where nothing is said of it."""
    with suppress(UserError):  # a card that is not here
        return load_recipe(recipe or load_suite(suite).recipe).tuning.by_default
    return False


def _argument(value: Any) -> str:
    """`value` as `--set` reads it: TOML, or a bare word where that means nothing in TOML."""
    return value if isinstance(value, str) and _is_bare(value) else _toml(value)


def _is_bare(text: str) -> bool:
    try:
        tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return True
    return False


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)} = {_toml(entry)}" for key, entry in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # of these, JSON and TOML write the same
