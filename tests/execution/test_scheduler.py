"""Faults in a run: dying cells, killed runs, concurrent runs and damaged files."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.cli import main
from bench.execution import plan
from bench.execution.executors import EpochFinished, Event, JobFinished
from bench.execution.jobs import Job
from bench.execution.progress import RunProgress
from bench.execution.request import Request
from bench.execution.scheduler import Scheduler
from bench.records.leases import Leases
from bench.records.schema import Failure
from bench.records.store import Store
from bench.training.cell import Cell
from bench.utils import files
from support import paths, tiny

pytestmark = pytest.mark.usefixtures("no_figures")

ROOT = paths.REPO_ROOT
PLUGIN = ("--plugin", str(paths.FAULTY_METHODS))
FAULTS = {"fault_exit": "SystemExit", "fault_kill": "Killed", "fault_raise": "RuntimeError",
          "fault_hang": "Timeout"}  # fmt: skip
TWO = ("--workers", "2", "--timeout", "3")


def words(cards: Path, results: Path, methods: str, *more: str) -> list[str]:
    return tiny.command("run", cards, results, methods, *PLUGIN, *more)


def kept(results: Path) -> dict[str, dict]:
    """Every record by its cell's method, task and seed."""
    found = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (results / "records").rglob("*.json")
    ]
    return {
        "{method} {task} {seed}".format(**record["settings"]): record for record in found
    }  # one a cell, or keys would be fewer than files


def runs(results: Path) -> list[Path]:
    return sorted((results / "records").rglob("*.json"))


