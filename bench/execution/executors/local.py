"""Local execution: a pool of worker processes of this machine."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING

from bench.execution.executors import EpochFinished, Event, JobFinished, Notice
from bench.execution.executors.worker_process import (
    Begun,
    Ended,
    Epoch,
    Message,
    Ready,
    Stopped,
    WorkerProcess,
)
from bench.execution.jobs import Job, describe_failed_start
from bench.records.schema import Failure
from bench.utils import interrupts
from bench.utils.errors import UserError, first_line

if TYPE_CHECKING:
    from bench.training.cell import Cell

START_ATTEMPTS = 4  # failed starts in a row after which a worker counts as one that cannot start
START_SECONDS = 300.0  # that a start may take: torch is imported, maybe from a busy file server
LONGEST_PAUSE = 60.0  # seconds between two starts
TICK = 0.2  # seconds between two looks at deadlines and pauses
NEVER = float("inf")
START_ERRORS = (OSError, RuntimeError, MemoryError)  # where the system has no room for a process


@dataclass(eq=False)
class WorkerSlot:
    """A place of the pool: its worker's process, if there is one, and the job that it has."""

    environment: Mapping[str, str]
    process: WorkerProcess | None = None
    is_ready: bool = False
    job: Job | None = None
    has_begun: bool = False  # the job; one that has not can go to another worker
    deadline: float = NEVER  # of the start or of the job
    failed_starts: int = 0  # in a row: no job has begun meanwhile
    next_start: float = 0.0  # not earlier

    def clear(self) -> None:
        """Kill the process, if it still runs."""
        if self.process:
            self.process.kill()
        self.process, self.is_ready, self.deadline = None, False, NEVER
        self.free()

    def free(self) -> None:
        """Note that the worker has no job any more."""
        self.job, self.has_begun, self.deadline = None, False, NEVER


class LocalExecutor:
    """A pool of worker processes; one that dies is replaced, and its job reported as failed.

    A worker that dies before its job has begun is replaced as well, after a pause that grows, and
    the job goes to another. Only where no worker can start any more, that is the run's error.
    """

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
        self.messages: SimpleQueue[tuple[WorkerProcess, Message | None]] = SimpleQueue()
        self.slots = [WorkerSlot(environment) for environment in environments]
        self.waiting = deque[Job]()  # for a worker that is ready
        self.stopped = ""  # why records cannot be written
        self.notices: list[Event] = []
        try:
            self._start_due()
        except BaseException:
            self.close()
            raise

    def capacity(self) -> int:
        return len(self.slots)

    def submit(self, job: Job, cell: "Cell | None" = None) -> None:
        self.waiting.append(job)
        self._send_waiting()

    def poll(self, seconds: float) -> list[Event]:
        until, events = monotonic() + seconds, list[Event]()
        while not events:
            left = until - monotonic()
            events += self._read_messages(max(0.0, min(left, TICK)))
            events += self._stop_overdue()
            self._start_due()
            self._send_waiting()
            events += self.notices
            self.notices.clear()
            if self.stopped and not events:
                raise OSError(self.stopped)
            if left <= 0:
                break
        return events

    def cancel(self, job: Job) -> None:
        if job in self.waiting:
            self.waiting.remove(job)
        for slot in [slot for slot in self.slots if slot.job == job]:
            self._restart(slot)

    def close(self) -> None:
        for process in [slot.process for slot in self.slots if slot.process]:
            process.kill_group()  # all at once; then each is waited for
        for slot in self.slots:
            slot.clear()

    def left_running(self) -> str:
        return ""

    def _read_messages(self, seconds: float) -> Iterator[Event]:
        """Yield the events of all messages; wait for the first one, so long at most."""
        while True:
            try:
                process, message = self.messages.get(timeout=seconds)
            except Empty:
                return
            seconds = 0.0
            for slot in [slot for slot in self.slots if slot.process is process]:
                yield from self._handle_message(slot, message)

    def _handle_message(self, slot: WorkerSlot, message: Message | None) -> Iterator[Event]:
        """Turn a worker's message into events; None: its process has ended."""
        match message:
            case None:
                yield from self._on_death(slot)
            case Ready():
                slot.is_ready, slot.deadline = True, NEVER
            case Begun():
                slot.has_begun, slot.failed_starts = True, 0
                slot.deadline = monotonic() + self._seconds_of(slot.job)
            case Epoch() if slot.job:
                yield EpochFinished(slot.job, message.epoch, message.loss, message.cell)
            case Ended() if slot.job:
                failure = Failure(**message.failure) if message.failure else None
                yield JobFinished(slot.job, failure)
                slot.free()
            case Stopped():
                self.stopped = message.stopped

    def _seconds_of(self, job: Job | None) -> float:
        """Return the seconds that a job may take: those of all its cells."""
        return self.timeout * (1 + len(job.partners)) if self.timeout and job else NEVER

    def _on_death(self, slot: WorkerSlot) -> Iterator[Event]:
        assert slot.process
        failure = slot.process.exit_failure()
        if slot.has_begun and slot.job:
            yield JobFinished(slot.job, failure)
            self._restart(slot)
        else:
            self._on_failed_start(slot, failure)

    def _stop_overdue(self) -> Iterator[Event]:
        """Kill the workers whose start or job takes too long."""
        for slot in self.slots:
            if slot.process:
                slot.process.kill_orphans()
            if monotonic() <= slot.deadline:
                continue
            if slot.job and slot.has_begun:
                message = f"the cell took more than {self.timeout:g} s"
                yield JobFinished(slot.job, Failure("failed", "Timeout", message))
                self._restart(slot)
            else:
                message = f"its process was not ready within {START_SECONDS:g} s"
                self._on_failed_start(slot, Failure("failed", "Timeout", message))

    def _restart(self, slot: WorkerSlot) -> None:
        """Replace a worker by a new process, killing it where it still runs."""
        slot.clear()
        self._start(slot)

    def _start_due(self) -> None:
        """Start the workers that are missing and whose pause is over."""
        for slot in self.slots:
            if slot.process is None and monotonic() >= slot.next_start:
                self._start(slot)

    def _start(self, slot: WorkerSlot) -> None:
        try:
            with interrupts.put_off():
                slot.process = WorkerProcess(self.argv, slot.environment, self.messages)
        except START_ERRORS as error:
            message = f"no process could be started: {first_line(error)}"
            self._on_failed_start(slot, Failure("failed", type(error).__name__, message))
        else:
            slot.deadline = monotonic() + START_SECONDS

    def _on_failed_start(self, slot: WorkerSlot, failure: Failure) -> None:
        """Let another worker have the job; raise `UserError` where none has been able to start."""
        if slot.job:
            self.waiting.appendleft(slot.job)
        slot.clear()
        slot.failed_starts += 1
        slot.next_start = monotonic() + min(LONGEST_PAUSE, 2.0 ** (slot.failed_starts - 1))
        why = describe_failed_start(failure)
        if all(one.failed_starts >= START_ATTEMPTS for one in self.slots):
            error = UserError(f"a worker cannot start: {why}; {START_ATTEMPTS} attempts failed")
            error.add_note(failure.traceback)  # --debug shows it
            raise error
        if slot.failed_starts <= START_ATTEMPTS:  # then that has been said often enough
            self.notices.append(Notice(f"a worker did not start: {why}; it is replaced"))

    def _send_waiting(self) -> None:
        """Send waiting jobs to workers that are ready for one."""
        for slot in self.slots:
            if self.waiting and slot.process and slot.is_ready and slot.job is None:
                slot.job = self.waiting.popleft()
                slot.process.send(slot.job)
