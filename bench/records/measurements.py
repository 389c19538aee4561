"""Measurements of a cell beyond its accuracy: their names and columns, and their files.

There is one JSON file for each cell and measurement, in ``measures/`` of the results folder.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench.records.schema import STRICT
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
Number = float | int | None  # None: not measured at that index


@dataclass(frozen=True, config=STRICT)
class MeasurementFile:
    """The values of one measurement of one cell."""

    cell: str
    measurement: str
    accuracy: float  # of the measured run, on its evaluation split
    images: int  # used by the measurement; 0: only those of training and evaluation
    columns: list[str]
    rows: list[list[Number]]


def measurement_path(results: Path, cell: str, measurement: str) -> Path:
    """Return the path of a cell's measurement."""
    return results / MEASURES_DIR / cell / f"{measurement}.json"


def missing_measurements(results: Path, cell: str, names: Iterable[str]) -> list[str]:
    """Return the names of the measurements for which a cell has no file."""
    return [name for name in names if not measurement_path(results, cell, name).is_file()]


def write_measurement(results: Path, found: MeasurementFile) -> Path:
    """Write a measurement atomically, one row a line."""
    place = measurement_path(results, found.cell, found.measurement)
    head = {k: v for k, v in vars(found).items() if k in ("cell", "measurement", "accuracy")}
    head |= {"images": found.images, "columns": found.columns}
    lines = ",\n".join(json.dumps(row) for row in found.rows)
    text = json.dumps(head)[:-1] + f', "rows": [\n{lines}\n]}}\n'
    write_atomically(place, text.encode())
    return place


_file_adapter = TypeAdapter(MeasurementFile)


def read_measurement(results: Path, cell: str, measurement: str) -> MeasurementFile | None:
    """Read a measurement, or return None if there is no file.

    Raises `UserError` for a file that is not a valid measurement of this cell.
    """
    place = measurement_path(results, cell, measurement)
    if not place.is_file():
        return None
    try:
        found = _file_adapter.validate_json(place.read_bytes())
    except ValidationError as error:
        raise UserError(f"{place} holds no measures: {error.errors()[0]['msg']}") from None
    _require_columns(place, found, cell, find_measurement(measurement).columns)
    return found


def _require_columns(
    place: Path, found: MeasurementFile, cell: str, columns: Sequence[str]
) -> None:
    if found.cell != cell or tuple(found.columns) != tuple(columns):
        raise UserError(
            f"{place} has {', '.join(found.columns)} of cell {found.cell}; "
            f"{', '.join(columns)} of {cell} was expected"
        )
