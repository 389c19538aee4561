"""Under Slurm, by way of submitit: arrays of bundles, which outlive the process that asks for them.

Whoever runs the same command again waits for the bundles that are queued or run already.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from sys import maxsize
from tempfile import mkdtemp
from time import sleep, strftime
from types import SimpleNamespace
from typing import Any

import submitit

from bench.config import suite
from bench.execution import status
from bench.execution.executors import EpochFinished, Event, JobFinished, JobStarted
from bench.execution.executors.slurm_batch import (
    BatchDir,
    CellBatch,
    has_new_record,
    pack_by_duration,
)
from bench.execution.jobs import Job
from bench.execution.status import DurationEstimates
from bench.records.leases import Leases
from bench.records.schema import Failure
from bench.records.store import Store
from bench.utils import environment
from bench.utils.errors import UserError, first_line

TARGET_SECONDS = (
    30 * 60.0
)  # seconds of a bundle: long beside the wait for a node, short beside its limit
DEFAULT_CELL_SECONDS = 5 * 60.0  # seconds of a cell unlike any with a record
JOB_CLASSES = {"slurm": submitit.SlurmJob, "local": submitit.LocalJob}
STDERR_TAIL = 2000  # characters of what a bundle said


@dataclass
class SubmittedBatch:
    """A bundle that Slurm has, and those of its jobs that are waited for."""

    batch_dir: BatchDir
    handle: Any  # submitit's
    jobs: dict[str, Job] = field(default_factory=dict)  # by cell
    log_offset: int = 0  # in the log

    def new_messages(self) -> list[dict[str, Any]]:
        """What the log says since the last call."""
        messages, self.log_offset = self.batch_dir.read_log(self.log_offset)
        return messages


class SlurmExecutor:
    """Jobs that wait in Slurm's queue, bundled."""

    name = "slurm"
    has_queue = True

    def __init__(
        self,
        results: Path,
        device: str,
        cluster: str,
        asked: Mapping[str, str],
        workers: int | None,
        timeout: float | None,
        plugins: Sequence[Path],
    ):
        """`cluster`: slurm, or local for submitit's stand-in; `asked`: sbatch's options by name.

        `workers`: bundles that run at once. Raises `UserError` for an option that there is not,
        and where there is no Slurm.
        """
        self.results, self.workers, self.cluster = results.resolve(), workers, cluster
        self.device, self.timeout = device.partition(":")[0], timeout
        self.plugins = [path.resolve() for path in plugins]
        self.sbatch_options = dict(asked)
        self.leases = Leases(self.results)
        self.waiting: list[Job] = []
        self.foreign: list[tuple[Job, float]] = []  # another run's, and since when
        self._make_submitter(self.results / "slurm")  # what cannot be asked for shows at once
        self.submitted = list(self._unfinished_batches())

    def capacity(self) -> int:
        return maxsize

    def submit(self, job: Job) -> None:
        """Take a job: that of a bundle which has it already, or of the next array."""
        for sent in self.submitted:
            if job.cell in self._pending_cells(sent):
                sent.jobs[job.cell] = job
                return
        self.waiting.append(job)

    def poll(self, seconds: float) -> list[Event]:
        events = list(self._check_foreign())
        if self.waiting:
            self._submit_waiting()
        events += [event for sent in self.submitted for event in self._read_events(sent)]
        events += [event for sent in self.submitted for event in self._fail_unfinished(sent)]
        self.submitted = [
            one for one in self.submitted if one.jobs or not _is_finished(self.cluster, one.handle)
        ]
        if not events:
            sleep(seconds)
        return events

    def cancel(self, job: Job) -> None:
        self.waiting = [one for one in self.waiting if one.cell != job.cell]
        for sent in [sent for sent in self.submitted if job.cell in sent.jobs]:
            sent.batch_dir.drop(job.cell)
            del sent.jobs[job.cell]
            if not self._pending_cells(sent):
                sent.handle.cancel()

    def close(self) -> None:
        """Leave the bundles to Slurm."""
        self.waiting.clear()

    def left_running(self) -> str:
        names = [sent.handle.job_id for sent in self.submitted if sent.jobs]
        if not names:
            return ""
        end = "scancel" if self.cluster == "slurm" else "kill"
        return (
            f"{len(names)} bundles of cells go on: the same command waits for them, and "
            f"`{end} {' '.join(names)}` ends them"
        )

    def _submit_waiting(self) -> None:
        """Give Slurm an array of what waits."""
        seconds = _duration_estimator(self.waiting, Store(self.results))
        total = sum(map(seconds, self.waiting))
        target = min(TARGET_SECONDS, total / self.workers) if self.workers else TARGET_SECONDS
        (self.results / "slurm").mkdir(parents=True, exist_ok=True)
        place = Path(mkdtemp(prefix=strftime("%Y%m%d-%H%M%S-"), dir=self.results / "slurm"))
        bundles = []
        for number, part in enumerate(pack_by_duration(self.waiting, seconds, target)):
            folder = BatchDir(place / str(number))
            folder.write(map(self._for_cluster, part))
            bundles.append((folder, part))
        longest = max(sum(map(seconds, part)) for _, part in bundles)
        self._submit_array(place, bundles, longest)
        self.waiting.clear()

    def _submit_array(
        self, place: Path, bundles: Sequence[tuple[BatchDir, Sequence[Job]]], longest: float
    ) -> None:
        submitter = self._make_submitter(place, longest)
        calls = [CellBatch(one, self.results, self.plugins, self.timeout) for one, _ in bundles]
        try:
            handles = submitter.submit_array(calls)
        except submitit.core.utils.FailedJobError as error:
            raise UserError(f"Slurm refused the cells: {first_line(error)}") from None
        for handle, (folder, part) in zip(handles, bundles, strict=True):
            (folder.path / "id").write_text(f"{self.cluster} {handle.job_id}")
            self.submitted.append(SubmittedBatch(folder, handle, {job.cell: job for job in part}))

    def _for_cluster(self, job: Job) -> Job:
        root = str(Path(job.root).absolute())
        commit = environment.git_commit()["commit"]
        return replace(job, device=self.device, commit=commit, root=root)

    def _make_submitter(self, place: Path, longest: float = 0) -> Any:
        """submitit's executor, with what was asked for."""
        try:
            made = submitit.AutoExecutor(place, cluster=self.cluster)
        except RuntimeError as error:
            raise UserError(f"no Slurm here: {first_line(error)}") from None
        known = made._valid_parameters()
        own = {"name": "bench", "timeout_min": max(60, int(2 * longest / 60) + 10)}
        if self.device == "cuda" and not self.sbatch_options.keys() & {
            "gres",
            "gpus",
            "gpus_per_node",
        }:
            own |= {"gpus_per_node": 1}
        if self.workers:
            own |= {"slurm_array_parallelism": self.workers}
        named = {
            k if k in known else f"slurm_{k}": _parse_value(v)
            for k, v in self.sbatch_options.items()
        }
        try:
            made.update_parameters(**own | named)
        except NameError:
            raise UserError(_unknown_option(self.sbatch_options, known)) from None
        return made

    def _unfinished_batches(self) -> Iterator[SubmittedBatch]:
        """The bundles of earlier runs that are queued or run."""
        for note in sorted((self.results / "slurm").glob("*/*/id")):
            folder = BatchDir(note.parent)
            cluster, number = note.read_text().split()
            left = {job.cell for job in folder.jobs()} - folder.finished_cells()
            handle = JOB_CLASSES[cluster](note.parents[1], number)
            if left and not _is_finished(cluster, handle):
                yield SubmittedBatch(folder, handle)

    def _pending_cells(self, sent: SubmittedBatch) -> set[str]:
        """The cells that a bundle has yet to end."""
        return (
            {j.cell for j in sent.batch_dir.jobs()}
            - sent.batch_dir.finished_cells()
            - sent.batch_dir.dropped_cells()
        )

    def _read_events(self, sent: SubmittedBatch) -> list[Event]:
        """What the bundle's log says anew of the jobs that are waited for."""
        events: list[Event] = []
        for message in sent.new_messages():
            kind = next(name for name in HANDLERS if name in message)
            job = sent.jobs.get(message[kind])
            if job is not None:
                events += HANDLERS[kind](self, sent, job, message)
        return events

    def _on_started(self, sent: SubmittedBatch, job: Job, message: dict[str, Any]) -> list[Event]:
        return [JobStarted(job)]

    def _on_epoch(self, sent: SubmittedBatch, job: Job, message: dict[str, Any]) -> list[Event]:
        return [EpochFinished(job, message["epoch"], message["loss"])]

    def _on_finished(self, sent: SubmittedBatch, job: Job, message: dict[str, Any]) -> list[Event]:
        del sent.jobs[job.cell]
        failure = message["failure"]
        return [JobFinished(job, Failure(**failure) if failure else None)]

    def _on_foreign(self, sent: SubmittedBatch, job: Job, message: dict[str, Any]) -> list[Event]:
        """Another run had claimed the cell."""
        del sent.jobs[job.cell]
        self.foreign.append((job, sent.batch_dir.created_at()))
        return []

    def _check_foreign(self) -> Iterator[Event]:
        """See what has become of other runs' cells; one that nobody holds any more is ours."""
        looked_at, self.foreign = self.foreign, []
        held = dict(self.leases.active()) if looked_at else {}
        for job, since in looked_at:
            if job.cell in held:
                self.foreign.append((job, since))
            elif has_new_record(self.results, job, since):
                yield JobFinished(job)
            else:
                self.waiting.append(job)

    def _fail_unfinished(self, sent: SubmittedBatch) -> list[Event]:
        """The failure of each job whose bundle is over without it."""
        if not sent.jobs or not _is_finished(self.cluster, sent.handle):
            return []
        events = self._read_events(sent)  # the last that it said
        if sent.jobs:
            failure = _batch_failure(sent.handle)
            for job in sent.jobs.values():
                self.leases.revoke(job.cell, bundle=sent.batch_dir.name)
            events += [JobFinished(job, failure) for job in sent.jobs.values()]
            sent.jobs.clear()
        return events


