"""The input files of the ledgers besides records: trials (`tune`) and costs (`cost`)."""

import csv
import json
from collections.abc import Callable, Collection, Mapping
from math import isnan
from pathlib import Path
from typing import Any

from bench.records import parsing
from bench.records.schema import RATE_NAMES
from bench.utils.errors import UserError, first_line
from bench.utils.names import shorten

TUNING_CSV, COST_CSV = "tuning.csv", "cost.csv"
SEARCH = ("suite", "backbone", "recipe", "method")  # searches of these are averaged
SEARCH_CELL = (*SEARCH, "task", "seed")  # the columns that a trial and its final run share
WORKLOAD = ("backbone", "batch", "precision", "device", "threads", "torch")
MAX_CSV_BYTES = 2**26
Lines = list[dict[str, str]]
Reader = Callable[[str], Any]  # raises ValueError


def read_trials(results: Path) -> Lines:
    """Read the lines of the trials, if there are any; raises `UserError` for an odd file."""
    numbers = dict.fromkeys((*RATE_NAMES, "val_accuracy"), _number)
    optional: dict[str, Reader] = {"fields": _table, "epochs": int}  # early files have none
    return _read_lines(results / TUNING_CSV, SEARCH_CELL, numbers, optional)


def read_costs(results: Path) -> Lines:
    """Read the measured costs, if there are any; raises `UserError` for an odd file."""
    times = dict.fromkeys(("train_step_ms", "test_batch_ms", "peak_memory_mb"), _above_zero)
    counts = {"batch": int, "stored_bytes": int}
    optional = {"test_merged_ms": _above_zero}  # early files have none; empty: cannot be merged
    return _read_lines(results / COST_CSV, (*WORKLOAD, "method"), {**times, **counts}, optional)


def _read_lines(
    path: Path,
    names: Collection[str],
    required: Mapping[str, Reader],
    optional: Mapping[str, Reader],
) -> Lines:
    if not path.is_file():
        return []
    content = parsing.read_content(path, MAX_CSV_BYTES, "a table of this folder")
    try:
        lines = list(csv.DictReader(content.decode("utf-8").splitlines(), strict=True))
        for line in lines:
            _check_line(line, (*names, *required), {**required, **optional})
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read: {first_line(error)}") from None
    return lines


def _check_line(
    line: Mapping[Any, Any], names: Collection[str], values: Mapping[str, Reader]
) -> None:
    """Raise `ValueError` for a line without the columns, or with other values than they have."""
    absent = [name for name in names if line.get(name) is None]
    if absent or None in line:
        raise ValueError(f"a line has no {absent[0]}" if absent else "a line has too many values")
    for name, read in values.items():
        given = line.get(name, "")
        try:
            if given or name in names:
                read(given)
        except (ValueError, RecursionError):
            raise ValueError(f"{name} is {shorten(given)}, which it cannot be") from None


def _number(text: str) -> float:
    value = float(text)
    if isnan(value):  # a trial without an outcome has -inf
        raise ValueError
    return value


def _above_zero(text: str) -> float:
    value = _number(text)
    if not value > 0:
        raise ValueError
    return value


def _table(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError
    return found
