"""Worker: runs one job after another, read and answered as lines of JSON on its pipes.

When the input ends, whoever started the worker is gone: it ends at once, in the middle of a cell
too, since nobody waits for that any more.
"""

import faulthandler
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from time import perf_counter
from typing import Any, TextIO

import torch

from bench.execution import jobs, process_group, selection
from bench.execution.jobs import Job
from bench.records.schema import Failure, Record
from bench.records.store import Store
from bench.training import callbacks, devices, numerics, results, runner, trial_pass
from bench.training.callbacks import ProgressCallback
from bench.training.cell import Cell
from bench.utils import environment
from bench.utils.errors import UserError, first_line
from bench.utils.escaping import for_terminal

EpochCallback = Callable[[int, float], None]
PassEpochCallback = Callable[[int, float, str], None]


def run_any(
    job: Job, results: Path, on_epoch: PassEpochCallback, cell: Cell | None = None
) -> Failure | None:
    """Run a job of one cell or of a pass, as `run_job` and `run_pass` do."""
    if job.partners:
        return run_pass(job, results, on_epoch)
    return run_job(job, results, lambda number, loss: on_epoch(number, loss, job.cell), cell)


def run_job(
    job: Job, results: Path, on_epoch: EpochCallback, cell: Cell | None = None
) -> Failure | None:
    """Run a job's cell, whose record goes to the store; return why, where it has none.

    `cell` is the planned one, in the process that planned it; elsewhere it is rebuilt from the
    job. Raises `OSError` where the record cannot be written.
    """
    try:
        cell = _with_own_method(cell) if cell else jobs.resolve_cell(job)
    except UserError as error:
        return Failure("failed", "UserError", str(error))
    store = Store(results)
    store.pin()
    with (
        numerics.deterministic_algorithms(job.deterministic),
        callbacks.open_tracker(job.tensorboard, cell.settings, store) as tracker,
    ):

        def progress(epoch: int, loss: float, accuracy: float | None) -> None:
            tracker.log_epoch(epoch, loss, accuracy)
            on_epoch(epoch, loss)

        run_cell = _run_in_process if job.processes == 1 else _run_in_group
        try:
            tracker.log_result(run_cell(job, cell, store, progress))
        except UserError as error:  # a cell that has a record could not be observed
            return Failure("failed", "UserError", str(error))
    return None


def run_pass(job: Job, results: Path, on_epoch: PassEpochCallback) -> Failure | None:
    """Run the trials of a job in one pass; returns and raises as `run_job` does.

    `on_epoch` gets the digest of a trial, too.
    """
    try:
        cells = [jobs.resolve_cell(one) for one in job.single_jobs()]
    except UserError as error:
        return Failure("failed", "UserError", str(error))
    store = Store(results)
    store.pin()
    with ExitStack() as stack:
        stack.enter_context(numerics.deterministic_algorithms(job.deterministic))
        trackers = {
            cell.digest: stack.enter_context(
                callbacks.open_tracker(job.tensorboard, cell.settings, store)
            )
            for cell in cells
        }

        def report(digest: str, epoch: int, loss: float, accuracy: float | None) -> None:
            trackers[digest].log_epoch(epoch, loss, accuracy)
            on_epoch(epoch, loss, digest)

        progress = {digest: partial(report, digest) for digest in trackers}
        about = (store, torch.device(job.device), progress, _job_notes(job))
        for record in trial_pass.run_trials(cells, *about):
            trackers[record.settings.digest()].log_result(record)
    return None


def _with_own_method(cell: Cell) -> Cell:
    """Return the cell with a copy of its method, which it shares with others of the plan."""
    return replace(cell, method=deepcopy(cell.method))  # a plug-in's may keep state


def _run_in_process(job: Job, cell: Cell, store: Store, progress: ProgressCallback) -> Record:
    device, notes = torch.device(job.device), _job_notes(job)
    if cell.measurements:
        return _measured_run()(cell, store, device, progress, notes)
    every = job.checkpoint_every
    return runner.run(cell, store, device, progress, notes, checkpoint_every=every)


def _run_in_group(job: Job, cell: Cell, store: Store, progress: ProgressCallback) -> Record:
    threads = {"threads": process_group.threads_per_rank(job)}
    about = devices.describe_environment(torch.device(job.device)) | _job_notes(job) | threads
    start = perf_counter()
    result = process_group.run_distributed(job, store.root, progress)
    about |= results.described(result, perf_counter() - start)
    return results.write_record(cell, store, result.outcome, result.failure, about)


def _job_notes(job: Job) -> dict[str, Any]:
    """Return what the record keeps of the job."""
    return {"attempt": job.attempt, "processes": job.processes}


def _measured_run() -> Callable[..., Record]:
    from bench.training.measures import measured_run  # needed by studies alone

    return measured_run.run_and_measure


def write_failure(job: Job, cell: Cell, store: Store, failure: Failure, executor: str) -> Record:
    """Write the record of a cell whose worker could not write it."""
    about = {**environment.git_commit(), "executor": executor, "attempt": job.attempt}
    return results.write_record(cell, store, None, failure, about)


def serve(results: Path, plugins: Sequence[Path], requests: TextIO, replies: TextIO) -> None:
    """Run the jobs of `requests` one after another until the stream ends."""
    faulthandler.enable()  # a crash prints its stack on standard error
    lines = _read_lines(requests)  # from now on the end of who started this ends it

    def send(**message: Any) -> None:
        try:
            replies.write(json.dumps(message) + "\n")
            replies.flush()
        except BrokenPipeError:  # nobody listens any more: not the cell's failure
            os._exit(0)

    for problem in selection.load_plugins(plugins):
        sys.stderr.write(f"bench: {for_terminal(problem)}\n")
    send(ready=os.getpid())
    for line in lines:
        send(begun=True)
        try:
            job = jobs.parse_job(line)
            failure = run_any(
                job, results, lambda n, loss, cell: send(epoch=n, loss=loss, cell=cell)
            )
        except OSError as error:
            send(stopped=first_line(error))
        else:
            send(ended=True, failure=failure and vars(failure))


def isolate_stdio() -> tuple[TextIO, TextIO]:
    """Return standard input and output, reserved for jobs and replies.

    Whatever else is printed goes to standard error, and whoever else reads finds nothing. A forked
    process, such as those that read images, begins by closing `sys.stdin`: it would wait for ever
    if a thread that reads it held its lock.
    """
    requests, replies = (
        os.fdopen(os.dup(0), encoding="utf-8"),
        os.fdopen(os.dup(1), "w", encoding="utf-8"),
    )
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, replies


def _read_lines(stream: TextIO) -> Iterator[str]:
    """Return lines as they come; a thread ends the process when there can be no more."""
    queue = SimpleQueue[str]()

    def read() -> None:
        for line in stream:
            queue.put(line)
        sys.stderr.flush()
        os._exit(0)

    Thread(target=read, daemon=True).start()
    return iter(queue.get, None)
