"""What runs cells: jobs come in as lines of JSON, what becomes of them goes out as lines of JSON.

Whoever started the worker is gone when no more lines can come: the worker then ends at once, for
what it trains is nobody's any more.
"""

import faulthandler
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TextIO

import torch

from bench import jobs, runner
from bench.errors import UserError, first_line
from bench.jobs import Job
from bench.records import Failure, Record, Store

EpochTold = Callable[[int, float], None]


def run(job: Job, results: Path, told: EpochTold) -> Failure | None:
    """Run a job's cell, whose record goes to the store; or what kept it from having one.

    Raises `OSError` where the record cannot be written.
    """
    try:
        cell = jobs.cell(job)
        run_cell = _observing() if cell.observed else runner.run
        run_cell(cell, Store(results), torch.device(job.device), told, {"attempt": job.attempt})
    except UserError as error:
        return Failure("failed", "UserError", str(error))
    except SystemExit as error:
        said = f"the cell ended its process, with status {error.code}"
        return Failure("failed", "SystemExit", said, traceback.format_exc())
    return None


def _observing() -> Callable[..., Record]:
    from bench.studies import observing  # what few cells need

    return observing.run


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
    for line in _lines(given):
        tell(begun=True)
        try:
            failure = run(jobs.read(line), results, lambda n, loss: tell(epoch=n, loss=loss))
        except OSError as error:
            tell(stopped=first_line(error))
        else:
            tell(ended=True, failure=failure and vars(failure))


def apart() -> TextIO:
    """Standard output for replies alone: what else is printed goes to standard error."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return replies


def _lines(given: TextIO) -> Iterator[str]:
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