HANDLERS = {
    "begun": SlurmExecutor._on_started,
    "cell": SlurmExecutor._on_epoch,
    "ended": SlurmExecutor._on_finished,
    "elsewhere": SlurmExecutor._on_foreign,
}


def _is_finished(cluster: str, handle: Any) -> bool:
    """Whether a bundle runs no more; the stand-in's own jobs are known by their process alone."""
    if cluster == "local" and handle._process is None:
        return handle.paths.result_pickle.exists() or not Path(f"/proc/{handle.job_id}").exists()
    return bool(handle.done())


def _batch_failure(handle: Any) -> Failure:
    """Why a bundle is over, with the last of what it said."""
    said = (handle.stderr() or "")[-STDERR_TAIL:]
    text = f"Slurm job {handle.job_id} was over, as {handle.state}, before this cell was"
    return Failure("failed", "JobEnded", text, said)


def _duration_estimator(waiting: Sequence[Job], store: Store) -> Any:
    """What gives the seconds that a job may take, from the records of those like it."""
    known: dict[str, DurationEstimates] = {}
    names: dict[str, str] = {}
    for asked in {job.request["suite"] for job in waiting}:
        names[asked] = suite.load_suite(asked).name
        known[asked] = status.estimate_durations(store, names[asked])

    def seconds(job: Job) -> float:
        asked = job.request
        like = SimpleNamespace(**asked | {"suite": names[asked["suite"]]})
        return known[asked["suite"]].cell_seconds(like) or DEFAULT_CELL_SECONDS

    return seconds


def _parse_value(text: str) -> int | str:
    """What submitit wants of a number is an int."""
    return int(text) if text.isdecimal() else text


def _unknown_option(asked: Mapping[str, str], known: set[str]) -> str:
    valid = submitit.SlurmExecutor._valid_parameters() | known
    wrong = next(name for name in asked if name not in valid)
    near = get_close_matches(wrong, valid, n=3) or sorted(valid)
    return f"--slurm {wrong}: no such option; there are {', '.join(near)}"
