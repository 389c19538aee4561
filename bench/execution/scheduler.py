"""Many cells on their way through an executor: claims, retries, what is shown, how it ends."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.execution import jobs
from bench.execution.executors import EpochFinished, Event, Executor, JobFinished, JobStarted
from bench.execution.plan import is_done
from bench.execution.progress import RunProgress
from bench.records import measurements
from bench.records.description import describe_cell
from bench.records.leases import Leases
from bench.records.schema import Record
from bench.records.store import Store
from bench.training import runner
from bench.training.cell import Cell
from bench.utils import environment

POLL_SECONDS = 1.0  # seconds at most between two looks at what others do


@dataclass(frozen=True)
class FailurePolicy:
    """What becomes of a cell that fails."""

    retries: int = 0  # further attempts
    fail_fast: bool = False  # start no other cell after it


@dataclass
class Scheduler:
    """Cells that wait, run, or are another run's."""

    executor: Executor
    store: Store
    leases: Leases
    run_progress: RunProgress
    device: str
    failure_policy: FailurePolicy
    start_time: float  # when it was planned: a record of later is another run's
    options: jobs.RunOptions = jobs.DEFAULT_OPTIONS
    waiting: deque[Cell] = field(default_factory=deque)
    running: dict[str, Cell] = field(default_factory=dict)  # by digest
    queued: set[str] = field(default_factory=set)  # of those that run, what waits to begin
    foreign: dict[str, Cell] = field(default_factory=dict)  # another run's
    attempts: Counter[str] = field(default_factory=Counter)
    failed: int = 0

    def run(self, cells: Iterable[Cell]) -> int:
        """Run the cells; how many of them failed. The executor is closed in any case."""
        self.waiting.extend(cells)
        try:
            while self.waiting or self.running or self.foreign:
                self._check_foreign()
                self._submit_waiting()
                for event in self.executor.poll(POLL_SECONDS):
                    self._handle_event(event)
                self.leases.renew()
        finally:
            self.executor.close()
            for digest in list(self.leases.held):
                self.leases.release(digest)
        return self.failed

    def _submit_waiting(self) -> None:
        """Give the executor what it can take."""
        while self.waiting and len(self.running) < self.executor.capacity():
            cell = self.waiting.popleft()
            digest = cell.settings.digest()
            if self.executor.has_queue:
                self._submit(digest, cell)
            elif not self.leases.acquire(digest, {"cell": describe_cell(cell)}):
                self.foreign[digest] = cell
            elif self.attempts[digest] == 0 and (record := self._new_record(cell)):
                self._count_finished(digest, record)  # it came between the plan and the claim
            else:
                self._submit(digest, cell)

    def _submit(self, digest: str, cell: Cell) -> None:
        self.attempts[digest] += 1
        self.running[digest] = cell
        if self.executor.has_queue:
            self.queued.add(digest)
        else:
            self.run_progress.start(cell)
        self.executor.submit(jobs.job_for(cell, self.device, self.attempts[digest], self.options))

    def _handle_event(self, event: Event) -> None:
        cell = self.running[event.job.cell]
        if isinstance(event, JobStarted):
            self.queued.discard(event.job.cell)
            self.run_progress.start(cell)
            return
        if isinstance(event, EpochFinished):
            self.leases.update(event.job.cell, epoch=event.number, epochs=cell.recipe.epochs)
            self.run_progress.on_epoch(cell, event.number)
            return
        del self.running[event.job.cell]
        self.queued.discard(event.job.cell)
        self._handle_finished(cell, event)

    def _handle_finished(self, cell: Cell, event: JobFinished) -> None:
        digest = event.job.cell
        record = (
            self._write_failure(cell, event) if event.failure else self.store.find(cell.settings)
        )
        assert record is not None, f"{digest} ended without a record"
        if not is_done(record) and self.attempts[digest] <= self.failure_policy.retries:
            self.run_progress.retry(record)
            self.waiting.append(cell)
            self.leases.release(digest)
            return
        self._count_finished(digest, record)

    def _count_finished(self, digest: str, record: Record) -> None:
        """Count a cell that is over."""
        self.leases.release(digest)
        self.run_progress.finish(record)
        if not is_done(record):
            self.failed += 1
            if self.failure_policy.fail_fast:
                self._drop_waiting()

    def _drop_waiting(self) -> None:
        """Start nothing more; cells that run are finished."""
        self.waiting.clear()
        self.foreign.clear()
        for digest in self.queued:
            cell = self.running.pop(digest)
            self.executor.cancel(jobs.job_for(cell, self.device, self.attempts[digest]))
        self.queued.clear()

    def _write_failure(self, cell: Cell, event: JobFinished) -> Record:
        """The record of a cell that could not write its own."""
        about = {
            **environment.git_commit(),
            "executor": self.executor.name,
            "attempt": event.job.attempt,
        }
        return runner.write_record(cell, self.store, None, event.failure, about)

    def _check_foreign(self) -> None:
        """See what has become of other runs' cells; one that nobody holds any more is ours."""
        held = dict(self.leases.active()) if self.foreign else {}
        for digest, cell in list(self.foreign.items()):
            if digest in held:
                continue
            del self.foreign[digest]
            record = self._new_record(cell)
            if record:
                self._count_finished(digest, record)
            else:
                self.waiting.append(cell)

    def _new_record(self, cell: Cell) -> Record | None:
        """The cell's record, where it is newer than this run and all that is asked was measured."""
        path = self.store.path(cell.settings)
        if not path.exists() or path.stat().st_mtime < self.start_time:
            return None
        record = self.store.find(cell.settings)
        unseen = (
            record
            and record.ok
            and measurements.missing_measurements(self.store.root, record.cell, cell.measurements)
        )
        return None if unseen else record
