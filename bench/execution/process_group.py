"""Process group of one cell on this machine: starts the ranks, watches them and ends them.

Rank 0 measures; the others compute their shards. The failure of one rank is the cell's, except
while the ranks start: then nothing has been computed, and all of them are started again.
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
from time import monotonic, sleep

import torch

from bench.data import distributed
from bench.execution import jobs, selection
from bench.execution.jobs import Job
from bench.records.schema import Failure
from bench.records.store import Store
from bench.training import numerics, results, runner
from bench.training.callbacks import ProgressCallback
from bench.training.checkpoints import checkpoints_of
from bench.training.results import RunResult
from bench.utils import interrupts
from bench.utils.errors import first_line

DEADLINE = 1800.0  # seconds that a rank waits for the others
DEATH_SECONDS = 0.5  # in which a death shows, where another rank has missed the dead one
EXIT_SECONDS = 10.0  # for a rank to exit by itself when all is done
START_ATTEMPTS = 4  # after which the ranks count as such that cannot start
START_SECONDS = 300.0  # until all have met


@dataclass(frozen=True)
class RankSpec:
    """A job packed for the ranks that run it together."""

    job: Job
    results: Path
    plugins: Sequence[Path]
    threads: int
    rendezvous_file: Path  # does not exist yet
    deadline: float  # seconds


@dataclass(frozen=True)
class RankProcess:
    """A rank's process, and the pipe on which it reports."""

    rank: int
    process: SpawnProcess
    pipe: Connection


@dataclass(frozen=True)
class RankReady:
    """A rank's message that it has met the others."""


Message = RankReady | RunResult | tuple[int, float, float | None]  # the last one: of an epoch


class RankNotStarted(Exception):
    """A rank died, or hung, before all ranks had met; its `failure` says how."""

    def __init__(self, failure: Failure):
        super().__init__(failure.message)
        self.failure = failure


def run_distributed(job: Job, results: Path, progress: ProgressCallback) -> RunResult:
    """Run a job's cell on `job.processes` ranks, with a GPU each where it runs on GPUs.

    No record is written.
    """
    for attempt in range(START_ATTEMPTS):
        sleep(attempt)
        try:
            return _run_ranks(job, results, progress)
        except RankNotStarted as error:
            failure = error.failure
    return RunResult(None, failure)


