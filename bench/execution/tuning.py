"""Trials before finals: which are due, what they chose, and the final runs at what they chose.

A trial is an ordinary cell with a store of its own below the results folder. Until the finals are
planned no test data are read: that they are there is all that is looked at.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean

from bench.config import search_space
from bench.config.search_space import Rung
from bench.config.suite import Task
from bench.execution import method_overrides, plan
from bench.execution.plan import ResolvedRequest, is_done
from bench.execution.request import FINAL_SPLITS, TRIAL_SPLITS, Request, SearchPoint
from bench.models import compatibility
from bench.records.schema import TRIALS_DIR, Record, Trial, TuningResult
from bench.records.store import Store
from bench.records.trials import RATE_NAMES, GridPoint, format_point
from bench.training.cell import Cell
from bench.utils.errors import UserError
from bench.utils.files import write_atomically


@dataclass(frozen=True)
class SearchState:
    """How far a search is: the trials known so far, and what they chose once all are over."""

    known_trials: list[tuple[Cell, Record | None]]
    best_point: GridPoint | None

    def pending(self) -> list[Cell]:
        """The known trials that are not over."""
        return [cell for cell, record in self.known_trials if not is_done(record)]

    def tuning_result(self) -> TuningResult:
        """What a final's record keeps of them."""
        trials = [_trial_result(cell, record) for cell, record in self.known_trials if record]
        seed = self.known_trials[0][0].settings.seed
        return TuningResult(seed, sum(trial.seconds for trial in trials), trials)


@dataclass(frozen=True)
class Search:
    """The trials of one method on one backbone and task."""

    resolved: ResolvedRequest
    backbone_name: str  # the backbone, as the request names it
    task: Task
    method: str
    points: list[GridPoint]
    rungs: list[Rung]

    def trial_cell(self, point: GridPoint, epochs: int) -> Cell:
        """One trial."""
        at, seed = SearchPoint(point, epochs, *TRIAL_SPLITS), self.resolved.recipe.tuning.seed
        method = self.resolved.build_method(self.method, at)
        return self.resolved.build_cell(
            self.backbone_name, self.task, self.method, method, seed, at
        )

    def state(self, store: Store) -> SearchState:
        """What has become of the trials; a later rung's are known once an earlier one is over."""
        points, tried = self.points, list[tuple[Cell, Record | None]]()
        for rung, after in search_space.promotions(self.rungs):
            cells = [self.trial_cell(point, rung.epochs) for point in points]
            found = [(cell, store.find(cell.settings)) for cell in cells]
            tried += found
            ended = [
                _trial_result(cell, record) for cell, record in found if record and is_done(record)
            ]
            if len(ended) < len(found):
                return SearchState(tried, None)
            points = search_space.best_points(ended, after)
        return SearchState(tried, points[0])

    def num_trials(self) -> int:
        """How many there are to be in the end."""
        return sum(rung.count for rung in self.rungs)


def trial_store(results: Path) -> Store:
    """The store of the trials."""
    return Store(results / TRIALS_DIR)


def plan_searches(request: Request) -> list[Search]:
    """A search for each method, backbone and task of the request, in a fixed order.

    Raises `UserError` as `plan.cells` does, but not for what test data hold; and for a field that
    is both set and searched.
    """
    ground = plan.resolve_request(request, TRIAL_SPLITS)
    recipe = ground.recipe
    method_overrides.require_known_methods(recipe.grid_of)
    points = {name: search_space.sample_points(recipe, name) for name in ground.methods}
    for name, tried in points.items():
        _require_unset(request, search_space.search_axes(recipe, name), name, recipe.grid)
        _require_attachable(ground, name, tried)
    every = product(sorted(ground.backbones), ground.tasks, sorted(points))
    rungs = search_space.halving_rungs(recipe)
    found = [Search(ground, card, task, name, points[name], rungs) for card, task, name in every]
    cells = {one.trial_cell(one.points[0], rungs[0].epochs).settings.digest(): one for one in found}
    return list(cells.values())  # each once: a card may have come by two names


def require_finals(requests: Iterable[Request]) -> None:
    """Raise `UserError`, before the first trial, where the finals could not be run.

    Test data are held to the rules for it, and no trial is told of what they hold.
    """
    for request in requests:
        plan.resolve_request(request, FINAL_SPLITS)


def plan_all_searches(requests: Iterable[Request]) -> list[Search]:
    """The searches of some requests, each once; raises as `searches` does."""
    found = [one for request in requests for one in plan_searches(request)]
    first = [one.trial_cell(one.points[0], one.rungs[0].epochs).settings.digest() for one in found]
    return list(dict(zip(first, found, strict=True)).values())


