"""A batch in Slurm's hands, as whoever waits for it sees it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import submitit

from bench.execution.executors.slurm_batch import BatchDir
from bench.execution.executors.worker_process import STDERR_TAIL
from bench.execution.jobs import Job
from bench.records.schema import Failure
from bench.utils.files import read_regular_file

JOB_CLASSES = {"slurm": submitit.SlurmJob, "local": submitit.LocalJob}
LONGEST_ID = 1000  # bytes


@dataclass
class SubmittedBatch:
    """A batch, with those of its jobs that are waited for."""

    batch_dir: BatchDir
    cluster: str  # as submitit names it
    handle: Any  # submitit's
    jobs: dict[str, Job] = field(default_factory=dict)  # by cell
    log_offset: int = 0  # up to which the log was read

    def new_messages(self) -> list[dict[str, Any]]:
        """Return the messages of the log since the last call."""
        messages, self.log_offset = self.batch_dir.read_log(self.log_offset)
        return messages

    def pending_cells(self) -> set[str]:
        """Return the cells that the batch has yet to finish."""
        left_out = self.batch_dir.finished_cells() | self.batch_dir.dropped_cells()
        return {job.cell for job in self.batch_dir.jobs()} - left_out

    def is_finished(self) -> bool:
        """Return whether it has ended; earlier runs' local jobs are known by process id alone."""
        if self.cluster == "local" and self.handle._process is None:
            done: bool = self.handle.paths.result_pickle.exists()
            return done or not _is_submitit(self.handle.job_id)
        return bool(self.handle.done())

    def has_failed_to_start(self) -> bool:
        """Return whether, ended, it has not even begun; not so where somebody cancelled it."""
        return not self.log_offset and not self.handle.state.startswith("CANCELLED")

    def failure(self) -> Failure:
        """Return why it has ended, with the end of its standard error."""
        stderr = (self.handle.stderr() or "")[-STDERR_TAIL:]
        job, state = self.handle.job_id, self.handle.state
        message = f"Slurm job {job} was over, as {state}, before this cell was"
        return Failure("failed", "JobEnded", message, stderr)


def unfinished_batches(folder: Path) -> Iterator[SubmittedBatch]:
    """Yield the batches of earlier runs that are queued or running; other folders are skipped."""
    for path in sorted(folder.glob("*/*/id")):
        batch_dir = BatchDir(path.parent)
        try:
            cluster, number = read_regular_file(path, LONGEST_ID).decode().split()
            batch = SubmittedBatch(
                batch_dir, cluster, JOB_CLASSES[cluster](path.parents[1], number)
            )
            is_left = batch.pending_cells() and not batch.is_finished()
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if is_left:
            yield batch


def _is_submitit(pid: str) -> bool:
    """Return whether the process with this id is still a submitit process."""
    try:
        return b"submitit" in Path(f"/proc/{int(pid)}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False
