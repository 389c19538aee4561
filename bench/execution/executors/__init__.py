"""Where cells run: in this process, in processes of this machine, on a Ray cluster, under Slurm.

An executor is given jobs and tells what becomes of them. Results lie in the store as records;
what is left to be done, what is tried again and who may run what is not an executor's to decide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.execution.jobs import Job
from bench.records.schema import Failure


@dataclass(frozen=True)
class JobStarted:
    """A job that waited in a queue of the executor's has begun."""

    job: Job


@dataclass(frozen=True)
class EpochFinished:
    """A job has trained another epoch."""

    job: Job
    number: int
    loss: float


@dataclass(frozen=True)
class JobFinished:
    """A job is over: its record is in the store, or, with a `failure`, could not be made."""

    job: Job
    failure: Failure | None = None


Event = JobStarted | EpochFinished | JobFinished


class Executor(Protocol):
    """What runs jobs."""

    name: str
    has_queue: (
        bool  # takes any number of jobs, says which have `Begun`, and claims their cells itself
    )

    def capacity(self) -> int:
        """How many jobs it takes at a time."""
        ...

    def submit(self, job: Job) -> None:
        """Take a job; never more than `capacity` at a time."""
        ...

    def poll(self, seconds: float) -> Sequence[Event]:
        """What has happened since the last call; waits so long at most for something to."""
        ...

    def cancel(self, job: Job) -> None:
        """Stop a job that was taken; nothing more is told of it."""
        ...

    def close(self) -> None:
        """Let go of all that was taken up; jobs that run are stopped, unless `goes_on`."""
        ...

    def left_running(self) -> str:
        """What an end of this process leaves running, and what that means; or nothing."""
        ...
