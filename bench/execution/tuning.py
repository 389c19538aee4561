"""Hyper-parameter search: trials, their promotion to longer ones, final runs at the best point.

A trial is an ordinary cell, with a store of its own below the results folder. No test data are read
until the final runs are checked or planned.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from statistics import mean

from bench.config import search_space
from bench.config.search_space import Rung
from bench.config.suite import Task
from bench.execution import plan, selection
from bench.execution.plan import is_done
from bench.execution.request import FINAL_SPLITS, TRIAL_SPLITS, Request, SearchPoint
from bench.execution.resolution import ResolvedRequest
from bench.models import compatibility
from bench.records.description import format_point, method_fields
from bench.records.schema import RATE_NAMES, TRIALS_DIR, GridPoint, Record, Trial, TuningResult
from bench.records.store import Store
from bench.training.cell import Cell
from bench.utils.errors import UserError
from bench.utils.files import write_atomically
from bench.utils.tables import csv_text


@dataclass(frozen=True)
class SearchState:
    """Progress of a search: the trials known so far, and the best point once all have ended."""

    known_trials: list[tuple[Cell, Record | None]]
    best_point: GridPoint | None

    def pending(self) -> list[Cell]:
        """Return the known trials that have not ended."""
        return [cell for cell, record in self.known_trials if not is_done(record)]

    def tuning_result(self) -> TuningResult:
        """Summarise the trials for the records of the final runs."""
        trials = [_trial_result(cell, record) for cell, record in self.known_trials if record]
        seed = self.known_trials[0][0].settings.seed
        return TuningResult(seed, sum(trial.seconds for trial in trials), trials)


@dataclass(frozen=True)
class Search:
    """The trials of one method on one backbone and task."""

    resolved: ResolvedRequest
    backbone_name: str  # as the request has it
    task: Task
    method: str
    points: list[GridPoint]
    rungs: list[Rung]
    _trials: dict[str, Cell] = field(default_factory=dict, init=False, repr=False, compare=False)

    def trial_cell(self, point: GridPoint, epochs: int) -> Cell:
        """Return the trial at a point, built once."""
        key = json.dumps([point, epochs])
        if key not in self._trials:
            at = SearchPoint(point, epochs, *TRIAL_SPLITS)
            self._trials[key] = self._build_cell(self.resolved.recipe.tuning.seed, at)
        return self._trials[key]

    def first_trial(self) -> Cell:
        """Return the first trial, which tells one search from another."""
        return self.trial_cell(self.points[0], self.rungs[0].epochs)

    def final_cells(self, state: SearchState) -> Iterator[Cell]:
        """Build the final runs at the best point, one a seed; none before all trials have ended."""
        if state.best_point is None:
            return
        tuned, resolved = state.tuning_result(), self.resolved
        at = SearchPoint(state.best_point, resolved.recipe.epochs, *FINAL_SPLITS)
        for seed in resolved.seeds:
            yield replace(self._build_cell(seed, at), tuned=tuned)

    def _build_cell(self, seed: int, at: SearchPoint) -> Cell:
        return self.resolved.build_cell(self.backbone_name, self.task, self.method, seed, at)

    def state(self, store: Store) -> SearchState:
        """Look the trials up in a store; a rung's are known once those of the rung before ended."""
        points, tried = self.points, list[tuple[Cell, Record | None]]()
        for rung, promoted in search_space.promotions(self.rungs):
            cells = [self.trial_cell(point, rung.epochs) for point in points]
            found = [(cell, store.find(cell.settings)) for cell in cells]
            tried += found
            ended = [
                _trial_result(cell, record) for cell, record in found if record and is_done(record)
            ]
            if len(ended) < len(found):
                return SearchState(tried, None)
            points = search_space.best_points(ended, promoted)
        return SearchState(tried, points[0])

    def num_trials(self) -> int:
        """Return how many trials there are to be in the end."""
        return sum(rung.count for rung in self.rungs)


def trial_store(results: Path) -> Store:
    """Return the store of the trials."""
    return Store(results / TRIALS_DIR)


def plan_searches(request: Request) -> list[Search]:
    """Plan a search for each method, backbone and task of the request, in a fixed order.

    Raises `UserError` as `plan.plan_cells` does, but not for what test data hold; and for a field
    that is both set and searched.
    """
    resolved = plan.resolve_request(request)
    recipe = resolved.recipe
    budget = sum(rung.count for rung in search_space.halving_rungs(recipe))
    plan.require_plannable(resolved.num_cells() * budget)
    resolved.check_data(TRIAL_SPLITS)
    selection.require_known_methods(recipe.grid_of)
    points = {name: search_space.sample_points(recipe, name) for name in resolved.methods}
    rungs = {name: search_space.method_rungs(recipe, name) for name in resolved.methods}
    for name, sampled in points.items():
        _require_unset(request, recipe.grid_for(name), name)
        _require_attachable(resolved, name, sampled)
    every = product(sorted(resolved.backbones), resolved.tasks, sorted(points))
    return _unique_searches(
        Search(resolved, card, task, name, points[name], rungs[name]) for card, task, name in every
    )


