"""Executors: run jobs in this process, in worker processes, on a Ray cluster or under Slurm.

An executor takes jobs and reports events; results reach the store as records. The scheduler decides
which cells remain, what is retried and who may run what.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bench.execution.jobs import Job
from bench.records.schema import Failure

if TYPE_CHECKING:
    from bench.training.cell import Cell

POLL_SECONDS = 1.0  # seconds at most between two looks at leases, records and dropped cells


@dataclass(frozen=True)
class JobStarted:
    """A job that waited in an executor's queue has begun."""

    job: Job


@dataclass(frozen=True)
class EpochFinished:
    """A job has finished an epoch, of its first cell unless another cell is named."""

    job: Job
    number: int
    loss: float
    cell: str = ""


@dataclass(frozen=True)
class JobFinished:
    """A job has ended: its record is in the store or, with a `failure`, is still to be written."""

    job: Job
    failure: Failure | None = None


@dataclass(frozen=True)
class Notice:
    """Something that the user should know, and that ends no job."""

    text: str


Event = JobStarted | EpochFinished | JobFinished | Notice


class Executor(Protocol):
    """Runs jobs, and reports what becomes of them."""

    name: str
    has_queue: bool  # takes any number of jobs, reports `JobStarted`, and leases their cells itself

    def capacity(self) -> int:
        """Return how many jobs it takes at a time."""
        ...

    def submit(self, job: Job, cell: "Cell | None" = None) -> None:
        """Take a job, never more than `capacity` at a time.

        `cell` is what the job was made from: an executor of this process runs it as it is, every
        other rebuilds it from the job.
        """
        ...

    def poll(self, seconds: float) -> Sequence[Event]:
        """Return the events since the last call; wait for one, so long at most."""
        ...

    def cancel(self, job: Job) -> None:
        """Stop a running job; no further events are reported for it."""
        ...

    def close(self) -> None:
        """Free all resources; running jobs are stopped, except those of `left_running`."""
        ...

    def left_running(self) -> str:
        """Return a message about jobs still running after this process exits ("" if none)."""
        ...
