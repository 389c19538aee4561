"""Files of interpolated scores: written, read back, and refused where they hold something else."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from bench.records import interpolations
from bench.records.interpolations import Interpolation, SetScores
from bench.utils.errors import UserError

FOUND = Interpolation(
    "0123456789abcdef", "weights", "tiny", "light", "small", "lora", 0, [0.0, 0.5, 1.0],
    [
        SetScores("val", "validation", 4, [50.0, 75.0, 75.0]),
        SetScores("test", "test", 16, [50.0, 87.5, 93.75]),
        SetScores("dim", "shift", 16, [50.0, 62.5, 56.25]),
    ],
)  # fmt: skip
WHOLE = asdict(FOUND)
VAL, TEST, DIM = WHOLE["sets"]
FORGED = {
    "another cell": {"cell": "f" * 16},
    "another path": {"along": "scale"},
    "no such path": {"along": "../x"},
    "a name that is none": {"task": "../x"},
    "alphas that descend": {"alphas": [0.0, 1.0, 0.5]},
    "an alpha twice": {"alphas": [0.0, 0.0, 1.0]},
    "no end": {"alphas": [0.0, 0.5, 0.9]},
    "no start": {"alphas": [0.1, 0.5, 1.0]},
    "an alpha far away": {"alphas": [0.0, 1.0, 1e9]},
    "no validation": {"sets": [TEST, DIM]},
    "two tests": {"sets": [VAL, TEST, {**DIM, "kind": "test"}]},
    "a set twice": {"sets": [VAL, TEST, DIM, DIM]},
    "a set of fewer scores": {"sets": [VAL, TEST, {**DIM, "accuracies": [50.0, 60.0]}]},
    "more than all": {"sets": [VAL, TEST, {**DIM, "accuracies": [50.0, 60.0, 101.0]}]},
    "no images": {"sets": [VAL, TEST, {**DIM, "images": 0}]},
    "an unknown kind": {"sets": [VAL, TEST, {**DIM, "kind": "train"}]},
    "an unknown entry": {"more": 1},
}
RAW = {
    "empty": "",
    "half": json.dumps(WHOLE)[:80],
    "a list": "[]",
    "NaN": json.dumps(WHOLE).replace("0.5", "NaN"),
    "deep": "[" * 10**6,
    "too large": json.dumps(WHOLE) + " " * interpolations.MAX_FILE_BYTES,
}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    place = interpolations.write_interpolation(tmp_path, FOUND)
    assert place == tmp_path / "interpolation" / "0123456789abcdef-weights.json"
    assert list(interpolations.read_all(tmp_path)) == [FOUND]
    assert interpolations.unreadable(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [*(json.dumps({**WHOLE, **change}) for change in FORGED.values()), *RAW.values()],
    ids=[*FORGED, *RAW],
)
def test_a_file_that_holds_something_else_is_a_sentence(text: str, tmp_path: Path) -> None:
    place = interpolations.write_interpolation(tmp_path, FOUND)
    place.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        interpolations.read_interpolation(tmp_path, place)
    said = str(caught.value)
    assert said.startswith(str(place))
    assert said.isprintable(), "a sentence of one line"
    assert len(said) < 500
    assert interpolations.unreadable(tmp_path) == [said]


def test_a_fifo_is_a_sentence(tmp_path: Path) -> None:
    place = interpolations.write_interpolation(tmp_path, FOUND)
    place.unlink()
    os.mkfifo(place)
    assert "not a regular file" in interpolations.unreadable(tmp_path)[0]


def test_a_folder_that_leads_out_is_neither_read_nor_written(tmp_path: Path) -> None:
    results, elsewhere = tmp_path / "results", tmp_path / "elsewhere"
    results.mkdir()
    interpolations.write_interpolation(elsewhere, FOUND)
    (results / "interpolation").symlink_to(elsewhere / "interpolation")
    assert "leads out" in interpolations.unreadable(results)[0]
    with pytest.raises(UserError, match="leads out"):
        interpolations.write_interpolation(results, FOUND)
