"""Slurm execution, through submitit: arrays of batches that outlive the submitting process.

The same command, run again, waits for the batches that are queued or run already.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from sys import maxsize
from tempfile import mkdtemp
from time import sleep, strftime
from typing import Any

import submitit

from bench.data import locations
from bench.execution.executors import EpochFinished, Event, JobFinished, JobStarted, Notice
from bench.execution.executors.slurm_batch import (
    LOG_FIELDS,
    BatchDir,
    CellBatch,
    duration_estimator,
    has_new_record,
    pack_by_duration,
)
from bench.execution.executors.submitted_batch import SubmittedBatch, unfinished_batches
from bench.execution.jobs import Job
from bench.execution.request import RunOptions
from bench.records.leases import Leases
from bench.records.schema import Failure
from bench.records.store import Store
from bench.training.cell import Cell
from bench.utils import environment
from bench.utils.errors import UserError, first_line

TARGET_SECONDS = 30 * 60.0  # of a batch: long against the wait for a node, short against its limit
GPU_OPTIONS = {"gres", "gpus", "gpus_per_node"}
START_ATTEMPTS = 4  # of a cell's batch, where the batch is killed before its first cell begins


class SlurmExecutor:
    """Runs jobs in batches, which wait in Slurm's queue."""

    name = "slurm"
    has_queue = True

    def __init__(self, results: Path, device: str, options: RunOptions):
        """Find the batches of earlier runs that are queued or run.

        `options.workers` batches run at once. Raises `UserError` for an option that sbatch does not
        have, and where there is no Slurm.
        """
        self.results, self.device = results.resolve(), device.partition(":")[0]
        self.cluster = "local" if options.executor == "slurm-local" else "slurm"  # submitit's names
        self.workers, self.timeout = options.workers, options.timeout
        self.plugins = [path.resolve() for path in options.plugins]
        self.sbatch_options = options.slurm
        self.leases = Leases(self.results)
        self.waiting: list[Job] = []
        self.foreign: list[tuple[Job, float]] = []  # another run's, and since when
        self.failed_starts = Counter[str]()  # by cell
        self._make_submitter(self.results / "slurm")  # a bad option shows at once
        self.submitted = list(unfinished_batches(self.results / "slurm"))

    def capacity(self) -> int:
        return maxsize

    def submit(self, job: Job, cell: Cell | None = None) -> None:
        """Take a job: wait for the batch that has it already, or put it into the next array."""
        for batch in self.submitted:
            if job.cell in batch.pending_cells():
                batch.jobs[job.cell] = job
                return
        self.waiting.append(job)

    def poll(self, seconds: float) -> list[Event]:
        events = list(self._check_foreign())
        if self.waiting:
            self._submit_waiting()
        events += [event for batch in self.submitted for event in self._read_events(batch)]
        events += [event for batch in self.submitted for event in self._fail_unfinished(batch)]
        self.submitted = [one for one in self.submitted if one.jobs or not one.is_finished()]
        if not events:
            sleep(seconds)
        return events

    def cancel(self, job: Job) -> None:
        self.waiting = [one for one in self.waiting if one.cell != job.cell]
        for batch in [batch for batch in self.submitted if job.cell in batch.jobs]:
            batch.batch_dir.drop(job.cell)
            del batch.jobs[job.cell]
            if not batch.pending_cells():
                batch.handle.cancel()

    def close(self) -> None:
        """Leave the batches to Slurm."""
        self.waiting.clear()

    def left_running(self) -> str:
        names = [batch.handle.job_id for batch in self.submitted if batch.jobs]
        if not names:
            return ""
        end = "scancel" if self.cluster == "slurm" else "kill"
        return (
            f"{len(names)} bundles of cells go on: the same command waits for them, and "
            f"`{end} {' '.join(names)}` ends them"
        )

    def _submit_waiting(self) -> None:
        """Submit the waiting jobs as an array of batches."""
        seconds = duration_estimator(self.waiting, Store(self.results))
        total = sum(map(seconds, self.waiting))
        target = min(TARGET_SECONDS, total / self.workers) if self.workers else TARGET_SECONDS
        (self.results / "slurm").mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix=strftime("%Y%m%d-%H%M%S-"), dir=self.results / "slurm"))
        batches = []
        for number, part in enumerate(pack_by_duration(self.waiting, seconds, target)):
            batch_dir = BatchDir(folder / str(number))
            batch_dir.write(map(self._for_cluster, part))
            batches.append((batch_dir, part))
        longest = max(sum(map(seconds, part)) for _, part in batches)
        self._submit_array(folder, batches, longest)
        self.waiting.clear()

    def _submit_array(
        self, folder: Path, batches: Sequence[tuple[BatchDir, Sequence[Job]]], longest: float
    ) -> None:
        submitter = self._make_submitter(folder, longest)
        calls = [CellBatch(one, self.results, self.plugins, self.timeout) for one, _ in batches]
        try:
            handles = submitter.submit_array(calls)
        except submitit.core.utils.FailedJobError as error:
            raise UserError(f"Slurm refused the cells: {first_line(error)}") from None
        for handle, (batch_dir, part) in zip(handles, batches, strict=True):
            (batch_dir.path / "id").write_text(f"{self.cluster} {handle.job_id}", encoding="utf-8")
            jobs = {job.cell: job for job in part}
            self.submitted.append(SubmittedBatch(batch_dir, self.cluster, handle, jobs))

    def _for_cluster(self, job: Job) -> Job:
        root = str(locations.absolute_root(Path(job.root)))
        commit = environment.git_commit()["commit"]
        return replace(job, device=self.device, commit=commit, root=root)

    def _make_submitter(self, folder: Path, longest: float = 0) -> Any:
        """Return submitit's executor, for batches of `longest` seconds, with the user's options."""
        try:
            submitter = submitit.AutoExecutor(folder, cluster=self.cluster)
        except RuntimeError as error:
            raise UserError(f"no Slurm here: {first_line(error)}") from None
        known = submitter._valid_parameters()
        named = {
            k if k in known else f"slurm_{k}": _parse_value(v)
            for k, v in self.sbatch_options.items()
        }
        try:
            submitter.update_parameters(**self._default_options(longest) | named)
        except NameError:
            raise UserError(_unknown_option(self.sbatch_options, known)) from None
        return submitter

    def _default_options(self, longest: float) -> dict[str, Any]:
        """Return submitit's parameters, where the user's options do not replace them."""
        options = {"name": "bench", "timeout_min": max(60, int(2 * longest / 60) + 10)}
        if self.device == "cuda" and not self.sbatch_options.keys() & GPU_OPTIONS:
            options |= {"gpus_per_node": 1}
        if self.workers:
            options |= {"slurm_array_parallelism": self.workers}
        return options

    def _read_events(self, batch: SubmittedBatch) -> list[Event]:
        """Turn new messages of a batch's log into events of the jobs that are waited for."""
        events: list[Event] = []
        for message in batch.new_messages():
            kind = next(name for name in LOG_FIELDS if name in message)
            job = batch.jobs.get(message[kind])
            if job is not None:
                events += HANDLERS[kind](self, batch, job, message)
        return events

    def _on_started(self, batch: SubmittedBatch, job: Job, message: dict[str, Any]) -> list[Event]:
        return [JobStarted(job)]

    def _on_epoch(self, batch: SubmittedBatch, job: Job, message: dict[str, Any]) -> list[Event]:
        return [EpochFinished(job, message["epoch"], message["loss"])]

    def _on_finished(self, batch: SubmittedBatch, job: Job, message: dict[str, Any]) -> list[Event]:
        del batch.jobs[job.cell]
        failure = message["failure"]
        return [JobFinished(job, Failure(**failure) if failure else None)]

    def _on_foreign(self, batch: SubmittedBatch, job: Job, message: dict[str, Any]) -> list[Event]:
        """Wait for another run, which holds the cell."""
        del batch.jobs[job.cell]
        self.foreign.append((job, batch.batch_dir.created_at()))
        return []

    def _check_foreign(self) -> Iterator[Event]:
        """Look for records of other runs' cells; take over those that nobody holds any more."""
        foreign, self.foreign = self.foreign, []
        held = dict(self.leases.active()) if foreign else {}
        for job, since in foreign:
            if job.cell in held:
                self.foreign.append((job, since))
            elif has_new_record(self.results, job, since):
                yield JobFinished(job)
            else:
                self.waiting.append(job)

    def _fail_unfinished(self, batch: SubmittedBatch) -> list[Event]:
        """Fail each waited-for job that its batch, which has ended, did not finish.

        The jobs of a batch that ended before any of them began are put into another batch.
        """
        if not batch.jobs or not batch.is_finished():
            return []
        events = self._read_events(batch)  # its last messages
        failure, jobs = batch.failure(), list(batch.jobs.values())
        batch.jobs.clear()
        if jobs and batch.has_failed_to_start() and self._may_start_again(jobs):
            self.waiting += jobs
            why = f"a bundle of cells did not start: {failure.message}; it is submitted again"
            return [*events, Notice(why)]
        for job in jobs:
            self.leases.revoke(job.cell, bundle=batch.batch_dir.name)
        return events + [JobFinished(job, failure) for job in jobs]

    def _may_start_again(self, jobs: Sequence[Job]) -> bool:
        """Count a failed start of jobs; return whether they may have another."""
        self.failed_starts.update(job.cell for job in jobs)
        return all(self.failed_starts[job.cell] < START_ATTEMPTS for job in jobs)


HANDLERS = {
    "begun": SlurmExecutor._on_started,
    "cell": SlurmExecutor._on_epoch,
    "ended": SlurmExecutor._on_finished,
    "elsewhere": SlurmExecutor._on_foreign,
}


def _parse_value(text: str) -> int | str:
    """Parse a number: submitit expects an int."""
    return int(text) if text.isdecimal() else text


def _unknown_option(options: Mapping[str, str], known: set[str]) -> str:
    """Return the message for the first of the options that sbatch does not have."""
    valid = submitit.SlurmExecutor._valid_parameters() | known
    wrong = next(name for name in options if name not in valid)
    near = get_close_matches(wrong, valid, n=3) or sorted(valid)
    return f"--slurm {wrong}: no such option; there are {', '.join(near)}"
