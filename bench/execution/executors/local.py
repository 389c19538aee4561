"""Local execution: in worker processes of this machine, or in this process, for debuggers."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import IO, Any

from bench.execution.executors import EpochFinished, Event, JobFinished
from bench.execution.jobs import Job, failure_from_exit_status
from bench.execution.worker import run_job
from bench.records.schema import Failure
from bench.training.cell import Cell
from bench.utils.errors import UserError

STDERR_TAIL = 2000  # characters of a dead process's standard error that a failure keeps


class LocalExecutor:
    """A pool of worker processes; one that dies is replaced, and its job reported as failed."""

    name = "local"
    has_queue = False

    def __init__(
        self,
        argv: Sequence[str],
        environments: Sequence[Mapping[str, str]],
        timeout: float | None,
    ):
        """`argv` starts a worker, once per environment; a job may take `timeout` seconds."""
        self.argv, self.timeout = argv, timeout
        self.messages: SimpleQueue[tuple[WorkerProcess, dict[str, Any] | None]] = SimpleQueue()
        self.workers = [WorkerProcess(argv, env, self.messages) for env in environments]

    def capacity(self) -> int:
        return len(self.workers)

    def submit(self, job: Job, cell: Cell | None = None) -> None:
        next(worker for worker in self.workers if worker.job is None).send(job)

    def poll(self, seconds: float) -> list[Event]:
        until = monotonic() + seconds
        events = self._stop_overdue()
        while not events:
            try:
                worker, message = self.messages.get(timeout=max(0.0, until - monotonic()))
            except Empty:
                return self._stop_overdue()
            if worker in self.workers:
                events = self._handle_message(worker, message)
        return events

    def cancel(self, job: Job) -> None:
        for worker in [worker for worker in self.workers if worker.job == job]:
            self._restart(worker)

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()

    def left_running(self) -> str:
        return ""

    def _handle_message(
        self, worker: "WorkerProcess", message: dict[str, Any] | None
    ) -> list[Event]:
        """Turn a worker's message into events; None: its process has ended."""
        job = worker.job
        if message is None:
            failure = worker.exit_failure()
            if not worker.ready:
                raise UserError(f"a worker cannot start: {failure.message}\n{failure.traceback}")
            self._restart(worker)
            return [JobFinished(job, failure)] if job else []
        if "stopped" in message:
            raise OSError(message["stopped"])
        if "begun" in message and self.timeout:
            worker.deadline = monotonic() + self.timeout
        if "epoch" in message and job:
            return [EpochFinished(job, message["epoch"], message["loss"])]
        if "ended" in message and job:
            worker.mark_idle()
            failed = message["failure"]
            return [JobFinished(job, Failure(**failed) if failed else None)]
        return []

    def _stop_overdue(self) -> list[Event]:
        late = [worker for worker in self.workers if monotonic() > worker.deadline]
        jobs = [worker.job for worker in late]
        for worker in late:
            self._restart(worker)
        message = f"the cell took more than {self.timeout:g} s" if self.timeout else ""
        return [JobFinished(job, Failure("failed", "Timeout", message)) for job in jobs if job]

    def _restart(self, worker: "WorkerProcess") -> None:
        """Replace a worker by a new process, killing it where it still runs."""
        worker.kill()
        place = self.workers.index(worker)
        self.workers[place] = WorkerProcess(self.argv, worker.environment, self.messages)


@dataclass(eq=False)
class WorkerProcess:
    """A worker's process, the job that it runs, and its messages."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    messages: "SimpleQueue[tuple[WorkerProcess, dict[str, Any] | None]]"
    job: Job | None = None
    ready: bool = False
    deadline: float = float("inf")
    stderr: IO[bytes] = field(default_factory=tempfile.TemporaryFile)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            self.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            env={**os.environ, **self.environment},
            encoding="utf-8",
            start_new_session=True,  # an interrupt is this process's to pass on
        )
        self.listener = Thread(target=self._listen, daemon=True)
        self.listener.start()

    def send(self, job: Job) -> None:
        """Send the worker a job."""
        self.job = job
        assert self.process.stdin
        with suppress(BrokenPipeError):  # `_listen` reports its end
            self.process.stdin.write(job.to_json() + "\n")
            self.process.stdin.flush()

    def mark_idle(self) -> None:
        """Note that the job has ended."""
        self.job, self.deadline = None, float("inf")

    def kill(self) -> None:
        """Kill the process and what it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
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
        return failure_from_exit_status("its process", status, tail)

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            message = json.loads(line)
            self.ready |= "ready" in message
            self.messages.put((self, message))
        self.messages.put((self, None))


def worker_command(results: Path, plugins: Sequence[Path]) -> list[str]:
    """Return the command line that starts a worker."""
    own = [word for path in plugins for word in ("--plugin", str(path.resolve()))]
    return [sys.executable, "-m", "bench", "worker", "--results", str(results.resolve()), *own]


@dataclass
class InProcessExecutor:
    """Runs a planned cell in this process, during `poll`."""

    results: Path
    name: str = "here"
    has_queue: bool = False
    waiting: list[tuple[Job, Cell | None]] = field(default_factory=list)

    def capacity(self) -> int:
        return 1

    def submit(self, job: Job, cell: Cell | None = None) -> None:
        self.waiting.append((job, cell))

    def poll(self, seconds: float) -> list[Event]:
        if not self.waiting:
            return []
        (job, cell), events = self.waiting.pop(), list[Event]()

        def on_epoch(number: int, loss: float) -> None:
            events.append(EpochFinished(job, number, loss))

        failure = run_job(job, self.results, on_epoch, cell)
        return [*events, JobFinished(job, failure)]

    def cancel(self, job: Job) -> None:
        self.waiting = [(other, cell) for other, cell in self.waiting if other != job]

    def close(self) -> None:
        self.waiting.clear()

    def left_running(self) -> str:
        return ""