def _require_unset(
    request: Request, axes: Iterable[str], method: str, rates: Iterable[str]
) -> None:
    """Raise `UserError` where the command line sets what the trials are to choose."""
    closed = {name.partition(".")[0].removesuffix("_of"): name for name in request.changes}
    chosen = [axis for axis in axes if axis not in RATE_NAMES or axis in rates]
    for axis in chosen:
        if axis in closed:
            raise UserError(
                f"--set {closed[axis]} fixes what trials are to choose for {method}: say "
                "--no-tune, or give the grid other values"
            )


def _require_attachable(ground: ResolvedRequest, name: str, points: Iterable[GridPoint]) -> None:
    """Raise `UserError` where a point has a field that the method, or any backbone, cannot have."""
    own = [{k: v for k, v in point.items() if k not in RATE_NAMES} for point in points]
    distinct = {json.dumps(fields): fields for fields in own}.values()
    adapted = [
        ground.build_method(name, SearchPoint(fields, 1, *TRIAL_SPLITS)) for fields in distinct
    ]
    compatibility.require_fields_attachable(ground.backbones.values(), name, adapted)


def plan_finals(request: Request, looks: Sequence[tuple[Search, SearchState]]) -> list[Cell]:
    """The final runs at what the trials chose, where all of them are over; reads test data."""
    chosen = [(one, look, look.best_point) for one, look in looks if look.best_point is not None]
    if not chosen:
        return []
    tasks = list(dict.fromkeys(one.task.name for one, _, _ in chosen))
    ground = plan.resolve_request(replace(request, tasks=tasks), FINAL_SPLITS)
    made = (
        _finals_of_search(ground, one, point, look.tuning_result()) for one, look, point in chosen
    )
    return plan.unique_cells(cell for cells in made for cell in cells)


def plan_all_finals(looks: Sequence[tuple[Search, SearchState]]) -> list[Cell]:
    """The final runs of searches of some requests, each once; as `finals` else."""
    requests = {id(one.resolved.request): one.resolved.request for one, _ in looks}
    return plan.unique_cells(
        cell
        for key, request in requests.items()
        for cell in plan_finals(
            request, [look for look in looks if id(look[0].resolved.request) == key]
        )
    )


def _finals_of_search(
    ground: ResolvedRequest, one: Search, point: GridPoint, tuned: TuningResult
) -> Iterator[Cell]:
    """Those of one search, a seed each."""
    at = SearchPoint(point, ground.recipe.epochs, *FINAL_SPLITS)
    method = ground.build_method(one.method, at)
    for seed in ground.seeds:
        yield replace(
            ground.build_cell(one.backbone_name, one.task, one.method, method, seed, at),
            tuned=tuned,
        )


def _trial_result(cell: Cell, record: Record) -> Trial:
    accuracy = record.outcome.accuracy if record.outcome else None
    seconds = record.environment.get("seconds", 0.0)
    point, epochs = cell.request["at"]["point"], cell.recipe.epochs
    return Trial(point, epochs, accuracy, seconds, cell.settings.digest())


def write_csv(looks: Iterable[SearchState], results: Path) -> Path:
    """Keep every trial as a line of ``tuning.csv`` in the results folder; the file's path."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    about = ("suite", "backbone", "recipe", "task", "method", "seed")
    lines.writerow([*about, *RATE_NAMES, "fields", "epochs", "val_accuracy"])
    for cell, trial in _finished_trials(looks):
        s = cell.settings
        named = [s.suite, s.backbone, s.recipe["name"], s.task, s.method, s.seed]
        own = json.dumps({k: v for k, v in trial.point.items() if k not in RATE_NAMES})
        rates = [trial.point[axis] for axis in RATE_NAMES]
        lines.writerow([*named, *rates, own, trial.epochs, f"{_accuracy(trial):.2f}"])
    path = results / "tuning.csv"
    write_atomically(path, text.getvalue().encode())
    return path


def summary_lines(looks: Iterable[SearchState]) -> list[str]:
    """For each method the point that is best in the mean over backbones and tasks.

    Of equally good ones, those with the smaller learning rate.
    """
    longest = dict[str, dict[str, list[Trial]]]()
    for cell, trial in _finished_trials(looks):
        of_method = longest.setdefault(cell.settings.method, {})
        of_method.setdefault(format_point(trial.point), []).append(trial)
    lines = []
    for method, points in longest.items():
        means = {said: mean(map(_accuracy, tried)) for said, tried in points.items()}
        top = max(means, key=lambda said: (means[said], -points[said][0].point["lr"]))
        lines.append(f"{method}: {top} ({means[top]:.2f} % in the mean)")
    return lines


def _finished_trials(looks: Iterable[SearchState]) -> Iterator[tuple[Cell, Trial]]:
    for look in looks:
        for cell, record in look.known_trials:
            if record and is_done(record):
                yield cell, _trial_result(cell, record)


def _accuracy(trial: Trial) -> float:
    return float("-inf") if trial.accuracy is None else trial.accuracy
