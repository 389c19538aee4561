"""A session: trials where the recipe tunes, then the final cells, over one results folder.

A session resumes: a cell that has a result is not run again. Nothing is printed here; a `Reporter`
shows the course of a session.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from time import time

from bench.execution import completed_runs, plan_lines, room, study_plan, tuning
from bench.execution.executors import Executor, factory
from bench.execution.finished_cells import FinishedCells
from bench.execution.jobs import DEFAULT_OPTIONS
from bench.execution.plan import Plan, look_up, make_plan, recorded_of, wants_tuning
from bench.execution.progress import SILENT, Reporter, RunProgress
from bench.execution.request import Request, RunOptions
from bench.execution.scheduler import Scheduler
from bench.execution.session_state import SessionPlan, SessionResult, TuningState
from bench.execution.tuning import Search
from bench.records.leases import Leases
from bench.records.store import Store
from bench.training import callbacks
from bench.training.cell import Cell
from bench.utils.errors import UserError

DEFAULT_RESULTS = Path("results")
PathName = str | Path


def plan(
    request: Request, results: PathName = DEFAULT_RESULTS, options: RunOptions = DEFAULT_OPTIONS
) -> SessionPlan:
    """Plan the cells of a request and look up their results; nothing is run.

    Raises `UserError` for whatever would keep a cell from running.
    """
    results = Path(results)
    Store(results).require_current_schema()
    requests = tuned_requests(request)
    if not requests:
        return SessionPlan(plan_untuned(request, results, options))
    state = tuning_state(tuning.plan_all_searches(requests), results)
    return SessionPlan(plan_finals(state, results), state)


def run(
    request: Request,
    results: PathName = DEFAULT_RESULTS,
    options: RunOptions = DEFAULT_OPTIONS,
    reporter: Reporter = SILENT,
) -> SessionResult:
    """Tune where the request asks for it, then run the final cells; each writes its record.

    Raises `UserError` as `plan` does, before the first cell runs.
    """
    session = _Session(Path(results), options, reporter)
    session.finals.require_current_schema()
    requests = tuned_requests(request)
    with session.finished.stated():
        return session.run_tuned(requests) if requests else session.run_untuned(request)


def tune(
    request: Request,
    results: PathName = DEFAULT_RESULTS,
    options: RunOptions = DEFAULT_OPTIONS,
    reporter: Reporter = SILENT,
) -> SessionResult:
    """Run the trials of a request alone; raises `UserError` as `plan` does."""
    session = _Session(Path(results), options, reporter)
    searches = plan_trials(request, session.results)
    with session.finished.stated():
        session.finals.require_writable()
        failed, _ = session.run_trials(searches)
    state = tuning_state(searches, session.results)
    return SessionResult(tuning=state, num_failed_trials=failed, has_run_finals=False)


def plan_trials(request: Request, results: Path) -> list[Search]:
    """Plan the searches of a request whose trials are to be run alone; raises as `plan` does."""
    if request.seeds:
        raise UserError("trials have the seed of their recipe's tuning: --set tuning.seed=1, say")
    Store(results).require_current_schema()
    return tuning.plan_searches(request)


def tuned_requests(request: Request) -> list[Request]:
    """Return the requests with tuning; for a study, its card decides."""
    if not request.study:
        return [request] if wants_tuning(request) else []
    asked = replace(request, study=None, quick=False)
    requests = study_plan.tuning_requests(request.study, request.quick, asked)
    return [one for one in requests if wants_tuning(one)]


def plan_untuned(request: Request, results: Path, options: RunOptions = DEFAULT_OPTIONS) -> Plan:
    """Plan the cells of a request without trials: a study's, or those that it names."""
    store = Store(results)
    if not request.study:
        if request.quick:
            raise UserError("--quick says how to run a study: name it with --study")
        return make_plan(request, store)
    asked = replace(request, study=None, quick=False)
    planned = study_plan.plan_study_by_name(request.study, request.quick, asked, store)
    if options.processes > 1 and any(cell.measurements for cell in planned.cells):
        raise UserError("a study that measures needs cells of one process; leave out --processes")
    return planned


def tuning_state(searches: Sequence[Search], results: Path) -> TuningState:
    """Look up how far searches are; no test data are read."""
    store, device = tuning.trial_store(results), searches[0].resolved.request.device
    states = [(search, search.state(store)) for search in searches]
    cells = [cell for _, state in states for cell, _ in state.known_trials]
    pending = {cell.digest for _, state in states for cell in state.pending()}
    done = {cell.digest for cell in cells} - pending
    return TuningState(
        states, Plan(cells, done, device), sum(search.num_trials() for search in searches)
    )


def plan_finals(state: TuningState, results: Path) -> Plan:
    """Plan the final cells of the searches whose trials are over; reads test data."""
    return look_up(tuning.plan_finals(state.searches), Store(results), state.trials.device)


def select_cells(
    planned: Plan, store: Store, options: RunOptions, tried: Collection[str] = ()
) -> Sequence[Cell]:
    """Select the cells that are to be run now; those `tried` before count towards the limit.

    Raises `UserError` where processes would share batches that are one whole.
    """
    if options.processes > 1:
        _require_divisible(planned.cells)
    cells = planned.cells if options.force else planned.pending()
    cells = [cell for cell in cells if cell.digest not in tried] if tried else cells
    if options.only == "failed":
        cells = [cell for cell in recorded_of(cells, store) if store.find(cell.settings)]
    if options.limit_cells is None:
        return cells
    return cells[: max(0, options.limit_cells - len(tried))]


def _require_divisible(cells: Iterable[Cell]) -> None:
    """Raise `UserError` for a method whose loss is no sum over images."""
    whole = sorted({cell.settings.method for cell in cells if cell.method.whole_batch})
    if whole:
        raise UserError(
            f"the loss of {', '.join(whole)} compares the images of a batch with each other: "
            "processes cannot share it; leave out --processes"
        )


