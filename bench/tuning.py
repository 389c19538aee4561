"""The choice of a learning rate and weight decay on validation data; test data are never read."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Literal

import torch

from bench import runner, trainer
from bench.cards import Recipe
from bench.records import Settings, write_atomically
from bench.runner import Cell

AXES: tuple[Literal["lr", "weight_decay"], ...] = ("lr", "weight_decay")


@dataclass(frozen=True)
class Trial:
    """One point of the grid and what it gave."""

    settings: Settings  # of the cell that is tuned
    rates: dict[str, float]
    accuracy: float  # top-1 percent on val after the last epoch; minus infinity: it diverged


def grid(recipe: Recipe, method: str) -> list[dict[str, float]]:
    """Every point to be tried: the same number for every method."""
    own = recipe.rates(method)
    axes = [recipe.grid.get(axis, [own[axis]]) for axis in AXES]
    return [dict(zip(AXES, point, strict=True)) for point in product(*axes)]


def trials(cell: Cell, device: torch.device) -> Iterator[Trial]:
    """Train on the 800, score on the 200, at every point of the recipe's grid."""
    for rates in grid(cell.recipe, cell.settings.method):
        yield Trial(cell.settings, rates, _score(_at(cell, rates), device))


def _at(cell: Cell, rates: dict[str, float]) -> Cell:
    recipe = replace(cell.recipe, test_evaluations=1, weight_decay=rates["weight_decay"])
    return replace(cell, settings=replace(cell.settings, rates=rates), recipe=recipe)


def _score(cell: Cell, device: torch.device) -> float:
    try:
        done = runner.train(cell, "train", "val", device, lambda *_: None)
    except trainer.Diverged:
        return float("-inf")
    return done.watch.scores[cell.recipe.epochs].accuracy


def write(found: list[Trial], results: Path) -> Path:
    """Keep every trial as a line of ``tuning.csv`` in the results folder; the file's path."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["suite", "backbone", "recipe", "task", "method", "seed", *AXES, "val_accuracy"])
    for trial in found:
        s = trial.settings
        about = [s.suite, s.backbone, s.recipe["name"], s.task, s.method, s.seed]
        lines.writerow([*about, *(trial.rates[axis] for axis in AXES), f"{trial.accuracy:.2f}"])
    path = results / "tuning.csv"
    write_atomically(path, text.getvalue().encode())
    return path


def summary(found: list[Trial]) -> list[str]:
    """For each method the rates that are best in the mean over tasks and seeds.

    Of equally good ones, those with the smaller learning rate.
    """
    scores: dict[str, dict[tuple[float, ...], list[float]]] = {}
    for trial in found:
        of_method = scores.setdefault(trial.settings.method, {})
        of_method.setdefault(tuple(trial.rates[axis] for axis in AXES), []).append(trial.accuracy)
    lines = []
    for method, points in scores.items():
        top = max(points, key=lambda rates: (mean(points[rates]), *(-rate for rate in rates)))
        rates = ", ".join(f"{axis} {rate:g}" for axis, rate in zip(AXES, top, strict=True))
        lines.append(f"{method}: {rates} ({mean(points[top]):.2f} % in the mean)")
    return lines
