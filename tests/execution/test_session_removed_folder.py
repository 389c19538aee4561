"""A results folder that somebody removes while a run writes to it: what is said, and what is left.

Each way out of a run says what is kept of the cells that have ended, and it is so. A folder that
is gone is not made again: it would look whole.
"""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bench.cli import main
from bench.execution.executors import POLL_SECONDS
from bench.records.leases import Leases
from bench.utils import files
from support import executor_runs, paths, tiny

pytestmark = pytest.mark.usefixtures("no_figures")

PLUGIN = ("--plugin", str(paths.FAULTY_METHODS))
HANGING = "linear,slow"  # in this order: the first has ended when the second hangs
NONE_KEPT = "(of 1 finished cells none is kept|no finished cell is kept)"
GONE = "is no longer there: it was removed or moved away"
Damage = Callable[[Path], object]


def remove_records(results: Path) -> None:
    shutil.rmtree(results / "records")


def replace_by_file(results: Path) -> None:
    results.rename(results.with_name("moved"))
    results.write_text("a file", encoding="utf-8")


DAMAGES: dict[str, tuple[Damage, str]] = {
    "removed": (shutil.rmtree, GONE),
    "moved": (lambda results: results.rename(results.with_name("moved")), GONE),
    "records removed": (remove_records, f"records {GONE}"),
    "replaced": (replace_by_file, GONE),
}


def damage_when_one_is_done(results: Path, damage: Damage) -> threading.Thread:
    """Start a thread that waits for the first record, and a lease on the next cell."""

    def act() -> None:
        until = time.monotonic() + executor_runs.PATIENCE
        while time.monotonic() < until:
            if list(results.glob("records/*/*/*/linear*.json")) and dict(Leases(results).active()):
                time.sleep(0.2)
                damage(results)
                return
            time.sleep(0.02)

    thread = threading.Thread(target=act)
    thread.start()
    return thread