@dataclass(frozen=True)
class _Session:
    """The results folder, the options and the reporter of a session."""

    results: Path
    options: RunOptions
    reporter: Reporter
    start_time: float = field(default_factory=time)
    finished: FinishedCells = field(default_factory=FinishedCells)

    @cached_property
    def finals(self) -> Store:
        """The store of final cells."""
        return Store(self.results)

    def run_untuned(self, request: Request) -> SessionResult:
        """Run the cells of a request without trials."""
        self._open(self.finals)
        planned = plan_untuned(request, self.results, self.options)
        return self.run_finals(planned, "cells")

    def run_tuned(self, requests: Sequence[Request]) -> SessionResult:
        """Run all trials, then the final cells of the searches whose trials are over."""
        self._open(self.finals)
        searches = tuning.plan_all_searches(requests)
        tuning.require_finals(searches)
        failed, tried = self.run_trials(searches)
        state = tuning_state(searches, self.results)
        if failed and self.options.fail_fast:
            return SessionResult(
                num_run=len(tried), tuning=state, num_failed_trials=failed, has_run_finals=False
            )
        for search in searches if tried else ():
            search.resolved.forget_data()
        planned = plan_finals(state, self.results)
        ended = self.run_finals(planned, "final runs", tried)
        num_run = ended.num_run + len(tried)
        return replace(ended, num_run=num_run, tuning=state, num_failed_trials=failed)

    def run_trials(self, searches: Sequence[Search]) -> tuple[int, set[str]]:
        """Run trials, one rung after another; return how many failed, and the digests of all."""
        store, failed, tried = tuning.trial_store(self.results), 0, set[str]()
        self._open(store)
        self._announce(plan_lines.data_warnings(one.first_trial() for one in searches))
        while not (failed and self.options.fail_fast):
            state = tuning_state(searches, self.results)
            cells = select_cells(state.trials, store, self.options, tried)
            if not cells:
                break
            if not tried:
                finals = sum(len(one.resolved.seeds) for one in searches)
                left = state.num_trials - len(state.trials.done)
                room.require_disk(self.results, left + finals)
                firsts = [one.first_trial() for one in searches]
                self._announce(plan_lines.method_warnings(firsts))
                self._announce(plan_lines.backbone_lines(firsts))
            counts = f"{len(cells)} trials to run, {len(state.trials.done)} of {state.num_trials}"
            self._announce([f"{counts} done before, on {state.trials.device}"])
            tried |= {cell.digest for cell in cells}
            self.finished.add_done(state.trials, store)
            failed += self._run_cells(cells, store, state.trials.device)
        return failed, tried

    def run_finals(self, planned: Plan, kind: str, tried: Collection[str] = ()) -> SessionResult:
        """Run the final cells that are to be run now; return their result."""
        self.finished.add_done(planned, self.finals)
        cells = select_cells(planned, self.finals, self.options, tried)
        if cells:
            room.require_disk(self.results, len(cells))
        self._announce(self._lines_before(planned, cells, kind))
        try:
            failed = self._run_cells(cells, self.finals, planned.device)
            self._announce(self.finished.lost_lines())
            failed = min(failed + self.finished.num_lost(), len(planned.cells))
        except BaseException:
            with suppress(OSError, UserError):
                self._write_tables()
            raise  # this says more
        self._write_tables()
        digests = frozenset(cell.digest for cell in planned.cells)
        return SessionResult(
            digests,
            len(cells),
            failed,
            records=frozenset(self.finished.paths),
            rests_on_package_alone=completed_runs.rests_on_package_alone(planned.cells),
        )

    def _lines_before(self, planned: Plan, cells: Sequence[Cell], kind: str) -> Iterator[str]:
        """Yield the lines to print before cells run; a single line if there are none to run."""
        if not cells and len(planned.done) == len(planned.cells):
            yield plan_lines.nothing_to_run(len(planned.cells), kind, self.results)
            return
        yield from plan_lines.data_warnings(planned.cells)
        yield from plan_lines.method_warnings(cells)
        yield from plan_lines.backbone_lines(cells)
        counts = f"{len(cells)} {kind} to run, {len(planned.done)} done before"
        yield f"{counts}, on {planned.device}"

    def _open(self, store: Store) -> None:
        """Make the folder of a store; from now on it is to stay."""
        store.make()
        self.finished.stores.append(store)
        if self.options.tensorboard:
            callbacks.require_tensorboard()

    def _write_tables(self) -> None:
        """Let the tables be written, unless that would make the folder again."""
        if self.finals.is_there():
            self.reporter.on_finals_ended()

    @contextmanager
    def executor(self, cells: Sequence[Cell], store: Store, device: str) -> Iterator[Executor]:
        """Open an executor of cells, whose records go to `store`.

        An interrupt names the jobs that go on.
        """
        executor = factory.make_executor(store.root, device, self.options, cells)
        try:
            yield executor
        except KeyboardInterrupt:
            raise KeyboardInterrupt(executor.left_running()) from None
        finally:
            executor.close()

    def _run_cells(self, cells: Sequence[Cell], store: Store, device: str) -> int:
        """Run cells; return how many of them failed."""
        if not cells:
            return 0  # no worker or cluster is started for nothing
        epochs = max(cell.recipe.epochs for cell in cells)
        progress = RunProgress(self.reporter.console, len(cells), epochs)
        with self.executor(cells, store, device) as executor, progress.live() as display:
            leases, start = Leases(store.root), self.start_time
            about = (executor, store, leases, display, device, start, self.options)
            return Scheduler(*about, finished=self.finished).run(cells)

    def _announce(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.reporter.announce(line)
