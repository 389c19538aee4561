"""Measurements of a cell beyond its accuracy: their names and columns, and their files.

There is one JSON file for each cell and measurement, in ``measures/`` of the results folder.
"""

import dataclasses
import json
import os
from collections.abc import Iterable
from math import isfinite
from pathlib import Path
from typing import Annotated, Literal

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from bench.records import entries, parsing
from bench.records.entries import MAX_EPOCHS
from bench.records.markers import Checked, Items
from bench.records.schema import STRICT
from bench.utils import folders
from bench.utils.errors import UserError, unknown_name
from bench.utils.files import write_atomically

TrainingKind = Literal["final", "validation"]


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A kind of measurement: the columns that index a row, and the columns of its values."""

    title: str
    index_columns: tuple[str, ...]
    value_columns: tuple[str, ...]
    needs_prompts: bool = False  # not defined for methods without prompts
    ends_only: bool = False  # before the first and after the last epoch only
    training: TrainingKind = "final"

    @property
    def columns(self) -> tuple[str, ...]:
        return self.index_columns + self.value_columns


MEASUREMENTS = {
    "nmi": Measurement(
        "normalised mutual information of prompts and patch tokens",
        ("epoch", "layer"),
        ("nmi", "nmi_pooled"),
        needs_prompts=True,
    ),
    "cka": Measurement(
        "alignment (CKA) of each layer's prompts with each layer's patch tokens",
        ("epoch", "layer", "token_layer"),
        ("cka",),
        needs_prompts=True,
        ends_only=True,
    ),
    "convergence": Measurement(
        "loss, and accuracy where the recipe scores test, of the final run",
        ("epoch",),
        ("seconds", "loss", "test_accuracy"),
    ),
    "validation": Measurement(
        "loss and accuracy on validation data, of a run on the training split alone",
        ("epoch",),
        ("seconds", "loss", "validation_accuracy"),
        training="validation",
    ),
}


def find_measurement(name: str) -> Measurement:
    """Return the measurement called `name`; raise `UserError` for an unknown name."""
    if name not in MEASUREMENTS:
        raise unknown_name("measurement", name, MEASUREMENTS)
    return MEASUREMENTS[name]


def filter_by_training(names: Iterable[str], training: TrainingKind) -> list[str]:
    """Return the names of the measurements that are taken during this kind of training."""
    return [name for name in names if find_measurement(name).training == training]


MEASURES_DIR = "measures"
MAX_FILE_BYTES = 2**23
MAX_ROWS = 2**18  # 10,000 epochs of 24 layers are fewer
MAX_COLUMNS = 10
Number = float | int | None  # None: not measured at that index


@dataclass(frozen=True, config=STRICT)
class MeasurementFile:
    """The values of one measurement of one cell."""

    cell: entries.CellName
    measurement: entries.Name
    accuracy: entries.Percent  # of the measured run, on its evaluation split
    images: entries.ImagesOrNone  # used by the measurement; 0: only of training and evaluation
    columns: Annotated[list[entries.Name], Items(1, MAX_COLUMNS)]
    rows: Annotated[
        list[Annotated[list[Number], Items(1, MAX_COLUMNS), Checked(entries.check_plain)]],
        Items(0, MAX_ROWS),
    ]


def measurement_path(results: Path, cell: str, measurement: str) -> Path:
    """Return the path of a cell's measurement."""
    return results / MEASURES_DIR / cell / f"{measurement}.json"


def missing_measurements(results: Path, cell: str, names: Iterable[str]) -> list[str]:
    """Return the names of the measurements of which a cell has no valid file."""
    return [name for name in names if find_measured(results, cell, name) is None]


def write_measurement(results: Path, found: MeasurementFile) -> Path:
    """Write a measurement atomically, one row a line; a value that is not finite becomes None."""
    place = measurement_path(results, found.cell, found.measurement)
    folders.require_inside(results, place)
    head = {k: v for k, v in vars(found).items() if k in ("cell", "measurement", "accuracy")}
    head |= {"images": found.images, "columns": found.columns}
    lines = ",\n".join(json.dumps([*map(_finite_or_none, row)]) for row in found.rows)
    text = json.dumps(head)[:-1] + f', "rows": [\n{lines}\n]}}\n'
    write_atomically(place, text.encode())
    return place


def _finite_or_none(value: Number) -> Number:
    return value if value is not None and isfinite(value) else None


_file_adapter = TypeAdapter(MeasurementFile)


def read_measurement(results: Path, cell: str, measurement: str) -> MeasurementFile | None:
    """Read a measurement, or return None if there is no file.

    Raises `UserError` for a file that is not a valid measurement of this cell.
    """
    place, kind = measurement_path(results, cell, measurement), find_measurement(measurement)
    if not os.path.lexists(place):
        return None
    folders.require_inside(results, place)
    found = parsing.read_json(place, _file_adapter, MAX_FILE_BYTES, "a file of measures")
    if (found.cell, found.measurement) != (cell, measurement):
        raise UserError(
            f"{place} has {found.measurement} of cell {found.cell}; {measurement} of {cell} was "
            "expected"
        )
    if problem := _odd_table(found, kind):
        raise UserError(f"{place} {problem}")
    return found


def find_measured(results: Path, cell: str, measurement: str) -> MeasurementFile | None:
    """Return a measurement of a cell, or None if there is no valid one."""
    try:
        return read_measurement(results, cell, measurement)
    except UserError:
        return None


def unreadable_measurements(results: Path) -> list[str]:
    """Return a sentence for each file in the folder of measurements that is not a valid one."""
    problems = []
    try:
        folders.require_all_inside(results, [MEASURES_DIR])
    except UserError as error:
        return [f"{error}; none of the measurements there counts"]
    for place in sorted((results / MEASURES_DIR).glob("*/*.json")):
        if place.stem not in MEASUREMENTS:
            problems.append(f"{place} is no measurement: {', '.join(MEASUREMENTS)} are known")
            continue
        try:
            read_measurement(results, place.parent.name, place.stem)
        except UserError as error:
            problems.append(f"{error}; a run of its study measures the cell again")
    return problems


def _odd_table(found: MeasurementFile, kind: Measurement) -> str:
    """Return what is wrong with the rows of a measurement, or an empty string."""
    columns, indices = kind.columns, len(kind.index_columns)
    if tuple(found.columns) != columns:
        return f"has the columns {', '.join(found.columns)}; {', '.join(columns)} were expected"
    places = {tuple(row[:indices]) for row in found.rows}
    for row in found.rows:
        if len(row) != len(columns):
            return f"has a row of {len(row)} values; {len(columns)} were expected"
        if not all(type(at) is int and 0 <= at <= MAX_EPOCHS for at in row[:indices]):
            return f"has a row at {row[:indices]}; {', '.join(kind.index_columns)} were expected"
    return "" if len(places) == len(found.rows) else "has two rows at one place"