def _run_ranks(job: Job, results: Path, progress: ProgressCallback) -> RunResult:
    """Run the ranks once; raises `RankNotStarted` where they have not met."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        spec = RankSpec(
            job=job,
            results=results.resolve(),
            plugins=selection.loaded_plugins(),
            threads=threads_per_rank(job),
            rendezvous_file=Path(folder).resolve() / "rendezvous",
            deadline=DEADLINE,
        )
        with _start_ranks(spec) as ranks:
            return _wait_for_start(ranks) or _wait_for_ranks(ranks, progress)


def threads_per_rank(job: Job) -> int:
    """Divide this process's threads among the ranks."""
    return max(1, torch.get_num_threads() // job.processes)


@contextmanager
def _start_ranks(spec: RankSpec) -> Iterator[list[RankProcess]]:
    """Start the ranks, and kill those that still run at the end."""
    ranks: list[RankProcess] = []
    try:
        for rank in range(spec.job.processes):
            ranks.append(_start_rank(rank, spec))
        yield ranks
    finally:
        for one in ranks:
            one.process.kill()
            one.process.join()
            one.pipe.close()


def _start_rank(rank: int, spec: RankSpec) -> RankProcess:
    context = get_context("spawn")  # a fork would take over threads and GPUs
    ours, theirs = context.Pipe()
    process = context.Process(target=_rank_main, args=(rank, spec, theirs))
    try:
        with interrupts.kept_from_children():
            process.start()
    except (OSError, MemoryError) as error:  # the system has no room for it
        ours.close()
        name = f"process {rank + 1} of {spec.job.processes}"
        message = f"{name} could not be started: {first_line(error)}"
        raise RankNotStarted(Failure("failed", type(error).__name__, message)) from None
    finally:
        theirs.close()  # or the rank's end would not show
    return RankProcess(rank, process, ours)


def _wait_for_start(ranks: Sequence[RankProcess]) -> RunResult | None:
    """Wait until all ranks have met; return the failure that one reports itself.

    Raises `RankNotStarted` where one dies, or where it takes too long.
    """
    until, starting = monotonic() + START_SECONDS, {one.pipe: one for one in ranks}
    while starting:
        ready = wait(list(starting), max(0.0, until - monotonic()))
        if not ready:
            names = ", ".join(str(one.rank + 1) for one in starting.values())
            why = f"process {names} of {len(ranks)} was not ready within {START_SECONDS:g} s"
            raise RankNotStarted(Failure("failed", "Timeout", why))
        for pipe in ready:
            assert isinstance(pipe, Connection)
            rank, message = starting.pop(pipe), _receive(pipe)
            if message is None:
                raise RankNotStarted(_exit_failure(rank, len(ranks)))
            if isinstance(message, RunResult):
                others = [one for one in ranks if one is not rank]
                return _own_failure(message, others, len(ranks))
    return None


def _own_failure(failed: RunResult, others: Sequence[RankProcess], count: int) -> RunResult:
    """Return a starting rank's failure; raises `RankNotStarted` if it comes of another's death."""
    cause = _first_failure(failed, others, count)
    if cause is failed or cause.failure is None:
        return failed
    raise RankNotStarted(cause.failure)


def _wait_for_ranks(ranks: Sequence[RankProcess], progress: ProgressCallback) -> RunResult:
    """Return rank 0's result once all have ended; as soon as any rank fails, its failure."""
    running, result = {one.pipe: one for one in ranks}, None
    while running:
        for pipe in wait(list(running)):
            assert isinstance(pipe, Connection)
            message = _receive(pipe)
            if message is None:
                return RunResult(None, _exit_failure(running[pipe], len(ranks)))
            if not isinstance(message, RunResult):
                assert isinstance(message, tuple)
                progress(*message)
                continue
            ended = running.pop(pipe)
            if message.failure:
                return _first_failure(message, list(running.values()), len(ranks))
            result = message if ended.rank == 0 else result
    for one in ranks:
        one.process.join(EXIT_SECONDS)
    assert result
    return result


def _receive(pipe: Connection) -> Message | None:
    """Receive a rank's next message; None: it has ended, maybe within a message."""
    with suppress(EOFError, OSError):
        message: Message = pipe.recv()
        return message
    return None


def _first_failure(failed: RunResult, others: Sequence[RankProcess], count: int) -> RunResult:
    """Return another rank's death, which a rank that missed it reports as its own failure."""
    pipes = {one.pipe: one for one in others}
    for pipe in wait(list(pipes), DEATH_SECONDS):
        assert isinstance(pipe, Connection)
        if _has_died(pipe):
            return RunResult(None, _exit_failure(pipes[pipe], count))
    return failed


def _has_died(pipe: Connection) -> bool:
    """Return whether a rank has ended, after its last messages."""
    while pipe.poll():
        if _receive(pipe) is None:
            return True
    return False


def _exit_failure(rank: RankProcess, count: int) -> Failure:
    rank.process.join(EXIT_SECONDS)
    status = rank.process.exitcode
    return jobs.failure_from_exit_status(f"process {rank.rank + 1} of {count}", status or 0)


def _rank_main(rank: int, spec: RankSpec, pipe: Connection) -> None:
    """Run a rank and send its result; exits with the process that started it."""
    faulthandler.enable()  # a crash prints its stack on standard error
    Thread(target=_exit_with_parent, args=(pipe,), daemon=True).start()
    torch.set_num_threads(spec.threads)
    selection.load_plugins(spec.plugins)
    result = results.catch_failures(partial(_run_rank, rank, spec, pipe))
    pipe.send(result)
    if result.failure:
        os._exit(1)  # an orderly exit may wait for the others


def _run_rank(rank: int, spec: RankSpec, pipe: Connection) -> results.MeasuredOutcome:
    job = spec.job
    device = torch.device(job.device, rank) if job.device == "cuda" else torch.device(job.device)
    _use_loopback()
    with (
        numerics.deterministic_algorithms(job.deterministic),
        distributed.init_process_group(
            rank, job.processes, device, spec.rendezvous_file, spec.deadline
        ) as group,
    ):
        pipe.send(RankReady())
        cell, store = jobs.resolve_cell(job), Store(spec.results)
        store.pin()
        checkpoints = checkpoints_of(cell, store, device, job.checkpoint_every, group)
        if rank:
            runner.train(cell, device, lambda *_: None, group, checkpoints=checkpoints)
            return None, {}
        progress = partial(_send_epoch, pipe)
        return runner.train_and_evaluate(
            cell, store, device, progress, group, checkpoints=checkpoints
        )


def _send_epoch(pipe: Connection, epoch: int, loss: float, accuracy: float | None) -> None:
    pipe.send((epoch, loss, accuracy))


def _exit_with_parent(pipe: Connection) -> None:
    with suppress(OSError, EOFError):
        pipe.recv()
    os._exit(0)


def _use_loopback() -> None:
    """Let the ranks talk through the loopback interface, unless the user names another."""
    loopback = next((n for _, n in socket.if_nameindex() if n.startswith("lo")), None)
    for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        if loopback:
            os.environ.setdefault(variable, loopback)
