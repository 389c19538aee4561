"""A task of a Ray cluster: a job that runs in a worker process on any node with free resources.

The node may share no disk with the machine that asks: the job is sent with its plug-ins, and the
files that it writes are sent back.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.data import locations, synthetic
from bench.execution.executors import POLL_SECONDS, EpochFinished, JobFinished
from bench.execution.executors.local import LocalExecutor
from bench.execution.executors.worker_process import worker_command
from bench.execution.jobs import Job, parse_job
from bench.records.schema import Failure
from bench.utils.errors import UserError
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
    rooted = replace(job, root=str(locations.absolute_root(Path(job.root))))
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
            job = _with_local_data(parse_job(packed.job_json))
            worker.submit(replace(job, checkpoint_every=None))  # nothing would keep them
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
    """Point the job to this node's data: in `$BENCH_DATA`, unless its own are here, or drawn."""
    own, root = os.environ.get("BENCH_DATA"), Path(job.root)
    is_here = root.is_dir() or synthetic.is_synthetic(root)
    return replace(job, root=own) if own and not is_here else job


def _read_files(results: Path) -> dict[str, bytes]:
    found = (path for path in results.rglob("*") if path.is_file())
    return {path.relative_to(results).as_posix(): path.read_bytes() for path in found}
