"""The door for measurements: a file that is none is a sentence, and the cell is measured again."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.records import measurements
from bench.records.measurements import MeasurementFile
from bench.utils.errors import UserError

CELL = "0123456789abcdef"
COLUMNS = [*measurements.find_measurement("nmi").columns]
FOUND = MeasurementFile(CELL, "nmi", 80.0, 256, COLUMNS, [[0, 0, 0.25, 0.5], [0, 1, 0.5, None]])


def test_measures_are_read_as_they_were_written(tmp_path: Path) -> None:
    measurements.write_measurement(tmp_path, FOUND)
    assert measurements.read_measurement(tmp_path, CELL, "nmi") == FOUND
    assert not measurements.unreadable_measurements(tmp_path)
    assert not measurements.missing_measurements(tmp_path, CELL, ["nmi"])


def test_a_value_that_is_not_finite_is_none(tmp_path: Path) -> None:
    rows: list[list[float | int | None]] = [[0, 0, float("nan"), float("inf")]]
    measurements.write_measurement(tmp_path, MeasurementFile(CELL, "nmi", 80.0, 256, COLUMNS, rows))
    found = measurements.read_measurement(tmp_path, CELL, "nmi")
    assert found is not None
    assert found.rows == [[0, 0, None, None]]


WHOLE: dict[str, Any] = json.loads(json.dumps(vars(FOUND)))
FORGED: dict[str, dict[str, Any]] = {
    "of another cell": {"cell": "0" * 16},
    "of no cell": {"cell": "../x"},
    "another measurement": {"measurement": "cka"},
    "a measurement that is a list": {"measurement": ["nmi"]},
    "accuracy in a text": {"accuracy": "80"},
    "accuracy 101": {"accuracy": 101},
    "images true": {"images": True},
    "images 10**400": {"images": 10**400},
    "an unknown entry": {"unknown": 1},
    "another column": {"columns": [*COLUMNS[:-1], "x"]},
    "too few columns": {"columns": COLUMNS[:-1]},
    "columns a text": {"columns": "nmi"},
    "rows a table": {"rows": {}},
    "a row too short": {"rows": [[0, 0, 0.5]]},
    "a row too long": {"rows": [[0, 0, 0.5, 0.5, 0.5]]},
    "an empty row": {"rows": [[]]},
    "a row of texts": {"rows": [["0", "0", "0.5", "0.5"]]},
    "a row of bools": {"rows": [[False, True, 0.5, 0.5]]},
    "a row at no epoch": {"rows": [[None, 0, 0.5, 0.5]]},
    "a row at half an epoch": {"rows": [[0.5, 0, 0.5, 0.5]]},
    "a row before the first epoch": {"rows": [[-1, 0, 0.5, 0.5]]},
    "a row of a number beyond all": {"rows": [[0, 0, 10**400, 0.5]]},
    "a row of lists": {"rows": [[0, 0, [0.5], 0.5]]},
    "two rows at one place": {"rows": [[0, 0, 0.5, 0.5], [0, 0, 0.6, 0.6]]},
    "too many rows": {"rows": [[0]] * (measurements.MAX_ROWS + 1)},
}
RAW = {
    "empty": "",
    "half": json.dumps(WHOLE)[:50],
    "NaN": json.dumps({**WHOLE, "rows": [[0, 0, float("nan"), 0.5]]}),
    "the cell twice": json.dumps(WHOLE)[:-1] + f', "cell": "{CELL}"}}',
    "deep": "[" * 10**6,
    "too large": json.dumps(WHOLE) + " " * measurements.MAX_FILE_BYTES,
}


def refused(results: Path) -> str:
    """The sentence about the only file; the cell counts as one that has not been measured."""
    with pytest.raises(UserError) as caught:
        measurements.read_measurement(results, CELL, "nmi")
    said = str(caught.value)
    assert str(measurements.measurement_path(results, CELL, "nmi")) in said
    assert said.isprintable(), "a sentence of one line"
    assert len(said) < 500
    assert measurements.missing_measurements(results, CELL, ["nmi"]) == ["nmi"]
    (problem,) = measurements.unreadable_measurements(results)
    assert problem.startswith(said)
    return said


@pytest.mark.sample(5)
@pytest.mark.parametrize(
    "text",
    [*(json.dumps({**WHOLE, **change}) for change in FORGED.values()), *RAW.values()],
    ids=[*FORGED, *RAW],
)
def test_a_file_that_holds_something_else_is_a_sentence(text: str, tmp_path: Path) -> None:
    path = measurements.write_measurement(tmp_path, FOUND)
    path.write_text(text, encoding="utf-8")
    refused(tmp_path)


@pytest.mark.parametrize(
    "make_odd",
    [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")],
    ids=["a FIFO", "a folder", "a device"],
)
def test_what_is_no_file_is_a_sentence(make_odd: Callable[[Path], None], tmp_path: Path) -> None:
    path = measurements.write_measurement(tmp_path, FOUND)
    path.unlink()
    make_odd(path)
    refused(tmp_path)


@pytest.mark.parametrize("name", ["unknown", ".hidden"])
def test_a_file_of_no_measurement_is_named(name: str, tmp_path: Path) -> None:
    path = measurements.write_measurement(tmp_path, FOUND)
    path.rename(path.with_name(f"{name}.json"))
    (said,) = measurements.unreadable_measurements(tmp_path)
    assert f"{name}.json is no measurement" in said


@pytest.mark.parametrize("linked", ["measures", f"measures/{CELL}"])
def test_a_folder_of_measurements_that_leads_out_is_named_and_not_read(
    linked: str, tmp_path: Path
) -> None:
    measurements.write_measurement(tmp_path / "outside", FOUND)
    results = tmp_path / "results"
    (results / linked).parent.mkdir(parents=True)
    (results / linked).symlink_to(tmp_path / "outside" / linked)
    (said,) = measurements.unreadable_measurements(results)
    assert f"{results / linked} is a link that leads out of {results}" in said
