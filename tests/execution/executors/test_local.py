"""The pool of worker processes: workers that die, hang or babble, at each moment of their life."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bench.cli import main
from bench.execution import jobs
from bench.execution.executors import EpochFinished, Event, JobFinished, Notice, local
from bench.execution.executors.local import LocalExecutor
from bench.execution.jobs import Job
from bench.records.leases import Leases
from bench.utils.errors import UserError
from support import executor_runs, paths, tiny

PATIENCE = 60  # seconds after which a pool counts as one that hangs
SCRIPT = paths.TESTS / "support" / "scripted_worker.py"
ONE, TWO = (Job(cell, {}, "", "cpu") for cell in ("one", "two"))

Pool = Callable[..., LocalExecutor]


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """A pool whose workers play these parts, one a start."""
    monkeypatch.setattr(local, "LONGEST_PAUSE", 0.01)
    made: list[LocalExecutor] = []

    def make(*parts: str, workers: int = 1, timeout: float | None = None, **variables: str):
        (tmp_path / "starts").mkdir()
        argv = [sys.executable, "-S", str(SCRIPT), str(tmp_path / "starts"), *parts]
        made.append(LocalExecutor(argv, [variables] * workers, timeout))
        return made[-1]

    yield make
    for one in made:
        one.close()


def until_ended(executor: LocalExecutor, jobs: Sequence[Job]) -> list[Event]:
    """Submit the jobs; return all events until their ends."""
    for job in jobs:
        executor.submit(job)
    events: list[Event] = []
    until = time.monotonic() + PATIENCE
    while sum(isinstance(event, JobFinished) for event in events) < len(jobs):
        assert time.monotonic() < until, f"they have not ended; but {events}"
        events += executor.poll(1.0)
    return events


def failure_of(executor: LocalExecutor, job: Job = ONE) -> tuple[str, str]:
    """The error and the message with which a job ends."""
    (end,) = [event for event in until_ended(executor, [job]) if isinstance(event, JobFinished)]
    assert end.failure
    return end.failure.error, end.failure.message


def notices(events: Sequence[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ("kill", "its process was killed by SIGKILL, as when memory runs out"),
        ("kill_when_ready", "its process was killed by SIGKILL, as when memory runs out"),
        ("kill_with_the_job", "its process was killed by SIGKILL, as when memory runs out"),
        (
            "break_at_import",
            "its process ended with status 1 (ModuleNotFoundError: No module named 'absent')",
        ),
        ("babble_when_idle", "its process wrote what is no message: 'hello\\n'"),
    ],
)
def test_a_worker_that_dies_before_its_job_begins_is_replaced_and_the_job_ends_well(
    pool: Pool, part: str, why: str
) -> None:
    events = until_ended(pool(part, part, part, "serve"), [ONE])
    assert JobFinished(ONE) in events
    assert notices(events) == [f"a worker did not start: {why}; it is replaced"] * 3


def test_all_workers_may_die_several_times_while_they_start(pool: Pool) -> None:
    events = until_ended(pool(*["kill"] * 6, "serve", workers=2), [ONE, TWO])
    assert {event.job.cell for event in events if isinstance(event, JobFinished)} == {"one", "two"}


def test_the_replacement_of_a_worker_that_died_in_a_job_may_die_as_well(pool: Pool) -> None:
    executor = pool("kill_in_the_job", "kill", "kill", "serve")
    assert failure_of(executor)[0] == "Killed"
    assert JobFinished(TWO) in until_ended(executor, [TWO])


def test_a_job_that_begins_makes_good_for_failed_starts(pool: Pool) -> None:
    parts = ["kill", "kill", "kill_in_the_job"] * 3
    executor = pool(*parts, "serve")
    for _ in range(3):
        assert failure_of(executor)[0] == "Killed"
    assert JobFinished(TWO) in until_ended(executor, [TWO])


def test_no_worker_that_can_start_is_said_with_its_last_line(pool: Pool, tmp_path: Path) -> None:
    executor = pool("break_at_import", workers=2)
    with pytest.raises(UserError, match=r"^a worker cannot start: .*status 1 .*'absent'\).*fail"):
        until_ended(executor, [ONE])
    assert len(list((tmp_path / "starts").iterdir())) <= 2 * (local.START_ATTEMPTS + 1)


def test_one_place_without_a_worker_does_not_keep_the_others_from_going_on(pool: Pool) -> None:
    executor = pool("serve", *["break_at_import"] * 30, workers=2)
    until = time.monotonic() + PATIENCE
    while max(slot.failed_starts for slot in executor.slots) <= local.START_ATTEMPTS:
        assert time.monotonic() < until
        until_ended(executor, [ONE, TWO])


def test_a_worker_that_never_becomes_ready_is_replaced(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "START_SECONDS", 0.3)
    executor = pool("hang", "serve")
    monkeypatch.setattr(local, "START_SECONDS", PATIENCE)
    events = until_ended(executor, [ONE])
    assert JobFinished(ONE) in events
    assert "was not ready within" in notices(events)[0]


BAD_LINES = (
    "hello",
    "[" * 100_000,
    "{}",
    "null",
    '{"ended": true}',
    '{"epoch": "x", "loss": 1}',
    '{"ended": true, "failure": {"odd": 1}}',
    '{"ended": true, "failure": 3}',
    "\x1b[0m",
)


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_worker_that_writes_what_is_no_message_counts_as_dead(pool: Pool, line: str) -> None:
    executor = pool("babble", "serve", BABBLE=line)
    error, message = failure_of(executor)
    assert (error, "what is no message: " in message) == ("BadMessage", True)
    assert len(message) < 120
    assert JobFinished(TWO) in until_ended(executor, [TWO])


def test_what_a_package_prints_while_it_is_imported_is_no_message(pool: Pool) -> None:
    events = until_ended(pool("print_first"), [ONE])
    assert not notices(events)
    assert JobFinished(ONE) in events


def test_a_loss_that_is_no_number_is_a_message(pool: Pool) -> None:
    epochs = [e for e in until_ended(pool("serve"), [ONE]) if isinstance(e, EpochFinished)]
    assert [str(event.loss) for event in epochs] == ["nan"]


def test_a_dead_worker_shows_even_if_a_child_of_it_holds_its_pipe(pool: Pool) -> None:
    assert failure_of(pool("die_and_leave_a_child"))[0] == "Killed"


@pytest.mark.parametrize("error", [OSError(11, "Resource temporarily unavailable"), MemoryError()])
def test_a_process_that_the_system_refuses_is_tried_again(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    real, refused = subprocess.Popen, [error, error]

    def popen(*args, **kwargs):
        if refused:
            raise refused.pop()
        return real(*args, **kwargs)

    monkeypatch.setattr(subprocess, "Popen", popen)
    executor = pool("serve")
    events = until_ended(executor, [ONE])
    assert JobFinished(ONE) in events
    assert "no process could be started: " in notices(events)[0]


def test_a_job_that_waits_for_a_worker_can_be_cancelled(pool: Pool) -> None:
    executor = pool("hang")
    executor.submit(ONE)
    executor.cancel(ONE)
    assert not executor.waiting


def test_a_job_keeps_its_time_also_while_another_reports_all_the_time(pool: Pool) -> None:
    executor = pool("kill", "hang_in_the_job", "chatter", workers=2, timeout=1.0)
    failures = [e.failure for e in until_ended(executor, [ONE, TWO]) if isinstance(e, JobFinished)]
    assert [failure and failure.error for failure in failures] == ["Timeout", "Timeout"]


@pytest.mark.parametrize(("status", "name"), [(-9, "SIGKILL"), (-40, "signal 40"), (-300, "300")])
def test_every_signal_has_a_name(status: int, name: str) -> None:
    assert name in jobs.failure_from_exit_status("its process", status).message


KILLS_STARTS = """
import os, signal, sys
from pathlib import Path

