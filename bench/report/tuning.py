"""The ledgers of tuning: what the trials cost, and what their choice loses on test."""

import json
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from bench import search
from bench.records import Record, Settings, Tuned
from bench.report.grouping import canonical, gather
from bench.report.leaderboard import Board
from bench.report.rows import Row
from bench.report.text import NONE

Lines = list[dict[str, str]]


def spent(boards: Iterable[Board], records: Iterable[Record]) -> Lines:
    """A line a row of every board whose rates were chosen by trials."""
    by_name = {record.cell: record for record in records}
    lines = []
    for board in boards:
        for row in sorted([*board.rows, *board.incomplete], key=lambda row: row.label):
            names = [name for cell in row.cells.values() for name in cell.names.values()]
            found = _searches(by_name[name] for name in names)
            if found:
                lines.append({**of_board(board, row), **_spent(found)})
    return lines


def _searches(records: Iterable[Record]) -> list[tuple[Settings, Tuned]]:
    """One a task: all its seeds come after the same trials."""
    return list({r.settings.task: (r.settings, r.tuned) for r in records if r.tuned}.values())


def _spent(searches: Sequence[tuple[Settings, Tuned]]) -> dict[str, str]:
    """Of the searches of a row."""
    trials = [trial for _, tuned in searches for trial in tuned.trials]
    counts = sorted({len(tuned.trials) for _, tuned in searches})
    best = [accuracy for s, tuned in searches if (accuracy := _chosen(s, tuned)) is not None]
    return {
        "trials a task": " to ".join(map(str, counts)),
        "without outcome": str(sum(trial.accuracy is None for trial in trials)),
        "epochs": str(sum(trial.epochs for trial in trials)),
        "seconds a task": f"{fmean(tuned.seconds for _, tuned in searches):.1f}",
        "val": f"{fmean(best):.2f}" if best else NONE,
        "tasks": str(len(searches)),
    }


def _chosen(settings: Settings, tuned: Tuned) -> float | None:
    """What the last trial at the final run's point gave on val."""
    at = [t for t in tuned.trials if t.point == search.point_of(settings, t.point)]
    return at[-1].accuracy if at else None


def regret(records: Iterable[Record], trials: Iterable[Mapping[str, str]]) -> Lines:
    """A line a method, backbone and recipe, over the tasks and seeds with all that it needs.

    Where two backbones or versions of the data share a name, the trials do not say whose they are:
    there is no line.
    """
    scored = gather([r for r in records if r.outcome], lambda r: _tuned(r.settings))
    regrets: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for cell, tried in gather(trials, _trial).items():
        on_test = scored.get(cell, [])
        found = _regret(tried, on_test)
        if found:
            suite, backbone, recipe, _, method, _ = cell
            regrets.setdefault((suite, backbone, recipe, method), []).append(found)
    return [
        {
            **dict(zip(("suite", "backbone", "recipe", "method"), key, strict=True)),
            "picked by validation": f"{fmean(pick for pick, _ in found):.2f}",
            "best in the grid": f"{fmean(best for _, best in found):.2f}",
            "regret": f"{fmean(best - pick for pick, best in found):.2f}",
            "cells": str(len(found)),
        }
        for key, found in sorted(regrets.items())
    ]


def of_board(board: Board, row: Row) -> dict[str, str]:
    """What names a row among those of all boards."""
    return {
        "suite": board.suite,
        "backbone": board.backbone,
        "recipe": board.recipe_name,
        "method": row.label,
    }


def _tuned(s: Settings) -> tuple[str, ...]:
    name = str(s.recipe.get("name"))
    return s.suite, s.backbone, name, s.task, s.method, str(s.seed)


def _trial(line: Mapping[str, str]) -> tuple[str, ...]:
    named = ("suite", "backbone", "recipe", "task", "method", "seed")
    return tuple(line[name] for name in named)


def _regret(
    trials: Sequence[Mapping[str, str]], scored: Sequence[Record]
) -> tuple[float, float] | None:
    """Test accuracy at the point that validation picks, and the best of all that were tried.

    None where final runs are missing, or are of several versions of the data, weights or code:
    which of them the trials belong to cannot be told.
    """
    if len({_version(record.settings) for record in scored}) > 1:
        return None
    longest = max(_epochs(trial) for trial in trials)
    tried = [trial for trial in trials if _epochs(trial) == longest]
    on_test = [_on_test(_point(trial), scored) for trial in tried]
    known = [accuracy for accuracy in on_test if accuracy is not None]
    if len(known) < len(tried) or len(known) < 2:
        return None
    pick = max(range(len(tried)), key=lambda i: _merit(tried[i]))
    return known[pick], max(known)


def _version(s: Settings) -> str:
    """What the final runs of one search have alike, beside their names."""
    recipe = {k: v for k, v in s.recipe.items() if k not in search.AXES}  # they are the points
    return canonical([*s.data, s.weights, s.input, s.code, recipe])


def _on_test(point: Mapping[str, Any], scored: Iterable[Record]) -> float | None:
    """What the final run at a point gave, if there is one."""
    for record in scored:
        if record.outcome and search.point_of(record.settings, dict(point)) == point:
            return record.outcome.accuracy
    return None


def _point(line: Mapping[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(line.get("fields") or "{}")
    return {axis: float(line[axis]) for axis in search.AXES} | fields


def _merit(line: Mapping[str, str]) -> tuple[float, ...]:
    """Of equally good trials the one with the smaller rates is the better."""
    return float(line["val_accuracy"]), *(-float(line[axis]) for axis in search.AXES)


def _epochs(line: Mapping[str, str]) -> int:
    return int(line.get("epochs") or 0)
