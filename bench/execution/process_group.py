"""A cell on several processes of this machine: they are started, watched and ended here.

The first of them measures; the others do their parts. Whatever happens to one happens to the cell.
"""

import faulthandler
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from threading import Thread

import torch

from bench.data import distributed
from bench.data.distributed import ProcessGroup
from bench.execution import jobs, plugins
from bench.execution.jobs import Job
from bench.records.schema import Failure
from bench.records.store import Store
from bench.training import runner
from bench.training.callbacks import ProgressCallback
from bench.training.runner import RunResult

DEADLINE = 1800.0  # seconds that a process waits for the others
DEATH_SECONDS = 0.5  # seconds in which a death shows, where another process has missed the dead one
EXIT_SECONDS = 10.0  # seconds for a process to end by itself when all is done


@dataclass(frozen=True)
class RankSpec:
    """What each of the processes is given."""

    job: Job
    results: Path
    plugins: Sequence[Path]
    threads: int
    rendezvous_file: Path  # a file that is not there yet
    deadline: float  # seconds


@dataclass(frozen=True)
class RankProcess:
    """One of the processes, by its number, and the line on which it tells how it goes."""

    rank: int
    process: SpawnProcess
    pipe: Connection


def run_distributed(job: Job, results: Path, progress: ProgressCallback) -> RunResult:
    """How the cell of a job ends on `job.processes` processes, on a GPU each where it runs on GPUs.

    No record is written.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        meeting, threads = Path(folder).resolve() / "meeting", threads_per_rank(job)
        task = RankSpec(job, results.resolve(), plugins.loaded_files(), threads, meeting, DEADLINE)
        with _start_ranks(task) as members:
            return _wait_for_ranks(members, progress)


def threads_per_rank(job: Job) -> int:
    """This process's threads, divided."""
    return max(1, torch.get_num_threads() // job.processes)


@contextmanager
def _start_ranks(task: RankSpec) -> Iterator[list[RankProcess]]:
    """The processes, none of which outlives this."""
    members: list[RankProcess] = []
    try:
        for number in range(task.job.processes):
            members.append(_start_rank(number, task))
        yield members
    finally:
        for member in members:
            member.process.kill()
            member.process.join()
            member.pipe.close()


def _start_rank(number: int, task: RankSpec) -> RankProcess:
    context = get_context("spawn")  # a fork would take over threads and GPUs
    ours, theirs = context.Pipe()
    process = context.Process(target=_rank_main, args=(number, task, theirs))
    process.start()
    theirs.close()  # or its end would not show
    return RankProcess(number, process, ours)


def _wait_for_ranks(members: Sequence[RankProcess], progress: ProgressCallback) -> RunResult:
    """How the first process ends; or, as soon as any fails, that."""
    running, first = {member.pipe: member for member in members}, None
    while running:
        for line in wait(list(running)):
            assert isinstance(line, Connection)
            message = _receive(line)
            if message is None:
                return RunResult(None, _exit_failure(running[line], len(members)))
            if not isinstance(message, RunResult):
                progress(*message)
                continue
            member = running.pop(line)
            if message.failure:
                return _first_failure(message, list(running.values()), len(members))
            first = message if member.rank == 0 else first
    for member in members:
        member.process.join(EXIT_SECONDS)
    assert first
    return first


def _receive(line: Connection) -> RunResult | tuple[int, float, float | None] | None:
    """What a process says; None: it is over."""
    with suppress(EOFError, ConnectionResetError):
        return line.recv()
    return None


def _first_failure(ending: RunResult, others: Sequence[RankProcess], count: int) -> RunResult:
    """Why one process failed: because it missed another, where that is dead."""
    lines = {member.pipe: member for member in others}
    for line in wait(list(lines), DEATH_SECONDS):
        assert isinstance(line, Connection)
        if _receive(line) is None:
            return RunResult(None, _exit_failure(lines[line], count))
    return ending


def _exit_failure(member: RankProcess, count: int) -> Failure:
    member.process.join(EXIT_SECONDS)
    status = member.process.exitcode
    return jobs.failure_from_exit_status(f"process {member.rank + 1} of {count}", status or 0)


def _rank_main(number: int, task: RankSpec, line: Connection) -> None:
    """Do a process's part, and say how it went; ends with whoever started it."""
    faulthandler.enable()  # a crash tells its place on standard error
    Thread(target=_exit_with_parent, args=(line,), daemon=True).start()
    torch.set_num_threads(task.threads)
    plugins.load_plugins(task.plugins)
    ending = runner.catch_failures(partial(_run_rank, number, task, line))
    line.send(ending)
    if ending.failure:
        os._exit(1)  # a tidy end may wait for the others


def _run_rank(number: int, task: RankSpec, line: Connection) -> runner.MeasuredOutcome:
    job = task.job
    device = torch.device(job.device, number) if job.device == "cuda" else torch.device(job.device)
    _use_loopback()
    with distributed.init_process_group(
        number, job.processes, device, task.rendezvous_file, task.deadline
    ) as several:
        work = _run_other_rank if number else partial(_run_rank_0, task.results, line)
        return work(job, device, several)


def _run_rank_0(
    results: Path, line: Connection, job: Job, device: torch.device, several: ProcessGroup
) -> runner.MeasuredOutcome:
    told = partial(_send_epoch, line)
    return runner.train_and_evaluate(jobs.resolve_cell(job), Store(results), device, told, several)


def _run_other_rank(
    job: Job, device: torch.device, several: ProcessGroup
) -> runner.MeasuredOutcome:
    runner.train(jobs.resolve_cell(job), device, lambda *_: None, several)
    return None, {}


def _send_epoch(line: Connection, epoch: int, loss: float, accuracy: float | None) -> None:
    line.send((epoch, loss, accuracy))


def _exit_with_parent(line: Connection) -> None:
    with suppress(OSError, EOFError):
        line.recv()
    os._exit(0)


def _use_loopback() -> None:
    """Let the processes talk through the loopback interface, unless the user names another."""
    loopback = next((n for _, n in socket.if_nameindex() if n.startswith("lo")), None)
    for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        if loopback:
            os.environ.setdefault(variable, loopback)
