"""Ray execution: on an existing cluster, or on one of this machine alone, started for the run.

Each job is a task that runs a worker process on its node, which may share no disk with this one:
the job is sent with its plug-ins, and the files it writes are sent back. A node that is lost takes
its tasks with it, and Ray runs them once more elsewhere; a worker that dies ends its job, and its
death is reported with its cause.
"""

import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from threading import Event as Signal
from threading import Thread
from time import sleep
from typing import Any

from bench.execution.executors import POLL_SECONDS, EpochFinished, Event, JobFinished
from bench.execution.executors.local import LocalExecutor
from bench.execution.executors.worker_process import worker_command
from bench.execution.jobs import Job, parse_job
from bench.execution.request import RunOptions
from bench.records.schema import Failure
from bench.training.cell import Cell
from bench.utils import parallel
from bench.utils.environment import git_commit
from bench.utils.errors import UserError, first_line
from bench.utils.files import write_atomically


@dataclass(frozen=True)
class RemoteJob:
    """A job packed with what it needs of the machine that sends it."""

    job_json: str
    plugins: Sequence[tuple[str, str]]  # name and content of each file
    working_dir: str  # that relative names of cards start from, where it exists
    environment: Mapping[str, str]  # of the worker
    timeout: float | None  # seconds


def pack_job(
    job: Job, plugins: Sequence[Path], environment: Mapping[str, str], timeout: float | None
) -> RemoteJob:
    """Pack a job for another node."""
    rooted = replace(job, root=str(Path(job.root).absolute()))
    files = [(path.name, path.read_text(encoding="utf-8")) for path in plugins]
    return RemoteJob(rooted.to_json(), files, str(Path.cwd()), environment, timeout)


def run_remote_job(packed: RemoteJob) -> Iterator[dict[str, Any]]:
    """Run the job; yield a message for each epoch and, when it has ended, its failure and files.

    Files are those that the worker wrote: content by path below the results folder.
    """
    if Path(packed.working_dir).is_dir():
        os.chdir(packed.working_dir)
    with TemporaryDirectory(prefix="bench-") as place:
        results = Path(place) / "results"
        argv = worker_command(results, list(_unpack_plugins(packed.plugins, Path(place))))
        worker = LocalExecutor(argv, [packed.environment], packed.timeout)
        try:
            worker.submit(_with_local_data(parse_job(packed.job_json)))
            for message in _poll_messages(worker):
                yield message if "epoch" in message else message | {"files": _read_files(results)}
        finally:
            worker.close()


def apply_message(
    message: Mapping[str, Any], job: Job, results: Path
) -> EpochFinished | JobFinished:
    """Turn a message into an event, after writing the files that came with it."""
    if "epoch" in message:
        return EpochFinished(job, message["epoch"], message["loss"])
    for name in sorted(message["files"]):  # a record comes last: with it, all is there
        path = results / name
        if not path.resolve().is_relative_to(results.resolve()):
            raise UserError(f"{name!r} came back from a node, and is no path of results")
        write_atomically(path, message["files"][name])
    failure = message["failure"]
    return JobFinished(job, Failure(**failure) if failure else None)


def _poll_messages(worker: LocalExecutor) -> Iterator[dict[str, Any]]:
    while True:
        for event in worker.poll(POLL_SECONDS):
            if isinstance(event, EpochFinished):
                yield {"epoch": event.number, "loss": event.loss}
            elif isinstance(event, JobFinished):
                yield {"failure": event.failure and asdict(event.failure)}
                return


def _unpack_plugins(plugins: Sequence[tuple[str, str]], place: Path) -> Iterator[Path]:
    """Write the plug-ins as files, each in a folder of its own: two may have one name."""
    for number, (name, content) in enumerate(plugins):
        path = place / "plugins" / str(number) / name
        path.parent.mkdir(parents=True)
        path.write_text(content, encoding="utf-8")
        yield path


def _with_local_data(job: Job) -> Job:
    """Point the job to this node's data: in `$BENCH_DATA`, unless its own folder exists here."""
    own = os.environ.get("BENCH_DATA")
    return replace(job, root=own) if own and not Path(job.root).is_dir() else job


def _read_files(results: Path) -> dict[str, bytes]:
    found = (path for path in results.rglob("*") if path.is_file())
    return {path.relative_to(results).as_posix(): path.read_bytes() for path in found}


CONNECT_SECONDS = 40.0
PROBE_SECONDS = 5.0  # for a listener at the address
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_task_oom_retries": "0",  # a cell that needs too much memory would need it again
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray 3 does; set here, Ray does not warn of it
}
LOOPBACK_ENVIRONMENT = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # or Ray seeks another address
FAILURE_NAMES = {"OutOfMemoryError": "OutOfMemory"}  # Ray's name -> ours
NODE_LOST_ERRORS = ("WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError", "OwnerDiedError")


@dataclass(frozen=True)
class JobResources:
    """Requirements of a job on its node, and how many jobs the cluster can hold at once."""

    cpus: float
    gpus: float
    max_jobs: int


def job_resources(nodes: Iterable[Mapping[str, float]], gpu: bool, per_gpu: int) -> JobResources:
    """Give a job one core; on GPUs, `per_gpu` jobs share each GPU and divide its node's cores."""
    if not gpu:
        return JobResources(1, 0, sum(int(node.get("CPU", 0)) for node in nodes))
    fit = [node for node in nodes if node.get("GPU", 0) >= 1]
    count = sum(int(node["GPU"]) * per_gpu for node in fit)
    cpus = min((node.get("CPU", 0) / (int(node["GPU"]) * per_gpu) for node in fit), default=0)
    return JobResources(int(cpus) or round(cpus, 2), 1 / per_gpu, count)


