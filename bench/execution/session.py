"""A session: trials where the recipe tunes, then the final cells, over one results folder.

A session resumes: a cell that has a result is not run again. Nothing is printed here; a `Reporter`
shows the course of a session.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import time

from bench.config import backbone
from bench.execution import study_plan, tuning
from bench.execution.executors import Executor, factory
from bench.execution.jobs import DEFAULT_OPTIONS
from bench.execution.plan import Plan, look_up, make_plan, recorded_of, wants_tuning
from bench.execution.progress import SILENT, Reporter, RunProgress
from bench.execution.request import Request, RunOptions
from bench.execution.scheduler import Scheduler
from bench.execution.tuning import Search, SearchState
from bench.records.description import describe_cell
from bench.records.leases import Leases
from bench.records.store import Store
from bench.training import callbacks
from bench.training.cell import Cell
from bench.utils.errors import UserError

DEFAULT_RESULTS = Path("results")
PathName = str | Path


@dataclass(frozen=True)
class TuningState:
    """The progress of a request's searches: the trials known so far, and those that are over."""

    searches: Sequence[tuple[Search, SearchState]]
    trials: Plan
    num_trials: int  # that there will be in the end

    @property
    def num_unfinished(self) -> int:
        """The number of searches without final cells so far."""
        return sum(state.best_point is None for _, state in self.searches)

    def describe_waiting(self) -> str:
        """Say how many final cells wait for their trials; empty where none does."""
        unfinished = [one for one, state in self.searches if state.best_point is None]
        count = sum(len(search.resolved.seeds) for search in unfinished)
        return f"; {count} more wait for their trials" if count else ""


@dataclass(frozen=True)
class SessionPlan:
    """The cells of a request, as far as they are known, and which of them have a result."""

    finals: Plan
    tuning: TuningState | None = None  # None: no trials come first


@dataclass(frozen=True)
class SessionResult:
    """The result of a session: the number of its cells, and of those without a result."""

    num_cells: int = 0  # final cells
    num_failed: int = 0
    tuning: TuningState | None = None  # None: no trials came first
    num_failed_trials: int = 0
    has_run_finals: bool = True  # False: failed trials kept them from being run


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
    store = Store(session.results)
    store.require_current_schema()
    requests = tuned_requests(request)
    store.require_writable()
    if options.tensorboard:
        callbacks.require_tensorboard()
    if requests:
        return session.run_tuned(requests)
    with session.executor(store, request.device) as executor:  # its processes start meanwhile
        planned = plan_untuned(request, session.results, options)
        failed = session.run_finals(planned, executor, "cells")
    return SessionResult(len(planned.cells), failed)


def tune(
    request: Request,
    results: PathName = DEFAULT_RESULTS,
    options: RunOptions = DEFAULT_OPTIONS,
    reporter: Reporter = SILENT,
) -> SessionResult:
    """Run the trials of a request alone; raises `UserError` as `plan` does."""
    session = _Session(Path(results), options, reporter)
    searches = plan_trials(request, session.results)
    Store(session.results).require_writable()
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
    """Return the requests whose final cells come after trials; of a study, its card says so."""
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
    """Select the cells that are to be run now; those `tried` before count towards the limit."""
    cells = planned.cells if options.force else planned.pending()
    cells = [cell for cell in cells if cell.digest not in tried] if tried else cells
    if options.only == "failed":
        cells = [cell for cell in recorded_of(cells, store) if store.find(cell.settings)]
    if options.limit_cells is None:
        return cells
    return cells[: max(0, options.limit_cells - len(tried))]


def cell_lines(planned: Plan) -> Iterator[str]:
    """Describe each cell and whether it is done, a line each."""
    for cell in planned.cells:
        state = "done" if planned.is_done(cell) else "to run"
        yield f"{state:7} {describe_cell(cell)}"


def data_warnings(cells: Iterable[Cell]) -> list[str]:
    """Say what is odd about the data of cells, each oddity once."""
    return list(dict.fromkeys(f"bench: {text}" for cell in cells for text in cell.data_warnings))


