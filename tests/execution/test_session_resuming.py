"""Runs that are killed in the middle of a cell go on from its checkpoint."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bench.cli import main
from methods.linear import Linear
from support import paths, tiny
from support.run_records import by_method, measured_values, register

pytestmark = pytest.mark.usefixtures("no_figures")

EPOCHS = 20
LONG = ("--set", f"epochs={EPOCHS}", "--set", "test_evaluations=4", "--set", "warmup_epochs=2")
EACH_EPOCH = ("--checkpoint-every", "0")


def checkpoints(results: Path) -> list[Path]:
    return [path for path in (results / ".checkpoints").glob("*") if path.name[0] != "."]


def kill_in_a_cell(words: list[str], results: Path) -> None:
    """Start a run, and kill it when a checkpoint has been there for some epochs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", *words],
        cwd=paths.REPO_ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not checkpoints(results):
        time.sleep(0.005)
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.fixture
def words(cards):
    """The command of a long cell that writes a checkpoint at each epoch's end."""

    def make(results: Path, method: str = "vpt_deep", *more: str) -> list[str]:
        return tiny.command("run", cards, results, method, *LONG, *EACH_EPOCH, *more)

    return make


@pytest.fixture(scope="module")
def killed(cards, tmp_path_factory) -> Path:
    """The results of a run that was killed while a worker had its cell; not to be changed."""
    results = tmp_path_factory.mktemp("killed") / "results"
    command = tiny.command("run", cards, results, "vpt_deep", *LONG, *EACH_EPOCH, "--workers", "1")
    kill_in_a_cell(command, results)
    return results


@pytest.fixture(scope="module")
def whole(cards, tmp_path_factory) -> dict[str, dict]:
    """The numbers of a run that was not killed."""
    results = tmp_path_factory.mktemp("whole") / "results"
    assert main.main(tiny.command("run", cards, results, "vpt_deep", *LONG)) == 0
    assert not checkpoints(results)  # by default, a short cell writes none
    assert "resumed_after_epochs" not in by_method(results)["vpt_deep"]["environment"]
    return measured_values(results)


def test_a_killed_cell_goes_on_to_the_numbers_of_a_whole_one(
    killed, whole, words, tmp_path, capsys
):
    results = shutil.copytree(killed, tmp_path / "results")
    assert main.main(words(results)) == 0
    assert "is not used" not in capsys.readouterr().err
    assert measured_values(results) == whole
    about = by_method(results)["vpt_deep"]["environment"]
    (after,) = about["resumed_after_epochs"]
    assert 0 < after < EPOCHS
    assert 0 < about["seconds_before_resuming"] < about["seconds"]
    assert not checkpoints(results)
    assert main.main(["verify", "--results", str(results)]) == 0


@pytest.mark.long
def test_who_reads_a_results_folder_is_not_troubled_by_a_checkpoint(
    killed, words, cards, tmp_path, capsys
):
    results = shutil.copytree(killed, tmp_path / "results")
    for act in (["report"], ["verify"]):
        assert main.main([*act, "--results", str(results)]) == 0
    chosen = ("--suite", str(cards / "tiny.toml"), "--data-root", str(cards / "data"))
    changes = [word for change in tiny.QUICK for word in ("--set", change)]
    where = ("--tasks", "light", "--methods", "vpt_deep", "--results", str(results))
    assert main.main(["status", *chosen, *where, *changes, *LONG]) == 0
    assert "0 done, 0 running, 0 failed, 1 left" in capsys.readouterr().out.replace("\n", ", ")
    assert main.main(words(results, "linear")) == 0
    capsys.readouterr()
    main.main(["merge", str(results), "--results", str(tmp_path / "ours")])
    (line,) = capsys.readouterr().err.splitlines()  # the tests' own suite is nobody else's
    assert "no suite 'tiny'" in line
    assert not (tmp_path / "ours" / ".checkpoints").exists()
    assert len(checkpoints(results)) == 1


@pytest.mark.long
def test_a_damaged_checkpoint_is_named_and_its_cell_starts_over(
    killed, whole, words, tmp_path, capsys
):
    results = shutil.copytree(killed, tmp_path / "results")
    (path,) = checkpoints(results)
    path.write_bytes(path.read_bytes()[:-100])
    assert main.main(words(results)) == 0
    assert f"bench: {path} is not used: " in capsys.readouterr().err.replace("\n", " ")
    assert measured_values(results) == whole
    (said,) = by_method(results)["vpt_deep"]["environment"]["checkpoint_problems"]
    assert said.endswith("the cell starts over")
    assert not checkpoints(results)


@dataclass(frozen=True)
class Failing(Linear):
    """Fails at the end of epoch `fails_at`, as often as `left` says."""

    fails_at: int = 3
    left: ClassVar = [0]

    def after_epoch(self, model: Any, epoch: int) -> None:
        if epoch == self.fails_at and self.left[0]:
            self.left[0] -= 1
            raise RuntimeError("it broke")


@pytest.mark.parametrize(
    ("times", "status", "after"), [(1, 0, [2]), (9, 1, None)], ids=["once", "always"]
)
def test_a_further_attempt_goes_on_and_a_cell_that_fails_for_good_leaves_no_checkpoint(
    times, status, after, words, tmp_path, monkeypatch
):
    register(monkeypatch, "failing", Failing())
    monkeypatch.setattr(Failing, "left", [times])
    assert main.main(words(tmp_path, "failing", "--retry", "1", "--set", "epochs=5")) == status
    assert by_method(tmp_path)["failing"]["environment"].get("resumed_after_epochs") == after
    assert not checkpoints(tmp_path)
