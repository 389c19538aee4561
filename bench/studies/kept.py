"""Values measured of a cell, in files beside the records: one a cell and measurement."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench.errors import UserError
from bench.records import write_atomically
from bench.studies import measurements
from bench.tasks import STRICT

FOLDER = "measures"
Number = float | int | None  # None: not taken there


@dataclass(frozen=True, config=STRICT)
class Measures:
    """What one measurement found of one cell."""

    cell: str
    measurement: str
    accuracy: float  # of the run that was measured, on the split that it is scored on
    images: int  # that were looked at; 0: none beside those of training and scoring
    columns: list[str]
    rows: list[list[Number]]


def path(results: Path, cell: str, measurement: str) -> Path:
    """Where they lie."""
    return results / FOLDER / cell / f"{measurement}.json"


def missing(results: Path, cell: str, names: Iterable[str]) -> list[str]:
    """Those of the measurements that a cell has no file of."""
    return [name for name in names if not path(results, cell, name).is_file()]


def write(results: Path, found: Measures) -> Path:
    """Keep them, whole or not at all; a row a line."""
    place = path(results, found.cell, found.measurement)
    head = {k: v for k, v in vars(found).items() if k in ("cell", "measurement", "accuracy")}
    head |= {"images": found.images, "columns": found.columns}
    lines = ",\n".join(json.dumps(row) for row in found.rows)
    text = json.dumps(head)[:-1] + f', "rows": [\n{lines}\n]}}\n'
    write_atomically(place, text.encode())
    return place


_adapter = TypeAdapter(Measures)


def read(results: Path, cell: str, measurement: str) -> Measures | None:
    """What was measured, or None where nothing was.

    Raises `UserError` for a file that is not what a measurement leaves.
    """
    place = path(results, cell, measurement)
    if not place.is_file():
        return None
    try:
        found = _adapter.validate_json(place.read_bytes())
    except ValidationError as error:
        raise UserError(f"{place} holds no measures: {error.errors()[0]['msg']}") from None
    _require(place, found, cell, measurements.find(measurement).columns)
    return found


def _require(place: Path, found: Measures, cell: str, columns: Sequence[str]) -> None:
    if found.cell != cell or tuple(found.columns) != tuple(columns):
        raise UserError(
            f"{place} has {', '.join(found.columns)} of cell {found.cell}; "
            f"{', '.join(columns)} of {cell} was expected"
        )
