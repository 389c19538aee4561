"""Scheduler: takes many cells through an executor, with leases, retries and progress."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.execution.executors import (
    POLL_SECONDS,
    EpochFinished,
    Event,
    Executor,
    JobFinished,
    JobStarted,
)
from bench.execution.jobs import DEFAULT_OPTIONS, Job, job_for
from bench.execution.plan import is_done, pending_measurements
from bench.execution.progress import RunProgress
from bench.execution.request import RunOptions
from bench.execution.worker import write_failure
from bench.records.description import describe_cell
from bench.records.leases import Leases
from bench.records.schema import Record
from bench.records.store import Store
from bench.training.cell import Cell


@dataclass
class Scheduler:
    """Cells that wait, run, or are another run's."""

    executor: Executor
    store: Store
    leases: Leases
    run_progress: RunProgress
    device: str
    start_time: float  # of the planning: a later record is another run's
    options: RunOptions = DEFAULT_OPTIONS
    waiting: deque[Cell] = field(default_factory=deque)
    running: dict[str, Cell] = field(default_factory=dict)  # by digest
    queued: set[str] = field(default_factory=set)  # of the running, those that have yet to begin
    foreign: dict[str, Cell] = field(default_factory=dict)  # another run's
    attempts: Counter[str] = field(default_factory=Counter)
    failed: int = 0

    def run(self, cells: Iterable[Cell]) -> int:
        """Run the cells; return how many failed. The executor is closed in any case."""
        self.waiting.extend(cells)
        try:
            while self.waiting or self.running or self.foreign:
                self._check_foreign()
                self._submit_waiting()
                self.run_progress.warn(self.leases.take_problems())
                for event in self.executor.poll(POLL_SECONDS):
                    self._handle_event(event)
                self.leases.renew()
        finally:
            self.executor.close()
            for digest in list(self.leases.held):
                self.leases.release(digest)
        return self.failed

    def _submit_waiting(self) -> None:
        """Submit as many cells as the executor can take."""
        while self.waiting and len(self.running) < self.executor.capacity():
            cell = self.waiting.popleft()
            digest = cell.settings.digest()
            if self.executor.has_queue:
                self._submit(digest, cell)
            elif not self.leases.acquire(digest, {"cell": describe_cell(cell)}):
                self.foreign[digest] = cell
            elif self.attempts[digest] == 0 and (record := self._new_record(cell)):
                self._count_finished(digest, record)  # it came between the plan and the lease
            else:
                self._submit(digest, cell)

    def _submit(self, digest: str, cell: Cell) -> None:
        self.attempts[digest] += 1
        self.running[digest] = cell
        if self.executor.has_queue:
            self.queued.add(digest)
        else:
            self.run_progress.start(cell)
        self.executor.submit(self._job(digest, cell), cell)

    def _job(self, digest: str, cell: Cell) -> Job:
        return job_for(cell, self.device, self.attempts[digest], self.options)

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
        if event.failure:
            name = self.executor.name
            record: Record | None = write_failure(event.job, cell, self.store, event.failure, name)
        else:
            record = self.store.find(cell.settings)
        assert record is not None, f"{digest} ended without a record"
        if not is_done(record) and self.attempts[digest] <= self.options.retries:
            self.run_progress.retry(record)
            self.waiting.append(cell)
            self.leases.release(digest)
            return
        self._count_finished(digest, record)

    def _count_finished(self, digest: str, record: Record) -> None:
        """Count a cell that has ended."""
        self.leases.release(digest)
        self.run_progress.finish(record)
        if not is_done(record):
            self.failed += 1
            if self.options.fail_fast:
                self._drop_waiting()

    def _drop_waiting(self) -> None:
        """Start no other cell; those that run are finished."""
        self.waiting.clear()
        self.foreign.clear()
        for digest in self.queued:
            self.executor.cancel(self._job(digest, self.running.pop(digest)))
        self.queued.clear()

    def _check_foreign(self) -> None:
        """Look for records of other runs' cells; take over those that nobody holds any more."""
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
        """Return the cell's record, if it is newer than this run and has all measurements."""
        path = self.store.path(cell.settings)
        if not path.exists() or path.stat().st_mtime < self.start_time:
            return None
        record = self.store.find(cell.settings)
        return None if pending_measurements(record, cell, self.store) else record