def backbone_lines(cells: Iterable[Cell]) -> list[str]:
    """Describe each backbone of the cells: its input, its weights, and how it was found."""
    lines, alike = {}, dict[tuple[int, str], Cell]()
    for cell in cells:
        alike.setdefault((id(cell.backbone), cell.settings.recipe["normalisation"]), cell)
    for cell in alike.values():
        s, notes = cell.settings, cell.backbone.notes
        how = backbone.describe_input(s.input, s.recipe["normalisation"])
        line = f"backbone {s.backbone}: {how}; weights {s.weights[:12]}"
        lines["; ".join([line, *notes])] = True
    return list(lines)


@dataclass(frozen=True)
class _Session:
    """The results folder, the options and the reporter of a session."""

    results: Path
    options: RunOptions
    reporter: Reporter
    start_time: float = field(default_factory=time)

    def run_tuned(self, requests: Sequence[Request]) -> SessionResult:
        """Run all trials, then the final cells of the searches whose trials are over."""
        searches = tuning.plan_all_searches(requests)
        tuning.require_finals(searches)
        failed, tried = self.run_trials(searches)
        state = tuning_state(searches, self.results)
        if failed and self.options.fail_fast:
            return SessionResult(tuning=state, num_failed_trials=failed, has_run_finals=False)
        for search in searches if tried else ():
            search.resolved.forget_data()
        planned = plan_finals(state, self.results)
        with self.executor(Store(self.results), planned.device) as executor:
            failed_finals = self.run_finals(planned, executor, "final runs", tried)
        return SessionResult(len(planned.cells), failed_finals, state, failed)

    def run_trials(self, searches: Sequence[Search]) -> tuple[int, set[str]]:
        """Run trials, one rung after another; return how many failed, and the digests of all."""
        store, failed, tried = tuning.trial_store(self.results), 0, set[str]()
        self._announce(data_warnings(one.first_trial() for one in searches))
        while not (failed and self.options.fail_fast):
            state = tuning_state(searches, self.results)
            cells = select_cells(state.trials, store, self.options, tried)
            if not cells:
                break
            if not tried:
                self._announce(backbone_lines(one.first_trial() for one in searches))
            counts = f"{len(cells)} trials to run, {len(state.trials.done)} of {state.num_trials}"
            self._announce([f"{counts} done before, on {state.trials.device}"])
            tried |= {cell.digest for cell in cells}
            with self.executor(store, state.trials.device) as executor:
                failed += self._run_cells(cells, store, executor, state.trials.device)
        return failed, tried

    def run_finals(
        self, planned: Plan, executor: Executor, kind: str, tried: Collection[str] = ()
    ) -> int:
        """Run the final cells that are to be run now; return how many of them failed."""
        store = Store(self.results)
        self._announce(data_warnings(planned.cells))
        cells = select_cells(planned, store, self.options, tried)
        counts = f"{len(cells)} {kind} to run, {len(planned.done)} done before"
        self._announce([*backbone_lines(cells), f"{counts}, on {planned.device}"])
        try:
            return self._run_cells(cells, store, executor, planned.device)
        finally:
            self.reporter.on_finals_ended()

    @contextmanager
    def executor(self, store: Store, device: str) -> Iterator[Executor]:
        """Open an executor that writes to `store`; an interrupt names the jobs that go on."""
        executor = factory.make_executor(store.root, device, self.options)
        try:
            yield executor
        except KeyboardInterrupt:
            raise KeyboardInterrupt(executor.left_running()) from None
        finally:
            executor.close()

    def _run_cells(
        self, cells: Sequence[Cell], store: Store, executor: Executor, device: str
    ) -> int:
        """Run cells; return how many of them failed."""
        epochs = max((cell.recipe.epochs for cell in cells), default=1)
        with RunProgress(self.reporter.console, len(cells), epochs).live() as display:
            leases, start = Leases(store.root), self.start_time
            scheduler = Scheduler(executor, store, leases, display, device, start, self.options)
            return scheduler.run(cells)

    def _announce(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.reporter.announce(line)
