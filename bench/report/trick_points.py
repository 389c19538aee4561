"""Scores of each point of a method's grid: on validation data by trials, on test by final runs."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from bench.records.description import describe_search
from bench.records.schema import RATE_NAMES, TUNING_KEY, Record, Settings
from bench.report.frame import board_key, canonical_json

if TYPE_CHECKING:
    import pandas as pd

Scores = dict[str, float]  # point -> top-1 percent; points are canonical JSON


@dataclass(frozen=True)
class SearchSpace:
    """The scores of all methods under the same suite, backbone and recipe."""

    key: str  # equal for spaces whose scores belong together
    place: Mapping[str, str]
    by_cell: Mapping[tuple[str, str], Scores]  # (method, task) -> scores


def trial_spaces(frame: "pd.DataFrame") -> list[SearchSpace]:
    """Return the validation accuracies of the trials behind final runs, of full length.

    A trial without an outcome counts as chance. Searches over different grids, or with different
    numbers of trials, are spaces of their own.
    """
    tuned = [record for record in frame["record"] if record.tuned]
    return _spaces(
        (r.settings, describe_search(r.settings.recipe), _trial_scores(r)) for r in tuned
    )


def _trial_scores(record: Record) -> Scores:
    assert record.tuned is not None
    longest = max(trial.epochs for trial in record.tuned.trials)
    chance = 100 / record.settings.classes
    return {
        canonical_json(trial.point): chance if trial.accuracy is None else trial.accuracy
        for trial in record.tuned.trials
        if trial.epochs == longest
    }


def final_spaces(frame: "pd.DataFrame") -> list[SearchSpace]:
    """Return the test accuracies of final runs by fields and rates, mean over their seeds."""
    of_points: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in frame[frame["ok"]]["record"]:
        of_points[_cell_key(record.settings), _final_point(record.settings)].append(record)
    scored: dict[str, tuple[Settings, Scores]] = {}
    for (cell, point), records in of_points.items():
        mean = fmean(record.outcome.accuracy for record in records if record.outcome)
        scored.setdefault(cell, (records[0].settings, {}))[1][point] = mean
    return _spaces((settings, "", scores) for settings, scores in scored.values())


def _final_point(s: Settings) -> str:
    return canonical_json({**s.fields, **s.rates})


def _spaces(scored: Iterable[tuple[Settings, str, Scores]]) -> list[SearchSpace]:
    """Group scores by what a table's records share and by search; the first of a cell stays."""
    places: dict[str, dict[str, str]] = {}
    found: dict[tuple[str, str], dict[tuple[str, str], Scores]] = defaultdict(dict)
    for settings, search, scores in scored:
        key = _space_key(settings)
        places.setdefault(key, _place(settings))
        found[key, search].setdefault((_method_key(settings), settings.task), scores)
    searches = Counter(key for key, _ in found)
    return [
        SearchSpace(key, _with_search(places[key], search, searches[key]), found[key, search])
        for key, search in sorted(found)
    ]


def _with_search(place: Mapping[str, str], search: str, count: int) -> Mapping[str, str]:
    """Return the place of a space, with its search where there are several."""
    return {**place, "recipe": f"{place['recipe']} [{search}]"} if count > 1 else place


def _space_key(s: Settings) -> str:
    """Return the settings that methods under comparison share; rates belong to points."""
    return board_key(s, ignored=(*RATE_NAMES, TUNING_KEY))


def _cell_key(s: Settings) -> str:
    return canonical_json([_space_key(s), _method_key(s), s.task, *s.data_key])


def _method_key(s: Settings) -> str:
    return f"{s.method} {s.code}".strip()


def _place(s: Settings) -> dict[str, str]:
    return {
        "suite": f"{s.suite} v{s.suite_version}",
        "backbone": s.backbone,
        "recipe": f"{s.recipe.get('name')} v{s.recipe.get('version')}",
    }


def largest_block(cells: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Return methods and tasks, sorted, such that every method has every task, of most cells.

    The tasks are those of some method. Of blocks of one size that of more tasks.
    """
    tasks_of: dict[str, set[str]] = defaultdict(set)
    for method, task in cells:
        tasks_of[method].add(task)
    blocks = [
        (sorted(m for m, has in tasks_of.items() if has >= tasks), sorted(tasks))
        for tasks in tasks_of.values()
    ]
    return max(blocks, key=lambda b: (len(b[0]) * len(b[1]), len(b[1]), b), default=([], []))


def common_points(space: SearchSpace, method: str, tasks: Sequence[str]) -> list[str]:
    """Return the points of a method that all the tasks have, sorted."""
    return sorted(set.intersection(*(set(space.by_cell[method, task]) for task in tasks)))


def with_points(space: SearchSpace, fewest: int) -> list[tuple[str, str]]:
    """Return the cells with so many points at the least."""
    return [cell for cell, scores in space.by_cell.items() if len(scores) >= fewest]


def on_both(val: SearchSpace, test: SearchSpace) -> SearchSpace:
    """Return `test` at the points of `val`, named as there; points without one final run drop out.

    A trial's point names the rates and the searched fields alone, a final run's all fields.
    """
    cells = val.by_cell.keys() & test.by_cell.keys()
    found = {cell: _at_points(val.by_cell[cell], test.by_cell[cell]) for cell in sorted(cells)}
    return replace(test, by_cell={cell: scores for cell, scores in found.items() if scores})


def _at_points(points: Iterable[str], finals: Scores) -> Scores:
    runs = [(json.loads(point), accuracy) for point, accuracy in finals.items()]
    at = {
        point: [accuracy for run, accuracy in runs if json.loads(point).items() <= run.items()]
        for point in points
    }
    return {point: found[0] for point, found in at.items() if len(found) == 1}
