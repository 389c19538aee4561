"""Ray execution: on an existing cluster, or on one of this machine alone, started for the run.

Each job is a task that runs a worker process on its node. A node that is lost takes its tasks with
it, and Ray runs them again elsewhere; a worker that dies ends its job, and its death is reported
with its cause. Ray itself is in a process apart, whose end is the run's error and not its end.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from bench.execution.executors import Event, JobFinished
from bench.execution.executors.ray_connection import Target
from bench.execution.executors.ray_driver import (
    Cancel,
    DriverReply,
    Heartbeat,
    Submit,
    TaskMessage,
)
from bench.execution.executors.ray_process import connected_driver
from bench.execution.executors.ray_task import apply_message, pack_job
from bench.execution.jobs import Job
from bench.execution.request import RunOptions
from bench.records.schema import Failure
from bench.records.store import Store
from bench.utils import parallel
from bench.utils.environment import git_commit

if TYPE_CHECKING:
    from bench.training.cell import Cell

SILENT_SECONDS = 25.0  # without a word of the head, after which it counts as lost
EMPTY_SECONDS = 12.0  # without any node that could run a job, after which the cluster does


class RayExecutor:
    """Runs jobs as tasks of a Ray cluster; their files come back when they end."""

    name = "ray"
    has_queue = False

    def __init__(self, results: Path, device: str, options: RunOptions):
        """Connect to the cluster of the options or `$RAY_ADDRESS`; without either, start one.

        Raises `UserError` where it does not answer, or has nothing to run a job on.
        """
        self.store, self.device, self.options = Store(results), device.partition(":")[0], options
        self.store.pin()
        self.jobs: dict[int, Job] = {}  # that run, by the number of their submission
        self.numbers, self.is_lost = count(), False
        address = options.address or os.environ.get("RAY_ADDRESS")
        self.target = Target(address, options.workers, self.device == "cuda", options.per_gpu)
        self.driver = connected_driver(self.target)
        self.resources = self.driver.resources
        self.last_heartbeat = self.last_nodes = monotonic()

    def capacity(self) -> int:
        most, workers = self.resources.max_jobs, self.options.workers
        return most if workers is None else min(most, workers)

    def submit(self, job: Job, cell: "Cell | None" = None) -> None:
        sent = replace(job, device=self.device, commit=git_commit()["commit"])
        threads = parallel.omp_env(max(1, int(self.driver.resources.cpus)))
        packed = pack_job(sent, self.options.plugins, threads, self.options.timeout)
        number = next(self.numbers)
        self.jobs[number] = job
        self.driver.send(Submit(number, packed))

    def poll(self, seconds: float) -> list[Event]:
        until = monotonic() + seconds
        while True:
            replies = self.driver.replies(max(0.0, until - monotonic()))
            events = [event for reply in replies for event in self._handle_reply(reply)]
            if events:
                return events
            self._require_cluster()
            if monotonic() >= until:
                return []

    def cancel(self, job: Job) -> None:
        for number in [number for number, one in self.jobs.items() if one.cell == job.cell]:
            del self.jobs[number]
            self.driver.send(Cancel(number))

    def close(self) -> None:
        self.jobs.clear()
        self.driver.close(takes_leave=not self.is_lost)

    def left_running(self) -> str:
        return ""

    def _handle_reply(self, reply: DriverReply) -> Iterator[Event]:
        if isinstance(reply, Heartbeat):
            self.resources, self.last_heartbeat = reply.resources, monotonic()
            if self.resources.max_jobs:
                self.last_nodes = self.last_heartbeat
        elif isinstance(reply, TaskMessage) and (job := self.jobs.get(reply.number)):
            content = reply.content
            if isinstance(content, Failure):
                event: Event = JobFinished(job, content)
            else:
                self.store.require_there()
                event = apply_message(content, job, self.store.root)
            if isinstance(event, JobFinished):
                del self.jobs[reply.number]
            yield event

    def _require_cluster(self) -> None:
        """Raise `OSError` where the cluster is lost."""
        why = self.driver.how_it_ended()
        if not why and monotonic() - self.last_heartbeat > SILENT_SECONDS:
            why = f"its head has not answered for {SILENT_SECONDS:g} s"
        if not why and self.last_heartbeat - self.last_nodes > EMPTY_SECONDS:
            why = f"for {EMPTY_SECONDS:g} s it has had no node to run a cell on"
        if why:
            self.is_lost = True
            error = OSError(f"the Ray cluster at {self.target.place} was lost: {why}")
            error.add_note(self.driver.log_tail())
            raise error