def plan_all_searches(requests: Iterable[Request]) -> list[Search]:
    """Plan the searches of several requests, each once; raises as `plan_searches` does."""
    return _unique_searches(one for request in requests for one in plan_searches(request))


def _unique_searches(searches: Iterable[Search]) -> list[Search]:
    """Return each search once: a card may have been requested by two names."""
    return list({one.first_trial().digest: one for one in searches}.values())


def _require_unset(request: Request, searched: Iterable[str], method: str) -> None:
    """Raise `UserError` where the command line sets a field that is searched."""
    fixed = {name.partition(".")[0].removesuffix("_of"): name for name in request.changes}
    for axis in searched:
        if axis in fixed:
            raise UserError(
                f"--set {fixed[axis]} fixes what trials are to choose for {method}: say "
                "--no-tune, or give the grid other values"
            )


def _require_attachable(resolved: ResolvedRequest, name: str, points: Iterable[GridPoint]) -> None:
    """Raise `UserError` where a point has a field that the method, or any backbone, cannot have."""
    searched = {json.dumps(method_fields(point)): point for point in points}.values()
    built = [
        resolved.build_method(name, SearchPoint(point, 1, *TRIAL_SPLITS)) for point in searched
    ]
    compatibility.require_fields_attachable(resolved.backbones.values(), name, built)


def require_finals(searches: Iterable[Search]) -> None:
    """Raise `UserError`, before the first trial, where the final runs' data break the rules.

    This reads test data; no trial sees them.
    """
    for resolved in {id(one.resolved): one.resolved for one in searches}.values():
        resolved.check_data(FINAL_SPLITS)


def plan_finals(states: Iterable[tuple[Search, SearchState]]) -> list[Cell]:
    """Plan the final runs of the searches whose trials have ended, each once; reads test data."""
    return plan.unique_cells(cell for search, state in states for cell in search.final_cells(state))


def _trial_result(cell: Cell, record: Record) -> Trial:
    accuracy = record.outcome.accuracy if record.outcome else None
    seconds = record.environment.get("seconds", 0.0)
    point, epochs = cell.request["at"]["point"], cell.recipe.epochs
    return Trial(point, epochs, accuracy, seconds, cell.digest)


def write_csv(states: Iterable[SearchState], results: Path) -> Path:
    """Write every trial as a line of ``tuning.csv`` in the results folder; return its path."""
    about = ("suite", "backbone", "recipe", "task", "method", "seed")
    lines: list[list[object]] = [[*about, *RATE_NAMES, "fields", "epochs", "val_accuracy"]]
    for cell, trial in _finished_trials(states):
        s = cell.settings
        named = [s.shown_suite, s.backbone, s.recipe["name"], s.task, s.method, s.seed]
        rates = [trial.point[axis] for axis in RATE_NAMES]
        own = json.dumps(method_fields(trial.point))
        lines.append([*named, *rates, own, trial.epochs, f"{_accuracy(trial):.2f}"])
    path = results / "tuning.csv"
    write_atomically(path, csv_text(lines).encode())
    return path


def summary_lines(states: Iterable[SearchState]) -> list[str]:
    """Return a line for each method: its best point in the mean over backbones and tasks.

    Of equally good points, the one with the smaller learning rate.
    """
    by_method = dict[str, dict[str, list[Trial]]]()
    for cell, trial in _finished_trials(states):
        by_point = by_method.setdefault(cell.settings.method, {})
        by_point.setdefault(format_point(trial.point), []).append(trial)
    lines = []
    for method, points in by_method.items():
        means = {name: mean(map(_accuracy, trials)) for name, trials in points.items()}
        best = max(means, key=lambda name: (means[name], -points[name][0].point["lr"]))
        lines.append(f"{method}: {best} ({means[best]:.2f} % in the mean)")
    return lines


def _finished_trials(states: Iterable[SearchState]) -> Iterator[tuple[Cell, Trial]]:
    for state in states:
        for cell, record in state.known_trials:
            if record and is_done(record):
                yield cell, _trial_result(cell, record)


def _accuracy(trial: Trial) -> float:
    return float("-inf") if trial.accuracy is None else trial.accuracy
