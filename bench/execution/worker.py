"""What runs cells: jobs come in as lines of JSON, what becomes of them goes out as lines of JSON.

Whoever started the worker is gone when no more lines can come: the worker then ends at once, for
what it trains is nobody's any more.
"""

import faulthandler
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from time import perf_counter
from typing import Any, TextIO

import torch

from bench.execution import jobs, process_group
from bench.execution.jobs import Job
from bench.records.schema import Failure, Record
from bench.records.store import Store
from bench.training import callbacks, devices, runner
from bench.training.callbacks import ProgressCallback
from bench.training.cell import Cell
from bench.utils.errors import UserError, first_line

EpochCallback = Callable[[int, float], None]


def run_job(job: Job, results: Path, told: EpochCallback) -> Failure | None:
    """Run a job's cell, whose record goes to the store; or what kept it from having one.

    Raises `OSError` where the record cannot be written.
    """
    try:
        cell = jobs.resolve_cell(job)
    except UserError as error:
        return Failure("failed", "UserError", str(error))
    more = {"attempt": job.attempt, "processes": job.processes}
    store = Store(results)
    with callbacks.open_tracker(job.tensorboard, cell.settings, store) as tracker:

        def progress(epoch: int, loss: float, accuracy: float | None) -> None:
            tracker.log_epoch(epoch, loss, accuracy)
            told(epoch, loss)

        how = _run_in_process if job.processes == 1 else _run_in_group
        try:
            tracker.log_result(how(job, cell, store, progress, more))
        except UserError as error:  # a cell that has a record could not be observed
            return Failure("failed", "UserError", str(error))
    return None


def _run_in_process(
    job: Job, cell: Cell, store: Store, progress: ProgressCallback, more: dict[str, Any]
) -> Record:
    run_cell = _measured_run() if cell.measurements else runner.run
    return run_cell(cell, store, torch.device(job.device), progress, more)


def _run_in_group(
    job: Job, cell: Cell, store: Store, progress: ProgressCallback, more: dict[str, Any]
) -> Record:
    threads = {"threads": process_group.threads_per_rank(job)}
    about = devices.describe_environment(torch.device(job.device)) | more | threads
    start = perf_counter()
    ending = process_group.run_distributed(job, store.root, progress)
    about |= {**ending.notes, "seconds": perf_counter() - start}
    return runner.write_record(cell, store, ending.outcome, ending.failure, about)


def _measured_run() -> Callable[..., Record]:
    from bench.training.measures import measured_run

    return measured_run.run_and_measure


def serve(results: Path, given: TextIO, replies: TextIO) -> None:
    """Run the jobs of `given` one after another, for as long as lines can come."""
    faulthandler.enable()  # a crash tells its place on standard error

    def tell(**message: Any) -> None:
        try:
            replies.write(json.dumps(message) + "\n")
            replies.flush()
        except BrokenPipeError:  # nobody listens any more: no failure of the cell's
            os._exit(0)

    tell(ready=os.getpid())
    for line in _read_lines(given):
        tell(begun=True)
        try:
            failure = run_job(
                jobs.parse_job(line), results, lambda n, loss: tell(epoch=n, loss=loss)
            )
        except OSError as error:
            tell(stopped=first_line(error))
        else:
            tell(ended=True, failure=failure and vars(failure))


def isolate_stdio() -> tuple[TextIO, TextIO]:
    """Standard input and output for jobs and replies alone.

    What else is printed goes to standard error, and who else reads finds nothing. A process that
    is forked, as those that read images are, begins by closing `sys.stdin`: it would wait for ever
    were that locked by a thread that reads it.
    """
    given, replies = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return given, replies


def _read_lines(given: TextIO) -> Iterator[str]:
    """Lines as they come; ends the process when there can be no more, whatever it does then."""
    queue = SimpleQueue[str]()

    def read() -> None:
        for line in given:
            queue.put(line)
        sys.stderr.flush()
        os._exit(0)

    Thread(target=read, daemon=True).start()
    while True:
        yield queue.get()
