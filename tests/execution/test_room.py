"""`run` does the cheap part of `doctor` by itself: disk, folders and memory, before any compute."""

import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from bench.cli.main import main
from bench.execution import room
from bench.records.predictions import Predictions
from bench.training import runner
from support import run_records, tiny

usage = namedtuple("usage", "total used free")
TUNED = ("--tune", "--set", "grid={ lr = [1e-3, 1e-2, 1e-1] }")


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12 - 10**6, 10**6))


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell that is trained is an error of the test."""

    def train(*_args: object, **_more: object) -> None:
        raise AssertionError("a cell was trained")

    monkeypatch.setattr(runner, "train_and_evaluate", train)


def records(folder: Path) -> list[Path]:
    return list(folder.rglob("records/**/*.json"))


@pytest.mark.parametrize(
    ("more", "runs"), [((), 2), (TUNED, 8), (("--limit-cells", "1"), 1)], ids=["two", "tuned", "1"]
)
def test_a_disk_that_cannot_hold_the_records_is_a_sentence(
    more: tuple[str, ...], runs: int, cards, tmp_path: Path, capsys, full_disk, untrained
) -> None:
    results = tmp_path / "results"
    assert main(tiny.command("run", cards, results, "linear,lora", *more)) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"{results} has 1.0 MB of disk free, and {runs} runs may need 10" in said
    assert said.endswith("make room, or choose another folder with --results")
    assert records(results) == []


def test_where_nothing_is_to_run_the_disk_may_be_full(run, capsys, request) -> None:
    assert run("linear") == 0
    request.getfixturevalue("full_disk")
    assert run("linear") == 0


@pytest.mark.parametrize("name", ["records", "predictions", "trials", ".leases"])
def test_a_folder_that_takes_no_files_is_named(
    name: str, cards, tmp_path: Path, capsys, monkeypatch, untrained
) -> None:
    folder = tmp_path / "results" / name
    folder.mkdir(parents=True)
    known = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != folder and known(path, mode))
    assert main(tiny.command("run", cards, tmp_path / "results", "linear")) == 2
    said = run_records.one_sentence(capsys)
    assert f"results cannot be written to ({name}: Permission denied)" in said


def test_weights_that_no_memory_holds_are_a_sentence(
    cards, tmp_path: Path, capsys, monkeypatch, untrained
) -> None:
    monkeypatch.setattr(room, "free_memory", lambda _: 1000.0)
    assert main(tiny.command("run", cards, tmp_path / "results", "linear")) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "the weights of small take 454.4 kB" in said
    assert "1.0 kB of memory are free" in said
    assert records(tmp_path) == []


@pytest.mark.parametrize(("images", "classes"), [(73_728, 16), (50_000, 1000)])
def test_the_largest_runs_fit_into_what_is_reserved_for_each(images: int, classes: int) -> None:
    """The predictions on dSprites and ImageNet, random, so that they compress badly."""
    rng = np.random.default_rng(0)
    found, labels = rng.integers(classes, size=(2, images)).astype(np.int16)
    assert len(Predictions(found, labels).to_bytes()) + 10_000 < room.BYTES_PER_RUN
