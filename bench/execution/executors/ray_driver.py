"""The process that talks to a Ray cluster: it submits tasks and reports their outcome.

It is a separate process because Ray silently ends the process it runs in when the cluster's head is
lost, and may wait forever for an address. The parent notices its end, and kills it when it stops
responding.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from threading import Lock, Thread
from time import sleep
from typing import Any

from bench.execution.executors.ray_connection import (
    JobResources,
    Target,
    connect,
    offered_resources,
    require_resources,
)
from bench.execution.executors.ray_task import RemoteJob, run_remote_job
from bench.records.schema import Failure
from bench.utils.errors import UserError, first_line

TICK = 0.25  # seconds between two looks at requests and tasks
HEARTBEAT_SECONDS = 1.0
MAX_RERUNS = 3  # of a task whose node, or whose process there, is lost
FAILURE_NAMES = {"OutOfMemoryError": "OutOfMemory"}  # Ray's name -> ours
NODE_LOST_ERRORS = ("WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError", "OwnerDiedError")


@dataclass(frozen=True)
class Submit:
    """Run a job under its own number."""

    number: int
    packed: RemoteJob


@dataclass(frozen=True)
class Cancel:
    """Stop a job."""

    number: int


@dataclass(frozen=True)
class Started:
    """The process has started, and begins to connect."""


@dataclass(frozen=True)
class Refused:
    """The cluster cannot be had."""

    message: str


@dataclass(frozen=True)
class Heartbeat:
    """The cluster's head answers, and its nodes offer this."""

    resources: JobResources


@dataclass(frozen=True)
class TaskMessage:
    """A message of a job, or why it has ended without one."""

    number: int
    content: Mapping[str, Any] | Failure


DriverRequest = Submit | Cancel
DriverReply = Started | Refused | Heartbeat | TaskMessage


def drive(pipe: Connection, target: Target, log: str) -> None:
    """Connect, and serve the requests of `pipe` until it is closed; Ray's output goes to `log`."""
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    pipe.send(Started())
    try:
        ray = connect(target)
        resources = require_resources(ray, target)
    except UserError as error:
        pipe.send(Refused(str(error)))
        return
    pipe.send(Heartbeat(resources))
    driver = RayDriver(pipe, ray, target, resources)
    Thread(target=driver.send_heartbeats, daemon=True).start()
    driver.run()
    ray.shutdown()  # leaves a cluster that was there before as it was


@dataclass
class RayDriver:
    """Tasks of a cluster, and the pipe to whoever asked for them."""

    pipe: Connection
    ray: Any
    target: Target
    resources: JobResources  # that a job needs
    tasks: dict[int, Any] = field(default_factory=dict)  # by number: what gives its messages
    lock: Lock = field(default_factory=Lock)  # of the pipe

    def run(self) -> None:
        """Serve requests until the pipe is closed."""
        try:
            while True:
                while self.pipe.poll(0 if self.tasks else TICK):
                    self._handle_request(self.pipe.recv())
                self._pass_messages_on()
        except (EOFError, OSError):  # nobody asks any more
            for messages in self.tasks.values():
                self.ray.cancel(messages, force=True)

    def send_heartbeats(self) -> None:
        """Report the resources of the nodes; nothing is sent while the head does not answer."""
        while True:
            with suppress(self.ray.exceptions.RayError):
                self._send(Heartbeat(offered_resources(self.ray, self.target)))
            sleep(HEARTBEAT_SECONDS)

    def _send(self, reply: DriverReply) -> None:
        with self.lock:
            self.pipe.send(reply)

    def _handle_request(self, request: DriverRequest) -> None:
        if isinstance(request, Submit):
            self.tasks[request.number] = self._start_task(request.packed)
        elif request.number in self.tasks:
            self.ray.cancel(self.tasks.pop(request.number), force=True)

    def _start_task(self, packed: RemoteJob) -> Any:
        task = self.ray.remote(run_remote_job).options(
            num_cpus=self.resources.cpus,
            num_gpus=self.resources.gpus,
            max_retries=MAX_RERUNS,
            retry_exceptions=False,
            num_returns="streaming",
        )
        return task.remote(packed)

    def _pass_messages_on(self) -> None:
        numbers = {messages: number for number, messages in self.tasks.items()}
        if not numbers:
            return
        ready, _ = self.ray.wait(list(numbers), timeout=TICK, fetch_local=False)
        for messages in ready:
            self._pass_message_on(numbers[messages], messages)

    def _pass_message_on(self, number: int, messages: Any) -> None:
        content: Mapping[str, Any] | Failure
        try:
            content = self.ray.get(next(messages))
        except (self.ray.exceptions.RayError, StopIteration) as error:
            content = failure_from_error(error)
        if isinstance(content, Failure) or "failure" in content:
            del self.tasks[number]
        self._send(TaskMessage(number, content))


def failure_from_error(error: Exception) -> Failure:
    """Turn an error of Ray's, or of the task's, into the cell's failure."""
    cause = getattr(error, "cause", None) or error
    kind = type(cause).__name__
    if kind in NODE_LOST_ERRORS:
        return Failure("failed", "NodeLost", f"its node was lost: {first_line(cause)}")
    return Failure("failed", FAILURE_NAMES.get(kind, kind), first_line(cause), str(error))
