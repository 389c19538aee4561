"""In processes of this machine, each of which runs one cell after another."""

# MERGED bench.execution.executors.local: """In this process, one cell after another: what a debugger or a profiler can follow."""
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
from bench.utils.errors import UserError

STDERR_TAIL = 2000  # characters of what a process said before it died
GRACE = 2.0  # seconds for a process to end by itself


class LocalExecutor:
    """So many worker processes; one that dies is replaced, and its job told as failed."""

    name = "local"
    has_queue = False

    def __init__(
        self,
        words: Sequence[str],
        environments: Sequence[Mapping[str, str]],
        timeout: float | None,
    ):
        """`words` start a worker; each of them has one of the environments.

        `timeout`: the seconds that a job may take.
        """
        self.argv, self.timeout = words, timeout
        self.messages: SimpleQueue[tuple[WorkerProcess, dict[str, Any] | None]] = SimpleQueue()
        self.workers = [WorkerProcess(words, env, self.messages) for env in environments]

    def capacity(self) -> int:
        return len(self.workers)

    def submit(self, job: Job) -> None:
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
        """What a worker's message means; None: its process is over."""
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
            said = message["failure"]
            return [JobFinished(job, Failure(**said) if said else None)]
        return []

    def _stop_overdue(self) -> list[Event]:
        late = [worker for worker in self.workers if monotonic() > worker.deadline]
        jobs = [worker.job for worker in late]
        for worker in late:
            self._restart(worker)
        said = f"the cell took more than {self.timeout:g} s" if self.timeout else ""
        return [JobFinished(job, Failure("failed", "Timeout", said)) for job in jobs if job]

    def _restart(self, worker: "WorkerProcess") -> None:
        """Another process in the place of this one, which is killed where it still runs."""
        worker.kill()
        place = self.workers.index(worker)
        self.workers[place] = WorkerProcess(self.argv, worker.environment, self.messages)


@dataclass(eq=False)
class WorkerProcess:
    """A process, the job that it runs, and what it says."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    messages: "SimpleQueue[tuple[WorkerProcess, dict[str, Any] | None]]"
    job: Job | None = None
    ready: bool = False
    deadline: float = float("inf")
    stderr: IO[bytes] = field(default_factory=tempfile.TemporaryFile)  # on standard error

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            self.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            env={**os.environ, **self.environment},
            text=True,
            start_new_session=True,  # an interrupt is this process's to pass on
        )
        self.listener = Thread(target=self._listen, daemon=True)
        self.listener.start()

    def send(self, job: Job) -> None:
        """Run a job."""
        self.job = job
        assert self.process.stdin
        with suppress(BrokenPipeError):  # its end is told by `_listen`
            self.process.stdin.write(job.to_json() + "\n")
            self.process.stdin.flush()

    def mark_idle(self) -> None:
        """The job is over."""
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
        """Why the process is over, with the last of what it said."""
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
    """The words that start a worker."""
    more = [word for path in plugins for word in ("--plugin", str(path.resolve()))]
    return [sys.executable, "-m", "bench", "worker", "--results", str(results.resolve()), *more]


@dataclass
class InProcessExecutor:
    """Runs a job while it is asked what has become of it."""

    results: Path
    name: str = "here"
    has_queue: bool = False
    waiting: list[Job] = field(default_factory=list)

    def capacity(self) -> int:
        return 1

    def submit(self, job: Job) -> None:
        self.waiting.append(job)

    def poll(self, seconds: float) -> list[Event]:
        if not self.waiting:
            return []
        job, events = self.waiting.pop(), list[Event]()
        failure = run_job(
            job, self.results, lambda n, loss: events.append(EpochFinished(job, n, loss))
        )
        return [*events, JobFinished(job, failure)]

    def cancel(self, job: Job) -> None:
        if job in self.waiting:
            self.waiting.remove(job)

    def close(self) -> None:
        self.waiting.clear()

    def left_running(self) -> str:
        return ""
