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

from bench import crew, deaths, jobs, plugins, runner
from bench.crew import Crew
from bench.jobs import Job
from bench.records import Failure, Store
from bench.runner import Ending, Progress

DEADLINE = 1800.0  # seconds that a process waits for the others
SLACK = 0.5  # seconds in which a death shows, where another process has missed the dead one
GRACE = 10.0  # seconds for a process to end by itself when all is done


@dataclass(frozen=True)
class Task:
    """What each of the processes is given."""

    job: Job
    results: Path
    plugins: Sequence[Path]
    threads: int
    meeting: Path  # a file that is not there yet
    deadline: float  # seconds


@dataclass(frozen=True)
class Member:
    """One of the processes, by its number, and the line on which it tells how it goes."""

    number: int
    process: SpawnProcess
    line: Connection


def run(job: Job, results: Path, progress: Progress) -> Ending:
    """How the cell of a job ends on `job.processes` processes, on a GPU each where it runs on GPUs.

    No record is written.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        meeting, threads = Path(folder).resolve() / "meeting", threads_of_each(job)
        task = Task(job, results.resolve(), plugins.loaded(), threads, meeting, DEADLINE)
        with _started(task) as members:
            return _watched(members, progress)


def threads_of_each(job: Job) -> int:
    """This process's threads, divided."""
    return max(1, torch.get_num_threads() // job.processes)


@contextmanager
def _started(task: Task) -> Iterator[list[Member]]:
    """The processes, none of which outlives this."""
    members: list[Member] = []
    try:
        for number in range(task.job.processes):
            members.append(_member(number, task))
        yield members
    finally:
        for member in members:
            member.process.kill()
            member.process.join()
            member.line.close()


def _member(number: int, task: Task) -> Member:
    context = get_context("spawn")  # a fork would take over threads and GPUs
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(number, task, theirs))
    process.start()
    theirs.close()  # or its end would not show
    return Member(number, process, ours)


def _watched(members: Sequence[Member], progress: Progress) -> Ending:
    """How the first process ends; or, as soon as any fails, that."""
    running, first = {member.line: member for member in members}, None
    while running:
        for line in wait(list(running)):
            assert isinstance(line, Connection)
            message = _said(line)
            if message is None:
                return Ending(None, _death(running[line], len(members)))
            if not isinstance(message, Ending):
                progress(*message)
                continue
            member = running.pop(line)
            if message.failure:
                return _cause(message, list(running.values()), len(members))
            first = message if member.number == 0 else first
    for member in members:
        member.process.join(GRACE)
    assert first
    return first


def _said(line: Connection) -> Ending | tuple[int, float, float | None] | None:
    """What a process says; None: it is over."""
    with suppress(EOFError, ConnectionResetError):
        return line.recv()
    return None


def _cause(ending: Ending, others: Sequence[Member], count: int) -> Ending:
    """Why one process failed: because it missed another, where that is dead."""
    lines = {member.line: member for member in others}
    for line in wait(list(lines), SLACK):
        assert isinstance(line, Connection)
        if _said(line) is None:
            return Ending(None, _death(lines[line], count))
    return ending


def _death(member: Member, count: int) -> Failure:
    member.process.join(GRACE)
    status = member.process.exitcode
    return deaths.failure(f"process {member.number + 1} of {count}", status or 0)


def _serve(number: int, task: Task, line: Connection) -> None:
    """Do a process's part, and say how it went; ends with whoever started it."""
    faulthandler.enable()  # a crash tells its place on standard error
    Thread(target=_end_with, args=(line,), daemon=True).start()
    torch.set_num_threads(task.threads)
    plugins.load(task.plugins)
    ending = runner.attempt(partial(_part, number, task, line))
    line.send(ending)
    if ending.failure:
        os._exit(1)  # a tidy end may wait for the others


def _part(number: int, task: Task, line: Connection) -> runner.Measured:
    job = task.job
    device = torch.device(job.device, number) if job.device == "cuda" else torch.device(job.device)
    _stay_on_this_machine()
    with crew.joined(number, job.processes, device, task.meeting, task.deadline) as several:
        work = _along if number else partial(_measured, task.results, line)
        return work(job, device, several)


def _measured(
    results: Path, line: Connection, job: Job, device: torch.device, several: Crew
) -> runner.Measured:
    told = partial(_tell, line)
    return runner.measure(jobs.cell(job), Store(results), device, told, several)


def _along(job: Job, device: torch.device, several: Crew) -> runner.Measured:
    runner.train(jobs.cell(job), device, lambda *_: None, several)
    return None, {}


def _tell(line: Connection, epoch: int, loss: float, accuracy: float | None) -> None:
    line.send((epoch, loss, accuracy))


def _end_with(line: Connection) -> None:
    with suppress(OSError, EOFError):
        line.recv()
    os._exit(0)


def _stay_on_this_machine() -> None:
    """Let the processes talk through the loopback interface, unless the user names another."""
    loopback = next((n for _, n in socket.if_nameindex() if n.startswith("lo")), None)
    for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        if loopback:
            os.environ.setdefault(variable, loopback)
