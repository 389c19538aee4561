"""What travels to a node that shares no disk, how a job runs there, and what comes back.

Plain data both ways; what runs the job is a worker process, as on one machine, so that its death
is seen here and told with its cause.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.execution import jobs
from bench.execution.executors import EpochFinished, JobFinished
from bench.execution.executors.local import LocalExecutor, worker_command
from bench.execution.jobs import Job
from bench.records.schema import Failure
from bench.utils.errors import UserError
from bench.utils.files import write_atomically

POLL_SECONDS = 1.0  # seconds


@dataclass(frozen=True)
class RemoteJob:
    """A job with what it needs of the machine that asks."""

    job_json: str  # its line
    plugins: Sequence[tuple[str, str]]  # name and content of each file
    working_dir: str  # in which the names of cards begin, where it is there
    environment: Mapping[str, str]  # of the worker
    timeout: float | None  # seconds


def pack_job(
    job: Job, plugins: Sequence[Path], environment: Mapping[str, str], timeout: float | None
) -> RemoteJob:
    """What is sent for a job."""
    rooted = replace(job, root=str(Path(job.root).absolute()))
    sent = [(path.name, path.read_text()) for path in plugins]
    return RemoteJob(rooted.to_json(), sent, str(Path.cwd()), environment, timeout)


def run_remote_job(parcel: RemoteJob) -> Iterator[dict[str, Any]]:
    """Run the job: a message for each epoch, and a last one with what became of it.

    That one holds the content of every file that the worker wrote, by its path below the results
    folder.
    """
    if Path(parcel.working_dir).is_dir():
        os.chdir(parcel.working_dir)
    with TemporaryDirectory(prefix="bench-") as place:
        results = Path(place) / "results"
        words = worker_command(results, list(_unpack_plugins(parcel.plugins, Path(place))))
        worker = LocalExecutor(words, [parcel.environment], parcel.timeout)
        try:
            worker.submit(_with_local_data(jobs.parse_job(parcel.job_json)))
            for message in _poll_messages(worker):
                yield message if "epoch" in message else message | {"files": _read_files(results)}
        finally:
            worker.close()


def apply_message(
    message: Mapping[str, Any], job: Job, results: Path
) -> EpochFinished | JobFinished:
    """What a message means, once the files that came with it are written."""
    if "epoch" in message:
        return EpochFinished(job, message["epoch"], message["loss"])
    for name in sorted(message["files"]):  # a record comes last: it says that all is there
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
    """The plug-ins as files, each in a folder of its own: two may have one name."""
    for number, (name, content) in enumerate(plugins):
        path = place / "plugins" / str(number) / name
        path.parent.mkdir(parents=True)
        path.write_text(content)
        yield path


def _with_local_data(job: Job) -> Job:
    """The job with the data where this node has them: `$BENCH_DATA`, if not where it was asked."""
    own = os.environ.get("BENCH_DATA")
    return replace(job, root=own) if own and not Path(job.root).is_dir() else job


def _read_files(results: Path) -> dict[str, bytes]:
    found = (path for path in results.rglob("*") if path.is_file())
    return {path.relative_to(results).as_posix(): path.read_bytes() for path in found}
