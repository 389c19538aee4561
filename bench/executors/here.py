"""In this process, one cell after another: what a debugger or a profiler can follow."""

from dataclasses import dataclass, field
from pathlib import Path

from bench import worker
from bench.executors import Ended, Epoch, Event
from bench.jobs import Job


@dataclass
class Here:
    """Runs a job while it is asked what has become of it."""

    results: Path
    name: str = "here"
    queues: bool = False
    waiting: list[Job] = field(default_factory=list)

    def capacity(self) -> int:
        return 1

    def submit(self, job: Job) -> None:
        self.waiting.append(job)

    def poll(self, seconds: float) -> list[Event]:
        if not self.waiting:
            return []
        job, events = self.waiting.pop(), list[Event]()
        failure = worker.run(job, self.results, lambda n, loss: events.append(Epoch(job, n, loss)))
        return [*events, Ended(job, failure)]

    def cancel(self, job: Job) -> None:
        if job in self.waiting:
            self.waiting.remove(job)

    def close(self) -> None:
        self.waiting.clear()

    def goes_on(self) -> str:
        return ""