class RayExecutor:
    """Runs jobs as tasks of a Ray cluster; their files come back when they end."""

    name = "ray"
    has_queue = False

    def __init__(self, results: Path, device: str, options: RunOptions):
        """Connect to the cluster of the options or `$RAY_ADDRESS`; without either, start one.

        Raises `UserError` where it does not answer, or has nothing to run a job on.
        """
        self.results, self.device, self.options = results, device.partition(":")[0], options
        self.running: dict[str, tuple[Job, Any]] = {}  # by cell, with what gives its messages
        self.ray = connect(options.address or os.environ.get("RAY_ADDRESS"), options.workers)
        self.resources = self._available_resources()
        self.task = self.ray.remote(run_remote_job).options(
            num_cpus=self.resources.cpus,
            num_gpus=self.resources.gpus,
            max_retries=1,  # where its node is lost
            retry_exceptions=False,
            num_returns="streaming",
        )

    def capacity(self) -> int:
        jobs, workers = self._available_resources().max_jobs, self.options.workers
        return jobs if workers is None else min(jobs, workers)

    def submit(self, job: Job, cell: Cell | None = None) -> None:
        commit = git_commit()["commit"]
        sent = replace(job, device=self.device, commit=commit)
        threads = parallel.omp_env(max(1, int(self.resources.cpus)))
        packed = pack_job(sent, self.options.plugins, threads, self.options.timeout)
        self.running[job.cell] = job, self.task.remote(packed)

    def poll(self, seconds: float) -> list[Event]:
        if not self.running:
            sleep(seconds)
            return []
        jobs = {messages: job for job, messages in self.running.values()}
        ready, _ = self.ray.wait(list(jobs), timeout=seconds, fetch_local=False)
        return [self._next_event(jobs[messages], messages) for messages in ready]

    def cancel(self, job: Job) -> None:
        _, messages = self.running.pop(job.cell, (job, None))
        if messages is not None:
            self.ray.cancel(messages, force=True)

    def close(self) -> None:
        for job, _ in list(self.running.values()):
            self.cancel(job)
        self.ray.shutdown()  # leaves a cluster that was there before as it was

    def left_running(self) -> str:
        return ""

    def _next_event(self, job: Job, messages: Any) -> Event:
        """Return the event of the job's next message."""
        try:
            event = apply_message(self.ray.get(next(messages)), job, self.results)
        except (self.ray.exceptions.RayError, StopIteration) as error:
            event = JobFinished(job, failure_from_error(error))
        if isinstance(event, JobFinished):
            del self.running[job.cell]
        return event

    def _available_resources(self) -> JobResources:
        """Return the resources that the cluster offers now; raises `UserError` for none."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        found = job_resources(nodes, self.device == "cuda", self.options.per_gpu)
        if not found.max_jobs:
            unit = "GPU" if self.device == "cuda" else "CPU"
            has = "; ".join(f"CPU {n.get('CPU', 0):g}, GPU {n.get('GPU', 0):g}" for n in nodes)
            raise UserError(
                f"--device {self.device} needs a {unit}, and no node of the Ray cluster offers "
                f"one: they have {has or 'nothing'}"
            )
        return found


def connect(address: str | None, workers: int | None = None) -> Any:
    """Return Ray, connected to the cluster at `address`, or to a private one started here.

    Raises `UserError` where that fails, or takes more than `CONNECT_SECONDS`.
    """
    if address:
        _require_listener(address)
    here = not address or address.startswith(("127.", "localhost:"))
    os.environ.update(
        (RAY_ENVIRONMENT | LOOPBACK_ENVIRONMENT if here else RAY_ENVIRONMENT) | os.environ
    )
    import ray  # reads the environment

    cpus = max(parallel.available_cores(), workers or 0)
    own = {"address": "local", "_node_ip_address": "127.0.0.1", "num_cpus": cpus}
    where = {"address": address} if address else own | {"include_dashboard": False}
    outcome = SimpleQueue[Exception | None]()

    def try_to_connect() -> None:
        try:
            ray.init(**where, log_to_driver=False, logging_level="ERROR")
            outcome.put(None)
        except Exception as error:  # of whatever kind: it is reported below
            outcome.put(error)
        Signal().wait()  # what a thread starts, Ray lets end with the thread

    Thread(target=try_to_connect, daemon=True).start()  # it may hang, and cannot be stopped
    try:
        error = outcome.get(timeout=CONNECT_SECONDS)
    except Empty:
        error = TimeoutError(f"no answer within {CONNECT_SECONDS:g} s")
    if error:
        raise UserError(f"no Ray cluster at {address or 'this machine'}: {first_line(error)}")
    return ray


def _require_listener(address: str) -> None:
    """Raise `UserError` where nothing listens: Ray itself would wait for long."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():  # "auto", or a client's address
        return
    try:
        socket.create_connection((host, int(port)), timeout=PROBE_SECONDS).close()
    except OSError as error:
        raise UserError(f"no Ray cluster at {address}: {first_line(error)}") from None


def failure_from_error(error: Exception) -> Failure:
    """Turn an error of Ray's, or of the task's, into the cell's failure."""
    cause = getattr(error, "cause", None) or error
    kind = type(cause).__name__
    if kind in NODE_LOST_ERRORS:
        return Failure("failed", "NodeLost", f"its node was lost: {first_line(cause)}")
    return Failure("failed", FAILURE_NAMES.get(kind, kind), first_line(cause), str(error))
