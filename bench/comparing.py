"""One cell among many: found by its name, and set against another."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import predictions, records
from bench.errors import UserError
from bench.records import Record, Store
from bench.report import statistics

LEAST = 4  # hex digits that may name a cell


def find(store: Store, name: str) -> Record:
    """The record that `name` stands for: a file, or the first digits of a cell's name.

    Raises `UserError` where there is none, or more than one.
    """
    if Path(name).is_file():
        return records.read(Path(name))
    if len(name) < LEAST:
        raise UserError(f"a cell is named by {LEAST} digits or more, or by its file; got {name!r}")
    paths = [path for path in store.files() if path.stem.rpartition("-")[2].startswith(name)]
    if len(paths) != 1:
        what = "no record" if not paths else f"{len(paths)} records"
        raise UserError(f"{what} in {store.root} of a cell whose name begins with {name!r}")
    return records.read(paths[0])


def differences(one: Record, other: Record) -> list[tuple[str, str, str]]:
    """What tells two records' settings and environments apart: name, one's value, the other's."""
    first, second = (_flat(_compared(record)) for record in (one, other))
    keys = sorted({*first, *second})
    lines = [(key, str(first.get(key, "–")), str(second.get(key, "–"))) for key in keys]
    return [line for line in lines if line[1] != line[2]]


def mcnemar(one: Record, other: Record, store: Store) -> str:
    """McNemar's test on two cells of one test split, in a sentence; empty: nothing to compare."""
    if (one.settings.task, one.settings.data) != (other.settings.task, other.settings.data):
        return ""
    kept = [predictions.read(store.predictions_path(record.settings)) for record in (one, other)]
    right = [found.right() if found else None for found in kept]
    a, b = right
    if a is None or b is None:
        return "McNemar: the predictions of both cells, with labels, are not at hand"
    return (
        f"McNemar on {len(a)} test images: {(a & ~b).sum()} right in the first alone, "
        f"{(b & ~a).sum()} in the second alone, p = {statistics.mcnemar(a, b):.3g}"
    )


def _compared(record: Record) -> dict[str, Any]:
    about = {k: v for k, v in record.environment.items() if k != "started"}
    return {"settings": asdict(record.settings), "environment": about}


def _flat(table: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested tables as one, with dots in the names."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        inner = isinstance(value, Mapping)
        found |= _flat(value, f"{path}{name}.") if inner else {f"{path}{name}": value}
    return found
