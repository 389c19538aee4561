"""The store: nothing is read or written outside the results folder."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.records import measurements, store
from bench.records.measurements import MeasurementFile
from bench.records.predictions import Predictions
from bench.records.schema import Record
from bench.records.store import Store
from bench.utils.errors import UserError
from support.made_up_records import make

ESCAPING = ["../../pwned", "..", ".", "", "/etc/passwd", "a/../../b", "a\x00b", "~", "..\\x", "\n"]
KEPT = Predictions(np.zeros(4, np.int16), None)


@pytest.mark.parametrize("entry", ["suite", "backbone", "task", "method"])
@pytest.mark.parametrize("name", ESCAPING)
def test_whatever_a_record_is_named_its_file_is_in_the_folder(
    entry: str, name: str, tmp_path: Path
) -> None:
    folder = Store(tmp_path / "results")
    plain = make("linear", "digits").settings
    path = folder.path(replace(plain, **{entry: name}))
    assert path.resolve().is_relative_to(tmp_path / "results" / "records")
    assert ".." not in path.parts


def test_names_of_backbones_with_a_slash_or_an_at_sign_have_a_file_each(tmp_path: Path) -> None:
    folder = Store(tmp_path)
    names = ("vit_tiny@mine", "vit_tiny[mean=[0.1, 0.2, 0.3], pooling=avg]", "vit_tiny.mae_in1k")
    for name in names:
        folder.write(make("linear", "digits", backbone=name))
    found = [record for _, record in folder.read_all()]
    assert {one.settings.backbone for one in found if isinstance(one, Record)} == {*names}


def write_record(folder: Store) -> None:
    folder.write(make("linear", "digits"))


def write_predictions(folder: Store) -> None:
    folder.write_predictions(make("linear", "digits").settings, KEPT)


def write_measures(folder: Store) -> None:
    columns = [*measurements.find_measurement("cka").columns]
    cell = make("linear", "digits").cell
    measurements.write_measurement(
        folder.root, MeasurementFile(cell, "cka", 50.0, 8, columns, [[0, 0, 0, 0.5]])
    )


def list_files(folder: Store) -> None:
    folder.files()


def read_all(folder: Store) -> None:
    list(folder.read_all())


def read_predictions(folder: Store) -> None:
    folder.read_predictions(make("linear", "digits").settings)


def read_measures(folder: Store) -> None:
    measurements.read_measurement(folder.root, make("linear", "digits").cell, "cka")


CELL = make("linear", "digits").cell


@pytest.mark.parametrize(
    ("link", "act"),
    [
        ("records", write_record),
        ("records", list_files),
        ("records", read_all),
        ("records", Store.require_writable),
        ("records/mini", write_record),
        ("records/mini", Store.require_writable),
        ("records/mini/vit_mini_mae/digits", write_record),
        ("records/mini/vit_mini_mae/digits", Store.require_writable),
        ("predictions", write_predictions),
        ("predictions", read_predictions),
        ("predictions", Store.require_writable),
        ("measures", write_measures),
        ("measures", read_measures),
        (f"measures/{CELL}", write_measures),
        (f"measures/{CELL}", read_measures),
        ("trials", Store.require_writable),
        (".leases", Store.require_writable),
        ("tensorboard", Store.require_writable),
    ],
)
def test_a_folder_that_leads_out_is_a_sentence_and_is_not_followed(
    link: str, act: Callable[[Store], None], tmp_path: Path
) -> None:
    outside, results = tmp_path / "outside", tmp_path / "results"
    for one in (write_record, write_predictions, write_measures):
        one(Store(outside))  # there is something to be read
    before = sorted(outside.rglob("*"))
    place = results / link
    place.parent.mkdir(parents=True)
    place.symlink_to(outside / link if (outside / link).exists() else outside)
    with pytest.raises(UserError, match="is a link that leads out of"):
        act(Store(results))
    assert sorted(outside.rglob("*")) == before
    assert not [path for path in results.rglob("*") if path.is_file()]


def test_records_behind_a_link_are_not_among_those_of_the_folder(tmp_path: Path) -> None:
    write_record(Store(tmp_path / "outside"))
    results = Store(tmp_path / "results")
    results.write(make("bias", "count", suite="other"))
    (results.root / "records" / "mini").symlink_to(tmp_path / "outside" / "records" / "mini")
    found = [record for _, record in results.read_all()]
    assert [one.settings.method for one in found if isinstance(one, Record)] == ["bias"]
    assert results.find(make("linear", "digits").settings) is None


def test_a_results_folder_may_itself_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "real")
    folder = Store(tmp_path / "results")
    folder.require_writable()
    for act in (write_record, write_predictions, write_measures, read_predictions, read_measures):
        act(folder)
    assert folder.find(make("linear", "digits").settings) is not None


def test_a_folder_that_is_a_link_within_the_results_is_followed(tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    (tmp_path / "records").symlink_to(tmp_path / "moved")
    write_record(Store(tmp_path))
    assert len(Store(tmp_path).files()) == 1


@pytest.mark.parametrize("kind", ["link", "loop", "folder"])
def test_what_is_no_file_stands_among_the_problems(kind: str, tmp_path: Path) -> None:
    folder = Store(tmp_path)
    path = folder.write(make("linear", "digits"))
    odd = path.with_name("odd.json")
    {
        "link": lambda: odd.symlink_to(path),
        "loop": lambda: odd.symlink_to(odd),
        "folder": odd.mkdir,
    }[kind]()
    records, problems = store.read_valid(folder)
    assert len(records) == 1
    assert len(problems) == 1
    assert str(odd) in problems[0]
    folder.require_current_schema()


def test_a_record_of_schema_1_is_found_among_odd_files(tmp_path: Path) -> None:
    folder = Store(tmp_path)
    path = folder.write(make("linear", "digits"))
    path.with_name("loop.json").symlink_to(path.with_name("loop.json"))
    whole: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**whole, "schema": 1}, indent=1), encoding="utf-8")
    with pytest.raises(UserError, match=r"1 records in .* are of schema 1"):
        folder.require_current_schema()
