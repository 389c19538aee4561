"""Scheduler: takes many cells through an executor, with leases, retries and progress."""

from collections import Counter, deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from bench.execution import passes
from bench.execution.executors import (
    POLL_SECONDS,
    EpochFinished,
    Event,
    Executor,
    JobFinished,
    JobStarted,
    Notice,
)
from bench.execution.finished_cells import FinishedCells
from bench.execution.jobs import DEFAULT_OPTIONS, Job, job_for_pass
from bench.execution.plan import is_done, pending_measurements
from bench.execution.progress import RunProgress
from bench.execution.request import RunOptions
from bench.execution.worker import write_failure
from bench.records.description import describe_cell
from bench.records.leases import Leases
from bench.records.schema import Failure, Record
from bench.records.store import Store
from bench.training import checkpoint_file
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
    running: dict[str, list[Cell]] = field(default_factory=dict)  # by the first one's digest
    queued: set[str] = field(default_factory=set)  # of the running, those that have yet to begin
    alone: set[str] = field(default_factory=set)  # cells that are in no pass with others
    foreign: dict[str, Cell] = field(default_factory=dict)  # another run's
    attempts: Counter[str] = field(default_factory=Counter)
    finished: FinishedCells = field(default_factory=FinishedCells)
    failed: int = 0

    def run(self, cells: Iterable[Cell]) -> int:
        """Run the cells; return how many failed. The executor is closed in any case.

        Raises `OSError` where records cannot be written any more.
        """
        self.waiting.extend(cells)
        try:
            while self.waiting or self.running or self.foreign:
                self.store.require_there()
                self._check_foreign()
                self._submit_waiting()
                self.run_progress.warn(self.leases.take_problems())
                events = self.executor.poll(POLL_SECONDS)
                self.store.require_there()
                for event in events:
                    self._handle_event(event)
                self.leases.renew()
        finally:
            self.executor.close()
            self._release_leases()
        return self.failed

    def _release_leases(self) -> None:
        """Release the leases held; where the disk does not allow it, they expire."""
        for digest in list(self.leases.held):
            with suppress(OSError):
                self.leases.release(digest)

    def _submit_waiting(self) -> None:
        """Submit as many cells as the executor can take."""
        while self.waiting and len(self.running) < self.executor.capacity():
            taken = passes.take_pass(self.waiting, self.options, self.alone)
            cells = [cell for cell in taken if self._lease(cell)]
            if cells:
                self._submit(cells)

    def _lease(self, cell: Cell) -> bool:
        """Lease a cell, unless the executor does so; return whether to run it here now."""
        digest = cell.settings.digest()
        if self.executor.has_queue:
            return True
        if not self.leases.acquire(digest, {"cell": describe_cell(cell)}):
            self.foreign[digest] = cell
            return False
        if self.attempts[digest] == 0 and (record := self._new_record(cell)):
            self._count_finished(digest, record)  # it came between the plan and the lease
            return False
        return True

    def _submit(self, cells: list[Cell]) -> None:
        self.attempts.update(cell.digest for cell in cells)
        digest = cells[0].digest
        self.running[digest] = cells
        if self.executor.has_queue:
            self.queued.add(digest)
        else:
            self._start(cells)
        self.executor.submit(self._job(cells), cells[0])

    def _start(self, cells: list[Cell]) -> None:
        for cell in cells:
            self.run_progress.start(cell)

    def _job(self, cells: list[Cell]) -> Job:
        return job_for_pass(cells, self.device, self.attempts[cells[0].digest], self.options)

    def _handle_event(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.run_progress.warn([event.text])
            return
        cells = self.running[event.job.cell]
        if isinstance(event, JobStarted):
            self.queued.discard(event.job.cell)
            self._start(cells)
            return
        if isinstance(event, EpochFinished):
            cell = next((cell for cell in cells if cell.digest == event.cell), cells[0])
            self.leases.update(cell.digest, epoch=event.number, epochs=cell.recipe.epochs)
            self.run_progress.on_epoch(cell, event.number)
            return
        del self.running[event.job.cell]
        self.queued.discard(event.job.cell)
        if event.failure and len(cells) > 1:
            cells = self._split_pass(cells, event.failure)
        for cell in cells:
            self._handle_finished(cell, event)

    def _split_pass(self, cells: list[Cell], failure: Failure) -> list[Cell]:
        """Let the cells of a failed pass be run one by one; return those that have a record."""
        without = [cell for cell in cells if self._new_record(cell) is None]
        if without:
            self.run_progress.split(without, failure.message)
        self.waiting.extend(without)
        for cell in without:
            self.alone.add(cell.digest)
            self.attempts[cell.digest] -= 1
            self.leases.release(cell.digest)
        return [cell for cell in cells if cell.digest not in self.alone]

    def _handle_finished(self, cell: Cell, event: JobFinished) -> None:
        digest = cell.digest
        failure = None if event.job.partners else event.failure
        record = None if failure else self.store.find(cell.settings)
        if record is None:
            failure = failure or Failure("failed", "RecordLost", "its record was removed at once")
            record = write_failure(event.job, cell, self.store, failure, self.executor.name)
        if not is_done(record) and self.attempts[digest] <= self.options.retries:
            self.run_progress.retry(record)
            self.waiting.append(cell)
            self.alone.add(digest)
            self.leases.release(digest)
            return
        self._count_finished(digest, record)

    def _count_finished(self, digest: str, record: Record) -> None:
        """Count a cell that has ended."""
        self.finished.add(self.store, record.settings)
        checkpoint_file.remove(self.store.checkpoint_path(record.settings))
        self.leases.release(digest)
        self.run_progress.finish(record)
        self.run_progress.warn(record.environment.get("checkpoint_problems", ()))
        if not is_done(record):
            self.failed += 1
            if self.options.fail_fast:
                self._drop_waiting()

    def _drop_waiting(self) -> None:
        """Start no other cell; those that run are finished."""
        self.waiting.clear()
        self.foreign.clear()
        for digest in self.queued:
            self.executor.cancel(self._job(self.running.pop(digest)))
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