starts = Path(os.environ["STARTS"])
number = len(list(starts.iterdir()))
if "worker" in sys.orig_argv:
    (starts / str(os.getpid())).touch()
    if number < int(os.environ["KILLS"]):
        os.kill(os.getpid(), signal.SIGKILL)
"""
PRINTS = """
from methods import register
from methods.linear import Linear

print("loaded")
register("printing", Linear())
"""


@pytest.fixture
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many workers are killed while they start as $KILLS says."""
    monkeypatch.setattr(local, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr("bench.report.figures._figure_specs", list)
    for name in ("starts", "site"):
        (tmp_path / name).mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(KILLS_STARTS, encoding="utf-8")
    monkeypatch.setenv("STARTS", str(tmp_path / "starts"))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}{os.pathsep}{paths.REPO_ROOT}")


@pytest.mark.long
@pytest.mark.usefixtures("killed")
def test_a_grid_whose_workers_are_killed_while_they_start_is_whole(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KILLS", "5")
    plugin = tmp_path / "prints.py"  # while it is loaded, before the worker is ready
    plugin.write_text(PRINTS, encoding="utf-8")
    more = ("--seeds", "0,1", "--workers", "2", "--plugin", str(plugin))
    assert main.main(tiny.command("run", cards, tmp_path / "results", "printing", *more)) == 0
    found = executor_runs.records(tmp_path / "results")["printing"]
    assert [record["environment"]["attempt"] for record in found] == [1, 1]


@pytest.mark.usefixtures("killed")
def test_a_grid_whose_workers_cannot_start_ends_with_tables_and_without_leases(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KILLS", "1000")
    results, two = tmp_path / "results", ("--workers", "2")
    assert main.main(tiny.command("run", cards, results, "linear", *two)) == 2
    said = capsys.readouterr().err
    assert "bench: a worker cannot start: its process was killed by SIGKILL" in said
    assert "Traceback" not in said
    assert (results / "leaderboard.md").exists()
    assert not list(Leases(results).folder.glob("*.json"))