@pytest.mark.long
@pytest.mark.parametrize("how", DAMAGES)
def test_a_run_whose_folder_goes_ends_with_what_is_kept(
    how: str, cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, (damage, said) = tmp_path / "results", DAMAGES[how]
    thread = damage_when_one_is_done(results, damage)
    more = ("--set", "seconds=600", "--workers", "1")
    argv = executor_runs.words(cards, results, HANGING, *PLUGIN, *more)
    assert main.main(argv[3:]) == 1
    thread.join()
    shown = capsys.readouterr().err
    assert re.search(f"{said}; {NONE_KEPT}\n", shown)
    assert "Traceback" not in shown
    if how in ("removed", "moved"):
        time.sleep(2 * POLL_SECONDS)  # in which whoever still runs would write
        assert not results.exists()
    elif how == "records removed":
        assert not (results / "records").exists()
        assert not list(Leases(results).folder.glob("*.json"))


@pytest.mark.long
@pytest.mark.parametrize("how", ["removed", "records removed"])
def test_bundles_end_as_well_where_the_folder_goes(how: str, cards: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="needs the extra slurm")
    results, (damage, said) = tmp_path / "results", DAMAGES[how]
    thread = damage_when_one_is_done(results, damage)
    more = ("--set", "seconds=600", "--executor", "slurm-local", "--workers", "1")
    done = executor_runs.run(cards, results, HANGING, *PLUGIN, *more)
    thread.join()
    assert done.returncode == 1
    assert re.search(f"{said}; {NONE_KEPT}\n", done.stderr)
    assert "Traceback" not in done.stderr
    wait_for(lambda: not running_in(results))
    assert not (results / "records").exists()
    assert results.exists() == (how == "records removed")


@pytest.mark.sample(1)
@pytest.mark.parametrize("how", DAMAGES)
def test_a_cell_of_this_process_is_not_written_into_a_folder_that_is_gone(
    how: str, cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, (damage, said) = tmp_path / "results", DAMAGES[how]
    thread = damage_when_one_is_done(results, damage)
    argv = tiny.command("run", cards, results, HANGING, *PLUGIN, "--set", "seconds=2")
    assert main.main(argv) == 1
    thread.join()
    assert re.search(f"{said}; {NONE_KEPT}\n", capsys.readouterr().err)
    assert results.is_dir() == (how == "records removed")
    assert not (results / "records").exists()
    assert not (results / "predictions" / "new").exists()


def test_records_that_go_one_by_one_are_counted_at_the_end(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    thread = damage_when_one_is_done(
        results, lambda _: [path.unlink() for path in results.glob("records/*/*/*/*.json")]
    )
    argv = tiny.command("run", cards, results, HANGING, *PLUGIN, "--set", "seconds=2")
    assert main.main(argv) == 1
    thread.join()
    shown = capsys.readouterr().err
    assert "of 2 finished cells 1 is kept: 1 records were removed" in shown
    assert "1 of 2 cells have no result" in shown


@pytest.mark.sample(1)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
def test_a_disk_that_takes_nothing_more_leaves_one_sentence(
    number: int,
    cards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = tmp_path / "results"
    assert main.main(tiny.command("run", cards, results, "linear")) == 0

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", refuse)
    if number == errno.EROFS:  # nor can anything be removed
        monkeypatch.setattr(Path, "unlink", refuse)
    assert main.main(tiny.command("run", cards, results, "linear,bias", "--force")) == 1
    shown = capsys.readouterr().err
    assert f"{os.strerror(number)}; every finished cell is kept\n" in shown
    assert len(executor_runs.records(results)) == 1


WITHOUT_FIGURES = """
import signal
import sys
from bench.cli import main
from bench.report import figures

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background
    signal.signal(signal.SIGINT, signal.default_int_handler)

figures._figure_specs = list
sys.exit(main.main(sys.argv[1:]))
"""

HEEDS_HANGUPS = """
import signal
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests under nohup would hand down that it is ignored
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        (signal.SIGTERM, 0.5),
        pytest.param(signal.SIGINT, 0.0, marks=pytest.mark.long),
        pytest.param(signal.SIGHUP, 0.0, marks=pytest.mark.long),
    ],
)
def test_an_interrupt_while_workers_start_leaves_nothing_behind(
    sent: signal.Signals, seconds: float, cards: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    words = executor_runs.words(cards, results, "linear", "--workers", "2")[3:]
    argv = [sys.executable, "-c", HEEDS_HANGUPS + WITHOUT_FIGURES, *words]
    env = executor_runs.environment()
    with subprocess.Popen(argv, env=env, stdout=-1, stderr=-1, text=True) as process:
        until = time.monotonic() + executor_runs.PATIENCE
        while len(started := children(process.pid)) < 2:
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(seconds)
        process.send_signal(sent)
        _, said = process.communicate(timeout=executor_runs.PATIENCE)
    assert process.returncode == 130, said
    assert said.endswith("bench: interrupted; every finished cell is kept\n")
    assert "Traceback" not in said
    assert not any(Path(f"/proc/{child}").exists() for child in started)
    assert not list(Leases(results).folder.glob("*.json"))


@pytest.mark.long
def test_a_hangup_that_is_ignored_stays_ignored(cards: Path, tmp_path: Path) -> None:
    words = executor_runs.words(cards, tmp_path / "results", "linear", "--workers", "1")[3:]
    given = ["nohup", sys.executable, "-c", WITHOUT_FIGURES, *words]
    with subprocess.Popen(given, env=executor_runs.environment(), stdout=-1, stderr=-1) as process:
        while not children(process.pid):
            time.sleep(0.01)
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=executor_runs.PATIENCE)
    assert process.returncode == 0


def running_in(results: Path) -> list[psutil.Process]:
    """The processes whose command names a folder."""
    return [one for one in psutil.process_iter(["cmdline"]) if str(results) in str(one.info)]


def wait_for(happened: Callable[[], object]) -> None:
    until = time.monotonic() + executor_runs.PATIENCE
    while not happened():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.1)


def children(parent: int) -> list[int]:
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(child) for path in tasks for child in path.read_text(encoding="utf-8").split()]