@pytest.fixture(scope="module")
def faulted(cards: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The results of 24 cells of which four end badly, and the exit status."""
    results = tmp_path_factory.mktemp("faulted") / "results"
    sound = words(cards, results, "linear,bias", "--seeds", "0,1,2,3,4", "--tasks", "light,dark")
    status = main.main([*sound, *TWO])
    assert status == 0
    return results, main.main(words(cards, results, ",".join(["linear", *FAULTS]), *TWO))


@pytest.mark.long
def test_cells_that_die_leave_a_record_of_why_and_the_others_their_results(
    faulted: tuple[Path, int],
) -> None:
    results, status = faulted
    found = kept(results)
    assert status == 1
    assert len(found) == len(runs(results)) == 24
    failed = {
        key.split()[0]: record["failure"] for key, record in found.items() if record["failure"]
    }
    assert {name: failure["error"] for name, failure in failed.items()} == FAULTS
    assert "SIGKILL" in failed["fault_kill"]["message"]
    assert "3 s" in failed["fault_hang"]["message"]
    assert "status 3" in failed["fault_exit"]["message"]


@pytest.mark.long
def test_a_second_run_does_those_that_failed_alone(
    faulted: tuple[Path, int], cards: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    shutil.copytree(faulted[0], results)
    before = {path: path.stat().st_mtime_ns for path in runs(results)}
    assert main.main(words(cards, results, ",".join(["linear", *FAULTS]), *TWO)) == 1
    again = {path for path in runs(results) if path.stat().st_mtime_ns != before[path]}
    assert {path.name.split("-")[0] for path in again} == set(FAULTS)


def test_only_failed_leaves_what_was_never_tried(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    main.main(words(cards, results, "fault_raise"))
    capsys.readouterr()
    main.main(words(cards, results, "fault_raise,linear", "--only", "failed", "--dry-run"))
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 of 2 cells to run")


def test_a_cell_that_fails_is_tried_as_often_as_asked(cards: Path, tmp_path: Path) -> None:
    assert main.main(words(cards, tmp_path / "results", "fault_raise", "--retry", "2")) == 1
    (record,) = kept(tmp_path / "results").values()
    assert record["environment"]["attempt"] == 3


def test_after_a_failure_no_other_cell_starts_where_that_is_asked(
    cards: Path, tmp_path: Path
) -> None:
    methods = "fault_raise,linear"  # in this order
    assert main.main(words(cards, tmp_path / "results", methods, "--fail-fast")) == 1
    assert [key.split()[0] for key in kept(tmp_path / "results")] == ["fault_raise"]


def test_no_more_cells_run_than_asked(cards: Path, tmp_path: Path) -> None:
    more = ("--seeds", "0,1,2", "--limit-cells", "2")
    assert main.main(words(cards, tmp_path / "results", "linear", *more)) == 0
    assert len(runs(tmp_path / "results")) == 2


def test_a_change_of_one_method_s_field_does_not_keep_the_others_from_running(
    cards: Path, tmp_path: Path
) -> None:
    assert main.main(words(cards, tmp_path / "results", "linear,slow", "--set", "seconds=0")) == 0


def test_cells_that_differ_in_a_field_alone_run_side_by_side(cards: Path, tmp_path: Path) -> None:
    executor = TwoAtATime([])
    first, second = (cells_of(cards, prompts) for prompts in (1, 2))
    display = RunProgress(Console(quiet=True), 2, 1)
    leases, store = Leases(tmp_path), Store(tmp_path)
    scheduler = Scheduler(executor, store, leases, display, "cpu", time.time())
    assert scheduler.run([*first, *second]) == 2  # both are reported as failed, and nothing breaks


@dataclass
class TwoAtATime:
    """Two jobs at a time, each of which reports an epoch and then fails, in turn."""

    running: list[Job]
    name: str = "beside"
    has_queue: bool = False

    def capacity(self) -> int:
        return 2

    def submit(self, job: Job, cell: Cell | None = None) -> None:
        self.running.append(job)

    def poll(self, seconds: float) -> list[Event]:
        epochs = [EpochFinished(job, 1, 0.5) for job in self.running]
        first, *self.running = self.running
        return [*epochs, JobFinished(first, Failure("failed", "Broken", "it broke"))]

    def cancel(self, job: Job) -> None:
        self.running.remove(job)

    def close(self) -> None:
        self.running.clear()

    def left_running(self) -> str:
        return ""


def cells_of(cards: Path, prompts: int) -> list[Cell]:
    changes = {"prompts": prompts, "epochs": 1, "warmup_epochs": 0, "test_evaluations": 1}
    asked = {"tasks": ["light"], "seeds": [0], "root": cards / "data", "changes": changes}
    return plan.plan_cells(Request(str(cards / "tiny.toml"), ["vpt_deep"], **asked))


def test_memory_that_runs_out_is_recorded_as_that_and_the_batch_stays(
    cards: Path, tmp_path: Path
) -> None:
    assert main.main(words(cards, tmp_path / "results", "fault_memory,linear")) == 1
    found = {key.split()[0]: record for key, record in kept(tmp_path / "results").items()}
    assert found["fault_memory"]["failure"]["error"] == "OutOfMemory"
    batches = {record["settings"]["recipe"]["batch"] for record in found.values()}
    assert len(batches) == 1


def test_a_limit_of_time_needs_a_process_to_stop(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(words(cards, tmp_path / "results", "linear", "--timeout", "1")) == 2
    assert "--workers from 1" in capsys.readouterr().err


def start(argv: list[str]) -> subprocess.Popen[bytes]:
    """A run in a process of its own."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "bench", *argv], cwd=ROOT, env=env, **quiet)


def wait_for(happened: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


@pytest.mark.long
def test_a_run_killed_at_random_times_loses_nothing_and_runs_no_cell_twice(
    cards: Path, tmp_path: Path
) -> None:
    rng, results = random.Random(1), tmp_path / "killed"
    more = ("--seeds", "0,1,2,3", "--workers", "1", "--set", "seconds=0.4")
    argv = words(cards, results, "linear,bias,slow", *more)
    written: dict[Path, int] = {}
    for _ in range(4):
        process = start(argv)
        before = len(runs(results))
        wait_for(lambda: len(runs(results)) > before or process.poll() is not None)  # noqa: B023
        time.sleep(rng.uniform(0, 0.6))
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in runs(results):
            assert written.setdefault(path, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
    assert main.main(argv) == 0
    assert (
        main.main(words(cards, tmp_path / "whole", "linear,bias,slow", *more[:2], *more[4:])) == 0
    )
    assert outcomes(results) == outcomes(tmp_path / "whole")
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in written.items())


def outcomes(results: Path) -> dict[str, tuple[float, list[float]]]:
    found = kept(results).items()
    return {key: (r["outcome"]["accuracy"], r["outcome"]["losses"]) for key, r in found}


@pytest.mark.long
def test_two_runs_at_once_run_no_cell_twice(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, log = tmp_path / "results", tmp_path / "log"
    counting = tmp_path / "counting.py"
    counting.write_text(COUNTING, encoding="utf-8")
    argv = words(cards, results, "counted", "--seeds", "0,1,2,3,4,5", "--workers", "1")
    monkeypatch.setenv("COUNTED", str(log))
    both = [start([*argv, "--plugin", str(counting)]) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    lines = log.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 6  # once each
    assert len({line.split()[0] for line in lines}) == 2  # and both had a share
    assert len(kept(results)) == len(runs(results)) == 6


COUNTING = """
import os, time
from dataclasses import dataclass
from methods import register
from methods.linear import Linear

@dataclass(frozen=True)
class Counted(Linear):
    def prepare(self, model, batches):
        with open(os.environ["COUNTED"], "a") as file:
            file.write(f"{os.getpid()} prepares\\n")
        time.sleep(0.5)
        self.attach(model)

register("counted", Counted())
"""


def test_an_interrupted_run_releases_its_leases(cards: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    process = start(words(cards, results, "fault_hang", "--workers", "1"))
    wait_for(lambda: list(Leases(results).active()))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 130
    assert not list(Leases(results).folder.glob("*.json"))
    assert (results / "leaderboard.md").exists()


def test_workers_end_with_who_started_them(cards: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    process = start(words(cards, results, "fault_hang", "--workers", "2"))
    wait_for(lambda: list(Leases(results).active()))
    started = children(process.pid)
    assert started
    process.kill()
    process.wait()
    wait_for(lambda: not any(Path(f"/proc/{child}").exists() for child in started), 120)


def children(parent: int) -> list[int]:
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(child) for path in tasks for child in path.read_text(encoding="utf-8").split()]


@pytest.mark.sample(1)
@pytest.mark.parametrize("content", ["", "{", '{"what": "is this"}'])
def test_rubbish_among_the_records_is_named_and_the_run_goes_on(
    content: str, cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    main.main(words(cards, results, "linear"))
    rubbish = runs(results)[0].with_name("rubbish.json")
    rubbish.write_text(content, encoding="utf-8")
    capsys.readouterr()
    assert main.main(words(cards, results, "linear,bias")) == 0
    assert "rubbish.json" in capsys.readouterr().err
    assert main.main(["verify", "--results", str(results)]) == 1
    assert "rubbish.json" in "".join(capsys.readouterr())


def test_a_full_disk_ends_the_run_and_keeps_what_is_there(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    main.main(words(cards, results, "linear"))
    before = {path: path.read_bytes() for path in runs(results)}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    assert main.main(words(cards, results, "linear,bias", "--force")) == 1
    assert "every finished cell is kept" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in runs(results)} == before
    assert not list(Leases(results).folder.glob("*.json"))


FORKING = """
import multiprocessing
from bench.execution import worker

given, replies = worker.isolate_stdio()
lines = worker._read_lines(given)  # from now on a thread waits for the next one
assert next(lines) == "first\\n"
child = multiprocessing.get_context("fork").Process(target=print)
child.start()
child.join(60)
child.kill()
print(child.exitcode, file=replies, flush=True)
"""


@pytest.mark.long
def test_a_worker_that_waits_for_jobs_can_start_processes_that_read_images() -> None:
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", FORKING], **pipes) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("first\n")
        process.stdin.flush()
        time.sleep(0.1)
        assert process.stdout.readline() == "0\n"
        process.stdin.close()
