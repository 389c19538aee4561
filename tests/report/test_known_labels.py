"""The labels that are at hand: of built-in tasks, of data below the data root, of own records."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.config.suite import load_suite
from bench.data import splits
from bench.execution import selection
from bench.execution.request import FINAL_SPLITS, Request
from bench.records.schema import Settings
from bench.records.store import Store
from bench.report.known_labels import KnownLabels
from support import honest_records as honest

CUB = load_suite("fgvc").find("cub")
IMAGES = {"train": range(200), "val": range(200, 240), "test": range(240, 300)}


def test_a_built_in_split_has_the_digest_that_a_run_records() -> None:
    checked = selection.check_data(honest.MINI, honest.TASK, FINAL_SPLITS, Request())
    settings = honest.honest()[0].settings
    assert settings.split == checked.digest
    found = KnownLabels(Path("no data")).find(settings)
    assert found.labels is not None
    assert found.labels.tolist() == honest.true_labels().tolist()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """CUB in a folder as found, of fewer images."""
    folder = tmp_path / "data" / "fgvc" / CUB.folder
    (folder / CUB.images).mkdir(parents=True)
    for name, numbers in IMAGES.items():
        lines = {f"{number}.jpg": number % 200 + 1 for number in numbers}
        (folder / f"{name}.json").write_text(json.dumps(lines), encoding="utf-8")
        for image in lines:
            (folder / CUB.images / image).write_text(image, encoding="utf-8")
    return tmp_path / "data"


def settings_of(data: Path) -> Settings:
    folder, card = data / "fgvc" / CUB.folder, load_suite("fgvc")
    parts = [splits.from_list_files(card, CUB, split, folder) for split in FINAL_SPLITS]
    split = "-".join(splits.fingerprint(part, folder) for part in parts)
    plain = honest.honest()[0].settings
    return replace(plain, suite="fgvc", task="cub", classes=200, split=split)


def test_data_below_the_data_root_tell_their_labels(data: Path) -> None:
    found = KnownLabels(data).find(settings_of(data))
    assert found.labels is not None
    assert found.labels.tolist() == [number % 200 for number in IMAGES["test"]]


def test_data_with_other_bytes_are_of_another_split(data: Path) -> None:
    settings = settings_of(data)
    next(data.rglob("250.jpg")).write_text("another picture", encoding="utf-8")
    found = KnownLabels(data).find(settings)
    assert found.labels is None
    assert "is not that of task 'cub' of suite 'fgvc' here" in found.reason


def test_data_that_lack_an_image_are_not_at_hand(data: Path) -> None:
    settings = settings_of(data)
    next(data.rglob("250.jpg")).unlink()
    found = KnownLabels(data).find(settings)
    assert found.labels is None
    assert "are not here to compare its labels with (--data-root)" in found.reason


def test_data_as_found_are_not_those_of_a_prepared_variant(data: Path) -> None:
    settings = settings_of(data)
    found = KnownLabels(data).find(replace(settings, split=f"lossless:{settings.split}"))
    assert found.labels is None


def test_own_predictions_that_contradict_their_record_tell_nothing(tmp_path: Path) -> None:
    record, kept = honest.honest(split="4" * 16 + "-" + "5" * 16)
    sound = honest.write(tmp_path / "sound", (record, kept))
    lying = honest.write(tmp_path / "lying", (honest.with_accuracy(record, 100.0), kept))
    marked = honest.write(tmp_path / "marked", (replace(record, evidence="stated"), kept))

    def known(own: Store) -> bool:
        return KnownLabels(Path("no data"), own).find(record.settings).labels is not None

    assert [known(own) for own in (sound, lying, marked)] == [True, False, False]
