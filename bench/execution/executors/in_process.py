"""Execution in this process, for debuggers."""

from dataclasses import dataclass, field
from pathlib import Path

from bench.execution.executors import EpochFinished, Event, JobFinished
from bench.execution.jobs import Job
from bench.execution.worker import run_any
from bench.training.cell import Cell


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

        def on_epoch(number: int, loss: float, digest: str) -> None:
            events.append(EpochFinished(job, number, loss, digest))

        failure = run_any(job, self.results, on_epoch, cell)
        return [*events, JobFinished(job, failure)]

    def cancel(self, job: Job) -> None:
        self.waiting = [(other, cell) for other, cell in self.waiting if other != job]

    def close(self) -> None:
        self.waiting.clear()

    def left_running(self) -> str:
        return ""
