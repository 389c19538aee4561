"""Cells that a batch system runs as one job, one after another, each claimed while it runs.

A bundle is a folder below the results: its jobs, and a log of what became of them, which whoever
waits for it reads and from which a bundle that was stopped goes on.
"""

import json
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.execution.executors import EpochFinished, JobFinished
from bench.execution.executors.local import LocalExecutor, worker_command
from bench.execution.jobs import Job, parse_job, resolve_cell
from bench.records.leases import Leases
from bench.records.schema import Failure
from bench.records.store import Store
from bench.utils import parallel
from bench.utils.errors import UserError

POLL_SECONDS = 1.0  # seconds


@dataclass(frozen=True)
class BatchDir:
    """Where a bundle lies."""

    path: Path

    @property
    def name(self) -> str:
        """What tells it from every other in the results."""
        return f"{self.path.parent.name}/{self.path.name}"

    def write(self, jobs: Iterable[Job]) -> None:
        """Begin a bundle of these jobs."""
        self.path.mkdir(parents=True)
        (self.path / "jobs.jsonl").write_text("".join(job.to_json() + "\n" for job in jobs))

    def created_at(self) -> float:
        """When the bundle was begun, by the disk's clock."""
        return (self.path / "jobs.jsonl").stat().st_mtime

    def jobs(self) -> list[Job]:
        """What is to be run, in that order."""
        return [parse_job(line) for line in (self.path / "jobs.jsonl").read_text().splitlines()]

    def append_log(self, **message: Any) -> None:
        """Add to the log; only the bundle does."""
        with (self.path / "log.jsonl").open("a") as log:
            log.write(json.dumps(message) + "\n")

    def read_log(self, begin: int = 0) -> tuple[list[dict[str, Any]], int]:
        """The messages from a place in the log, and the place where the next will stand."""
        try:
            with (self.path / "log.jsonl").open("rb") as log:
                log.seek(begin)
                whole = log.read().rpartition(b"\n")[0]  # not a line that is being written
        except FileNotFoundError:
            return [], begin
        return [json.loads(line) for line in whole.splitlines()], begin + len(whole) + bool(whole)

    def finished_cells(self) -> set[str]:
        """The cells that the bundle is through with."""
        messages, _ = self.read_log()
        return {m["ended"] for m in messages if "ended" in m} | {
            m["elsewhere"] for m in messages if "elsewhere" in m
        }

    def drop(self, cell: str) -> None:
        """Ask the bundle to leave a cell out, or to stop it."""
        with (self.path / "dropped").open("a") as dropped:
            dropped.write(cell + "\n")

    def dropped_cells(self) -> set[str]:
        """The cells that are left out."""
        path = self.path / "dropped"
        return set(path.read_text().split()) if path.exists() else set()


@dataclass
class CellBatch:
    """What the batch system calls; it travels as the names of what lies on the shared disk."""

    batch_dir: BatchDir
    results: Path
    plugins: Sequence[Path]
    timeout: float | None  # seconds that a cell may take

    def __call__(self) -> None:
        """Run the cells that are left."""
        signal.signal(signal.SIGTERM, _exit_on_signal)
        self.current_run = BatchRun(self)
        try:
            self.current_run.run_all()
        finally:
            self.current_run.stop()

    def checkpoint(self) -> Any:
        """Stop, as the batch system asks; what is queued again goes on with what is left."""
        from submitit.helpers import DelayedSubmission

        self.current_run.stop()
        again = CellBatch(self.batch_dir, self.results, self.plugins, self.timeout)
        return DelayedSubmission(again)


def _exit_on_signal(number: int, frame: object) -> None:
    raise SystemExit(128 + number)  # by way of what releases the claim


class BatchRun:
    """A bundle that runs: one worker process, replaced where it dies, and a claim a cell."""

    def __init__(self, bundle: CellBatch):
        self.batch_dir, self.results = bundle.batch_dir, bundle.results
        self.leases, self.store = Leases(bundle.results), Store(bundle.results)
        places = [parallel.omp_env(parallel.available_cores())]
        self.worker = LocalExecutor(
            worker_command(self.results, bundle.plugins), places, bundle.timeout
        )

    def run_all(self) -> None:
        """Run every cell that the log does not tell the end of."""
        over = self.batch_dir.finished_cells()
        for job in self.batch_dir.jobs():
            if job.cell not in over | self.batch_dir.dropped_cells():
                self._run_once(job)

    def _run_once(self, job: Job) -> None:
        """Run one cell, unless another run has it or has made it."""
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

    def stop(self) -> None:
        """Kill the worker and give up the claim."""
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
            self.leases.renew()
        self.worker.cancel(job)

    def _log_finished(self, job: Job, failure: Failure | None) -> None:
        if failure:
            self._write_failure(job, failure)
        self.batch_dir.append_log(ended=job.cell, failure=failure and asdict(failure))

    def _write_failure(self, job: Job, failure: Failure) -> None:
        """Write the record that the worker could not: nobody else may be there to."""
        from bench.training import runner
        from bench.utils import environment

        try:
            cell = resolve_cell(job)
        except UserError:  # that is the failure; the log tells it
            return
        about = {**environment.git_commit(), "executor": "slurm", "attempt": job.attempt}
        runner.write_record(cell, self.store, None, failure, about)


def has_new_record(results: Path, job: Job, since: float) -> bool:
    """Whether the job has a record that is newer, by the disk's clock."""
    name = f"{job.request['method']}-seed{job.request['seed']}-{job.cell}.json"
    return any(path.stat().st_mtime > since for path in results.glob(f"records/*/*/*/{name}"))


def pack_by_duration(
    waiting: Sequence[Job], seconds: Callable[[Job], float], target: float
) -> Iterator[list[Job]]:
    """The jobs in their order, as bundles that take `target` seconds at most, or hold one."""
    bundle: list[Job] = []
    total = 0.0
    for job in waiting:
        if bundle and total + seconds(job) > target:
            yield bundle
            bundle, total = [], 0.0
        bundle.append(job)
        total += seconds(job)
    if bundle:
        yield bundle
