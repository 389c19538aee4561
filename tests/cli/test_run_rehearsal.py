"""A rehearsal on synthetic images, end to end: plan, run, a kill, resume, tables, evidence."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest

from bench.cli.main import main
from support import run_records, tiny
from support.paths import REPO_ROOT
from support.rehearsal import TASKS, small_vtab1k, words

pytestmark = pytest.mark.usefixtures("no_figures")
CELLS = 2 * len(TASKS)
NOTE = "the images are synthetic"


@pytest.mark.long
def test_a_rehearsal_is_planned_killed_resumed_and_reported(tmp_path: Path, capsys) -> None:
    suite, results = small_vtab1k(tmp_path), tmp_path / "results"
    assert main(words("run", suite, results, "--dry-run")) == 0
    planned = capsys.readouterr().out
    assert f"{CELLS} of {CELLS} cells to run" in planned
    assert "to run  linear on small, synthetic svhn, seed 0" in planned

    _kill_after_a_cell(words("run", suite, results, "--workers", "1"), results)
    before = run_records.write_times(results)
    assert 0 < len(before) < CELLS
    assert main(words("run", suite, results, "--workers", "0")) == 0
    after = run_records.write_times(results)
    assert len(after) == CELLS
    assert {name: after[name] for name in before} == before  # no cell was run twice
    out, err = capsys.readouterr()
    assert NOTE in err
    assert "small_vtab1k (synthetic)" in out
    assert main(["verify", "--results", str(results)]) == 0


def _kill_after_a_cell(arguments: list[str], results: Path) -> None:
    """Start a run, and kill it and its workers as soon as a record is written."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", *arguments],
        cwd=REPO_ROOT,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    until = monotonic() + 300
    while not list(results.rglob("records/**/*.json")) and process.poll() is None:
        assert monotonic() < until
        sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)  # its worker ends by itself when the pipe closes
    process.wait()
    sleep(0.5)


def test_a_tuned_rehearsal_has_trials_of_its_own(tmp_path: Path) -> None:
    suite, results = small_vtab1k(tmp_path, ["svhn"]), tmp_path / "results"
    searched = ("--methods", "linear", "--set", "grid={ lr = [1e-2, 1e-1] }", "--workers", "0")
    assert main(words("tune", suite, results, *searched)) == 0
    assert len(run_records.records(results / "trials")) == 2
    lines = (results / "tuning.csv").read_text(encoding="utf-8").splitlines()
    assert {line.partition(",")[0] for line in lines[1:]} == {"small_vtab1k (synthetic)"}


@pytest.fixture(scope="module")
def eurosat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with one cell of VTAB-1k's EuroSAT, at its true counts."""
    folder = tmp_path_factory.mktemp("eurosat")
    backbone = str(tiny.backbone_card(folder / "small.toml"))
    chosen = ("--tasks", "eurosat", "--methods", "linear", "--backbones", backbone)
    plain = ("--recipe", "quick", "--no-tune", "--seeds", "0", "--workers", "0")
    assert main(words("run", "vtab1k", folder / "results", *chosen, *plain)) == 0
    return folder / "results"


@pytest.mark.long
def test_its_record_is_recomputed_from_its_predictions_without_any_data(
    eurosat: Path, tmp_path: Path, capsys
) -> None:
    (record,) = run_records.records(eurosat).values()
    assert record["outcome"]["test_images"] == 5400
    assert record["settings"]["split"].startswith("synthetic:")
    theirs = shutil.copytree(eurosat, tmp_path / "theirs")
    capsys.readouterr()
    assert main(["verify", str(theirs), "--results", str(tmp_path / "none")]) == 0
    assert "1 records: 1 recomputed, 0 stated, 0 refused" in capsys.readouterr().out


@pytest.mark.long
def test_merged_into_real_results_it_stands_apart(eurosat: Path, tmp_path: Path, run) -> None:
    assert run("linear") == 0
    results = tmp_path / "results"
    assert main(["claims", "--results", str(results)]) == 0
    compared = [results / name for name in ("claims.md", "known.md")]
    before = [path.read_bytes() for path in compared]
    assert main(["merge", str(eurosat), "--results", str(results)]) == 0
    text = (results / "leaderboard.md").read_text(encoding="utf-8")
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert [("(synthetic)" in line) for line in headings] == [False, True]
    assert main(["claims", "--results", str(results)]) == 0
    assert [path.read_bytes() for path in compared] == before


@pytest.mark.long
def test_commands_that_train_a_cell_again_refuse_a_rehearsal(eurosat: Path, capsys) -> None:
    cell = next((eurosat / "records").rglob("*.json")).stem.rpartition("-")[2]
    for arguments in (["interpolate", cell], ["ensemble", cell, cell[:8]]):
        assert main([*arguments, "--results", str(eurosat)]) == 2
    said = capsys.readouterr().err
    assert f"cell {cell} is of synthetic images; real ones were expected" in said


def test_show_says_it_and_how_to_run_it_again(eurosat: Path, capsys) -> None:
    cell = next((eurosat / "records").rglob("*.json")).stem.rpartition("-")[2]
    assert main(["show", cell, "--results", str(eurosat)]) == 0
    out = capsys.readouterr().out
    assert "images: synthetic, drawn to rehearse a job" in out
    assert "--data-root synthetic" in out


@pytest.mark.parametrize("act", ["status", "prepare", "check"])
def test_there_is_nothing_to_prepare(act: str, capsys) -> None:
    assert main(["data", act, "--suite", "vtab1k", "--data-root", "synthetic"]) == 2
    assert run_records.one_sentence(capsys).startswith("bench: there are no files of synthetic")


def test_doctor_says_it(tmp_path: Path, capsys) -> None:
    suite = small_vtab1k(tmp_path, ["svhn"])
    assert main(words("doctor", suite, tmp_path / "results", "--no-steps")) == 0
    assert "the images of all 1 tasks of small_vtab1k are synthetic" in capsys.readouterr().out


def test_a_card_without_pixels_is_refused_before_any_compute(tmp_path: Path, capsys) -> None:
    suite = small_vtab1k(tmp_path, ["svhn"])
    text = suite.read_text(encoding="utf-8").replace("pixels = [32, 32]\n", "")
    suite.write_text(text, encoding="utf-8")
    assert main(words("run", suite, tmp_path / "results")) == 2
    said = run_records.one_sentence(capsys)
    assert "1 of 1 tasks (svhn) cannot be drawn: the card of svhn does not say the pixels" in said
    assert not list((tmp_path / "results").rglob("*.json"))


def test_a_folder_of_that_name_is_no_guess(tmp_path: Path, capsys, monkeypatch) -> None:
    suite = small_vtab1k(tmp_path, ["svhn"])
    (tmp_path / "synthetic").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(words("run", suite, tmp_path / "results")) == 2
    assert "name it by its full path, or rename it" in run_records.one_sentence(capsys)
