"""A batch: cells that Slurm runs as one job, one after another, each leased while it runs.

A batch's folder below the results holds its jobs and a log of what became of them, which whoever
waits for the batch reads, and from which a batch that was stopped goes on.
"""

import json
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench.config import suite
from bench.execution import progress
from bench.execution.executors import POLL_SECONDS, EpochFinished, JobFinished
from bench.execution.executors.local import LocalExecutor
from bench.execution.executors.worker_process import worker_command
from bench.execution.jobs import Job, parse_job, resolve_cell
from bench.execution.progress import DurationEstimates
from bench.execution.worker import write_failure
from bench.records.leases import Leases
from bench.records.schema import Failure
from bench.records.store import Store
from bench.utils import parallel
from bench.utils.errors import UserError
from bench.utils.files import open_regular_file, read_regular_file

LOG_FIELDS: dict[str, set[str]] = {  # of a message, by the name under which it has the cell
    "begun": set(),
    "cell": {"epoch", "loss"},
    "ended": {"failure"},
    "elsewhere": set(),
}
MAX_FILE_BYTES = 2**26  # of a file of a batch: a job takes about 300 bytes
DEFAULT_CELL_SECONDS = 5 * 60.0  # of a cell unlike any with a record


@dataclass(frozen=True)
class BatchDir:
    """Folder of a batch: its jobs, its log, and the cells that are to be left out."""

    path: Path

    @property
    def name(self) -> str:
        """The name, unique within the results folder."""
        return f"{self.path.parent.name}/{self.path.name}"

    def write(self, jobs: Iterable[Job]) -> None:
        """Create the folder with these jobs."""
        self.path.mkdir(parents=True)
        (self.path / "jobs.jsonl").write_text(
            "".join(job.to_json() + "\n" for job in jobs), encoding="utf-8"
        )

    def created_at(self) -> float:
        """Return when the folder was created, by the disk's clock."""
        return (self.path / "jobs.jsonl").stat().st_mtime

    def jobs(self) -> list[Job]:
        """Return the jobs in their order."""
        content = read_regular_file(self.path / "jobs.jsonl", MAX_FILE_BYTES)
        return [parse_job(line) for line in content.decode("utf-8").splitlines()]

    def append_log(self, **message: Any) -> None:
        """Append a message to the log; only the running batch does."""
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(message) + "\n")

    def read_log(self, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Return the messages from an offset of the log on, and the offset of the next one."""
        try:
            with open_regular_file(self.path / "log.jsonl") as log:
                log.seek(offset)
                content = log.read(MAX_FILE_BYTES)
        except FileNotFoundError:
            return [], offset
        whole = content.rpartition(b"\n")[0]  # not a line that is being written
        messages = [found for line in whole.splitlines() if (found := parse_log_line(line))]
        return messages, offset + len(whole) + bool(whole)

    def finished_cells(self) -> set[str]:
        """Return the cells that have ended, or were another run's."""
        messages, _ = self.read_log()
        return {m["ended"] for m in messages if "ended" in m} | {
            m["elsewhere"] for m in messages if "elsewhere" in m
        }

    def drop(self, cell: str) -> None:
        """Ask the batch to leave a cell out, or to stop it."""
        with (self.path / "dropped").open("a", encoding="utf-8") as dropped:
            dropped.write(cell + "\n")

    def dropped_cells(self) -> set[str]:
        """Return the cells that are to be left out."""
        try:
            content = read_regular_file(self.path / "dropped", MAX_FILE_BYTES)
        except FileNotFoundError:
            return set()
        return set(content.decode("utf-8").split())


def parse_log_line(line: bytes) -> dict[str, Any] | None:
    """Parse a message; None for anything else, such as the line of a batch killed meanwhile."""
    try:
        found = json.loads(line)
        if found.get("failure"):
            Failure(**found["failure"])
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    whole = any(
        isinstance(found.get(kind), str) and found.keys() >= fields
        for kind, fields in LOG_FIELDS.items()
    )
    return found if whole else None


@dataclass
class CellBatch:
    """A batch as the callable that submitit pickles: paths on the shared disk."""

    batch_dir: BatchDir
    results: Path
    plugins: Sequence[Path]
    timeout: float | None  # seconds that a cell may take

    def __call__(self) -> None:
        """Run the cells that are left, in one worker process that is replaced where it dies."""
        signal.signal(signal.SIGTERM, _exit_on_signal)
        self.leases, self.store = Leases(self.results), Store(self.results)
        self.store.pin()
        argv = worker_command(self.results, self.plugins)
        threads = parallel.omp_env(parallel.available_cores())
        self.worker = LocalExecutor(argv, [threads], self.timeout)
        try:
            self._run_all()
        finally:
            self._stop()

    def checkpoint(self) -> Any:
        """Stop at the request of Slurm; the requeued batch continues with the remaining cells."""
        from submitit.helpers import DelayedSubmission

        self._stop()
        return DelayedSubmission(
            CellBatch(self.batch_dir, self.results, self.plugins, self.timeout)
        )

    def _run_all(self) -> None:
        """Run every cell whose end is not in the log."""
        finished = self.batch_dir.finished_cells()
        for job in self.batch_dir.jobs():
            if job.cell not in finished | self.batch_dir.dropped_cells():
                self._run_once(job)

    def _run_once(self, job: Job) -> None:
        """Run one cell, unless another run has leased or finished it."""
        self.store.require_there()
        if not self.leases.acquire(
            job.cell, {"cell": job.describe(), "bundle": self.batch_dir.name}
        ):
            self.batch_dir.append_log(elsewhere=job.cell)
        elif has_new_record(self.results, job, self.batch_dir.created_at()):
            self.batch_dir.append_log(ended=job.cell, failure=None)
        else:
            self.batch_dir.append_log(begun=job.cell)
            self._run_worker(job)
        self.leases.release(job.cell)

    def _stop(self) -> None:
        """Kill the worker and release the lease."""
        self.worker.close()
        for cell in list(self.leases.held):
            self.leases.release(cell)

    def _run_worker(self, job: Job) -> None:
        """Run one cell to its end, or until it is dropped."""
        self.worker.submit(job)
        while job.cell not in self.batch_dir.dropped_cells():
            for event in self.worker.poll(POLL_SECONDS):
                if isinstance(event, EpochFinished):
                    epochs = {"epoch": event.number, "loss": event.loss}
                    self.leases.update(job.cell, epoch=event.number)
                    self.batch_dir.append_log(cell=job.cell, **epochs)
                elif isinstance(event, JobFinished):
                    self._log_finished(job, event.failure)
                    return
            self.store.require_there()
            self.leases.renew()
        self.worker.cancel(job)

    def _log_finished(self, job: Job, failure: Failure | None) -> None:
        if failure:
            with suppress(
                UserError
            ):  # the cell cannot be rebuilt: that is the failure logged below
                write_failure(job, resolve_cell(job), self.store, failure, "slurm")
        self.batch_dir.append_log(ended=job.cell, failure=failure and asdict(failure))


def _exit_on_signal(number: int, frame: object) -> None:
    raise SystemExit(128 + number)  # by way of the `finally` that releases the lease


def has_new_record(results: Path, job: Job, since: float) -> bool:
    """Return whether the job has a record newer than `since`, by the disk's clock."""
    name = f"{job.request['method']}-seed{job.request['seed']}-{job.cell}.json"
    return any(path.stat().st_mtime > since for path in results.glob(f"records/*/*/*/{name}"))


def duration_estimator(waiting: Sequence[Job], store: Store) -> Callable[[Job], float]:
    """Return a function that estimates a job's seconds from the records of similar cells."""
    estimates: dict[str, DurationEstimates] = {}
    names: dict[str, str] = {}
    for card in {job.request["suite"] for job in waiting}:
        names[card] = suite.load_suite(card).name
        estimates[card] = progress.estimate_durations(store, names[card])

    def seconds(job: Job) -> float:
        card = job.request["suite"]
        settings = SimpleNamespace(**job.request | {"suite": names[card]})
        return estimates[card].cell_seconds(settings) or DEFAULT_CELL_SECONDS

    return seconds


def pack_by_duration(
    waiting: Sequence[Job], seconds: Callable[[Job], float], target: float
) -> Iterator[list[Job]]:
    """Split jobs, in their order, into batches of one job or of at most `target` seconds."""
    batch: list[Job] = []
    total = 0.0
    for job in waiting:
        if batch and total + seconds(job) > target:
            yield batch
            batch, total = [], 0.0
        batch.append(job)
        total += seconds(job)
    if batch:
        yield batch
