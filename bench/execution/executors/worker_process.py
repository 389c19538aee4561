"""A worker's process: its start, the messages that it writes, and how it ended."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from pydantic import TypeAdapter

from bench.execution.jobs import Job, failure_from_exit_status
from bench.records.schema import Failure

STDERR_TAIL = 2000  # characters of a dead process's standard error that a failure keeps
LONGEST_LINE = 2**24  # characters of a message; a failure's traceback is the longest part of one
SHOWN = 60  # characters of what is no message


@dataclass(frozen=True)
class Ready:
    """The worker has started, and waits for jobs."""

    ready: int  # its process


@dataclass(frozen=True)
class Begun:
    """It has taken the job that it was sent."""

    begun: bool


@dataclass(frozen=True)
class Epoch:
    """A job has finished an epoch, of its first cell unless another cell is named."""

    epoch: int
    loss: float
    cell: str = ""


@dataclass(frozen=True)
class Ended:
    """Its job has ended; without a failure, there is a record."""

    ended: bool
    failure: dict[str, Any] | None


@dataclass(frozen=True)
class Stopped:
    """A record cannot be written: no job can be run."""

    stopped: str


Message = Ready | Begun | Epoch | Ended | Stopped
_message_adapter: TypeAdapter[Message] = TypeAdapter(Message)
BAD_LINE_ERRORS = (ValueError, TypeError, RecursionError)


def parse_message(line: str) -> Message:
    """Parse a worker's line; raises one of `BAD_LINE_ERRORS` if it is not a message."""
    message = _message_adapter.validate_python(json.loads(line))
    if isinstance(message, Ended) and message.failure:
        Failure(**message.failure)
    return message


class WorkerProcess:
    """A worker's process; its messages are put into a queue, and None when it has ended."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        messages: "SimpleQueue[tuple[WorkerProcess, Message | None]]",
    ):
        """Start the process; the system may refuse it, or the thread that listens to it."""
        self.messages, self.bad_line = messages, ""
        self.stderr = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            env={**os.environ, **environment},
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # an interrupt is this process's to pass on
        )
        self.listener = Thread(target=self._listen, daemon=True)
        try:
            self.listener.start()
        except RuntimeError:  # there are too many threads
            self.kill()
            raise

    def send(self, job: Job) -> None:
        """Send the worker a job."""
        assert self.process.stdin
        with suppress(BrokenPipeError):  # `_listen` reports its end
            self.process.stdin.write(job.to_json() + "\n")
            self.process.stdin.flush()

    def kill_group(self) -> None:
        """Kill the process and what it started, without waiting for their end."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def kill_orphans(self) -> None:
        """Kill what a dead process started: it holds the pipe whose end tells of the death."""
        if self.process.poll() is not None and self.listener.is_alive():
            self.kill_group()

    def kill(self) -> None:
        """Kill the process and what it started."""
        self.kill_group()
        self.process.wait()
        if self.listener.ident:
            self.listener.join()
        for stream in (self.process.stdin, self.process.stdout, self.stderr):
            assert stream
            with suppress(BrokenPipeError):  # a job that it never read
                stream.close()

    def exit_failure(self) -> Failure:
        """Return why the process has ended, with the end of its standard error."""
        status = self.process.wait()
        self.stderr.seek(max(0, self.stderr.seek(0, os.SEEK_END) - STDERR_TAIL))
        tail = self.stderr.read().decode(errors="replace")
        if self.bad_line:
            message = f"its process wrote what is no message: {self.bad_line}"
            return Failure("failed", "BadMessage", message, tail)
        return failure_from_exit_status("its process", status, tail)

    def _listen(self) -> None:
        """Put the messages into the queue; a process that writes anything else is killed."""
        is_ready = False
        for line in self._lines():
            try:
                message = parse_message(line)
            except BAD_LINE_ERRORS:
                if not is_ready:  # a package may print while it is imported
                    continue
                self.bad_line = repr(line[:SHOWN])
                self.kill_group()
                break
            is_ready = True
            self.messages.put((self, message))
        self.messages.put((self, None))

    def _lines(self) -> Iterator[str]:
        assert self.process.stdout
        return iter(lambda: self.process.stdout.readline(LONGEST_LINE), "")  # type: ignore[union-attr]


def worker_command(results: Path, plugins: Sequence[Path]) -> list[str]:
    """Return the command line that starts a worker."""
    own = [word for path in plugins for word in ("--plugin", str(path.resolve()))]
    return [sys.executable, "-m", "bench", "worker", "--results", str(results.resolve()), *own]
