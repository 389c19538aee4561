"""The Slurm executor, through submitit's local stand-in for Slurm."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from bench.cli import main
from bench.execution import jobs, plan
from bench.execution.executors import Event, JobFinished, JobStarted, slurm
from bench.execution.executors.slurm import SlurmExecutor
from bench.execution.executors.slurm_batch import BatchDir, pack_by_duration
from bench.execution.jobs import Job
from bench.execution.request import Request, RunOptions
from bench.records.leases import Leases
from support import executor_runs, tiny

pytest.importorskip("submitit", reason="needs the extra slurm")

CHANGES = {"epochs": 1, "warmup_epochs": 0, "test_evaluations": 1, "precision": "fp32"}


@pytest.fixture(scope="module")
def grid(cards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the grid, run as two batches at once."""
    results = tmp_path_factory.mktemp("grid") / "results"
    done = executor_runs.run_grid(cards, results, "--executor", "slurm-local", "--workers", "2")
    assert done.returncode == 1, done.stderr
    return results


@pytest.fixture
def work(cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    """A job by its method and seed; `slow` takes two seconds."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert not _load_plugin()

    def job(method: str, seed: int = 0) -> Job:
        changes = CHANGES | ({"seconds": 2.0} if method == "slow" else {})
        names = {"tasks": ["light"], "seeds": [seed], "root": cards / "data", "changes": changes}
        cells = plan.plan_cells(Request(str(cards / "tiny.toml"), [method], **names))
        return jobs.job_for(cells[0], "cpu")

    return job


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[SlurmExecutor]:
    made = _executor(tmp_path / "results")
    yield made
    for sent in made.submitted:
        sent.handle.cancel()
        sent.handle._process.wait(executor_runs.PATIENCE)


@pytest.mark.long
def test_the_leaderboard_is_that_of_one_process(grid: Path, cards: Path, tmp_path: Path) -> None:
    assert main.main(tiny.command("run", cards, tmp_path / "here", executor_runs.HEALTHY)) == 0
    here = executor_runs.tables(tmp_path / "here", tmp_path / "a")
    assert executor_runs.tables(grid, tmp_path / "b") == here


def test_failures_are_recorded_with_their_cause(grid: Path) -> None:
    assert executor_runs.causes(grid) == executor_runs.CAUSES


@pytest.mark.long
def test_no_lease_is_left(grid: Path) -> None:
    assert not dict(Leases(grid).active())


@pytest.mark.long
def test_a_requeued_batch_goes_on_with_what_is_left(
    work: Callable[..., Job], executor: SlurmExecutor
) -> None:
    for job in (work("linear"), work("slow"), work("bias")):
        executor.submit(job)
    _until(executor, lambda event: event == JobStarted(work("slow")))
    batch = executor.submitted[0]
    controller = psutil.Process(int(batch.handle.job_id))
    controller.children()[0].send_signal(signal.SIGUSR2)  # as before Slurm's end of a job
    ended = [
        event
        for event in _until(executor, _is_end_of(work("bias")))
        if isinstance(event, JobFinished)
    ]
    assert ended == [JobFinished(work("slow")), JobFinished(work("bias"))]
    messages, _ = batch.batch_dir.read_log()
    begun = [message["begun"] for message in messages if "begun" in message]
    assert begun == [work(name).cell for name in ("linear", "slow", "slow", "bias")]


@pytest.mark.long
@pytest.mark.parametrize("way", ["terminate", pytest.param("kill", marks=pytest.mark.long)])
def test_the_cells_of_a_batch_that_dies_fail_with_its_cause(
    work: Callable[..., Job], executor: SlurmExecutor, way: str
) -> None:
    for job in (work("slow"), work("linear")):
        executor.submit(job)
    _until(executor, lambda event: event == JobStarted(work("slow")))
    controller = psutil.Process(int(executor.submitted[0].handle.job_id))
    getattr(controller.children()[0], way)()
    events = _until(executor, _is_end_of(work("linear")))
    failures = [event.failure for event in events if isinstance(event, JobFinished)]
    assert [failure and failure.error for failure in failures] == ["JobEnded", "JobEnded"]
    assert not dict(executor.leases.active())


@pytest.mark.long
def test_a_batch_that_is_killed_before_any_cell_began_is_submitted_again(
    work: Callable[..., Job], executor: SlurmExecutor
) -> None:
    executor.submit(work("linear"))
    for _ in range(2):
        _kill_while_it_starts(executor)
    events = _until(executor, _is_end_of(work("linear")))
    assert events[-1] == JobFinished(work("linear"))
    assert len(list((executor.results / "slurm").glob("*/*/jobs.jsonl"))) == 3


def test_a_batch_that_never_begins_fails_its_cells(
    work: Callable[..., Job], executor: SlurmExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "START_ATTEMPTS", 1)
    executor.submit(work("linear"))
    last = _kill_while_it_starts(executor)[-1]
    assert isinstance(last, JobFinished)
    assert last.failure
    assert last.failure.error == "JobEnded"


def test_what_is_no_batch_of_an_earlier_run_is_left_out(tmp_path: Path) -> None:
    for name, content in {
        "a/0": b"local not-a-number",
        "a/1": b"\xff\xfe",
        "a/2": b"",
        "a/3": b"pbs 12",
        "a/4": f"local {os.getpid()}".encode(),  # of another program, which got its number
    }.items():
        batch = tmp_path / "results" / "slurm" / name
        batch.mkdir(parents=True)
        (batch / "id").write_bytes(content)
        (batch / "jobs.jsonl").write_text(Job("1", {}, "", "cpu").to_json(), encoding="utf-8")
    (tmp_path / "results" / "slurm" / "a" / "5").mkdir()
    os.mkfifo(tmp_path / "results" / "slurm" / "a" / "5" / "id")
    assert _executor(tmp_path / "results").submitted == []


@pytest.mark.parametrize(
    "line",
    [
        b'{"cell": "1", "epo{"begun": "1"}',
        b"[]",
        b"3",
        b"\xff",
        b'{"ended": "1"}',
        b'{"ended": "1", "failure": {"odd": 1}}',
        b'{"begun": 1}',
        b"{}",
        b"[" * 100_000,
    ],
)
def test_a_line_of_a_log_that_is_no_message_is_skipped(line: bytes, tmp_path: Path) -> None:
    batch = BatchDir(tmp_path)
    batch.append_log(begun="1")
    with (tmp_path / "log.jsonl").open("ab") as log:
        log.write(line + b"\n")
    batch.append_log(ended="1", failure=None)
    messages, offset = batch.read_log()
    assert messages == [{"begun": "1"}, {"ended": "1", "failure": None}]
    assert offset == (tmp_path / "log.jsonl").stat().st_size


@pytest.mark.long
def test_a_second_run_waits_for_the_batches_of_the_first(
    work: Callable[..., Job], executor: SlurmExecutor
) -> None:
    executor.submit(work("slow"))
    _until(executor, lambda event: event == JobStarted(work("slow")))
    assert executor.left_running().startswith("1 bundles of cells go on: the same command waits")
    second = _executor(executor.results)
    second.submit(work("slow"))
    _until(second, lambda event: event == JobFinished(work("slow")))
    _until(executor, lambda event: event == JobFinished(work("slow")))
    assert len(list((executor.results / "slurm").glob("*/*/log.jsonl"))) == 1
    assert executor.left_running() == second.left_running() == ""
    assert _executor(executor.results).submitted == []


@pytest.mark.long
def test_a_cell_that_another_run_has_is_not_run_twice(
    work: Callable[..., Job], executor: SlurmExecutor
) -> None:
    other = Leases(executor.results)
    assert other.acquire(work("linear").cell, {})
    for job in (work("linear"), work("bias")):
        executor.submit(job)
    _until(executor, _is_end_of(work("bias")))
    assert [job.request["method"] for job, _ in executor.foreign] == ["linear"]
    other.release(work("linear").cell)
    assert _until(executor, _is_end_of(work("linear")))[-1] == JobFinished(work("linear"))


@pytest.mark.long
def test_a_cell_that_is_cancelled_is_left_out(
    work: Callable[..., Job], executor: SlurmExecutor
) -> None:
    for job in (work("slow"), work("linear"), work("bias")):
        executor.submit(job)
    _until(executor, lambda event: event == JobStarted(work("slow")))
    executor.cancel(work("linear"))
    executor.cancel(work("slow"))
    events = _until(executor, _is_end_of(work("bias")))
    assert events == [JobStarted(work("bias")), events[-2], JobFinished(work("bias"))]
    assert list(executor_runs.records(executor.results)) == ["bias"]


def test_batches_hold_what_the_time_allows() -> None:
    made = [Job(str(seconds), {}, "", "cpu") for seconds in (5, 3, 20, 1, 1, 8)]
    found = pack_by_duration(made, lambda job: float(job.cell), target=10)
    assert [[job.cell for job in batch] for batch in found] == [
        ["5", "3"],
        ["20"],
        ["1", "1", "8"],
    ]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--executor", "slurm"], "no Slurm here"),
        (["--executor", "slurm-local", "--slurm", "partitoin=a"], "no such option; there are part"),
        (["--slurm", "partition=a"], "--slurm is for --executor slurm, not local"),
        (["--executor", "slurm-local", "--workers", "0"], "needs --workers from 1"),
        (["--executor", "slurm", "--slurm", "partition"], "expected OPTION=VALUE"),
    ],
)
def test_what_cannot_be_asked_of_slurm_is_refused(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], sentence: str
) -> None:
    given = executor_runs.words(cards, tmp_path, "linear", *more)[3:]
    assert _status(given) == 2
    assert sentence in capsys.readouterr().err


def _executor(results: Path) -> SlurmExecutor:
    options = RunOptions(executor="slurm-local", plugins=[executor_runs.FAULTY])
    return SlurmExecutor(results, "cpu", options)


def _kill_while_it_starts(executor: SlurmExecutor) -> list[Event]:
    """Kill the next batch that is submitted before it writes a line; return the events of that."""
    events: list[Event] = []
    before = list(executor.submitted)
    while not (new := [batch for batch in executor.submitted if batch not in before]):
        executor.poll(0.1)
    controller = psutil.Process(int(new[0].handle.job_id))
    while not (children := controller.children()):
        time.sleep(0.01)
    children[0].kill()
    while new[0] in executor.submitted and new[0].jobs:
        events += executor.poll(0.1)
    assert not new[0].log_offset
    return events


def _load_plugin() -> list[str]:
    from bench.execution import selection

    return selection.load_plugins([executor_runs.FAULTY])


def _status(given: list[str]) -> object:
    try:
        return main.main(given)
    except SystemExit as error:  # what is no option at all
        return error.code


def _is_end_of(job: Job) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, JobFinished) and event.job == job


def _until(executor: SlurmExecutor, expected: Callable[[Event], bool]) -> list[Event]:
    """All events until the expected one."""
    events: list[Event] = []
    until = time.monotonic() + executor_runs.PATIENCE
    while not any(map(expected, events)):
        assert time.monotonic() < until, f"it has not come; but {events}"
        events += executor.poll(0.1)
    return events
