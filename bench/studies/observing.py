"""A cell that is run and measured; of one that has a record, only what is missing is measured."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch

from bench import environment, runner
from bench.errors import UserError, first_line
from bench.moments import Progress
from bench.records import Record, Store
from bench.runner import Cell, Trained
from bench.studies import kept, measurements
from bench.studies.observers import Observers
from bench.tasks import Split

SPLITS: dict[Split, tuple[Split, Split]] = {  # what is learnt -> both
    "trainval": ("trainval", "test"),
    "train": ("train", "val"),
}
NOTHING: Mapping[str, Any] = MappingProxyType({})


def run(
    cell: Cell,
    store: Store,
    device: torch.device,
    progress: Progress,
    more: Mapping[str, Any] = NOTHING,
) -> Record:
    """Run the cell, unless it has a record, and keep its record and what was to be observed.

    What goes wrong in a run becomes its record, as ever. Raises `UserError` where a cell that has a
    record cannot be observed, or ends elsewhere than its record without a cause.
    """
    former = store.find(cell.settings)
    names = kept.missing(store.root, cell.settings.digest(), cell.observed) or cell.observed
    final = Observers(cell, measurements.of_training(names, "final"), "trainval", device)
    accuracy = None
    if former is None or not former.ok:
        about = {**more, "observed": ", ".join(cell.observed)}
        former = runner.run(cell, store, device, progress, about, final)
    elif final.names:
        accuracy = _again(cell, device, progress, final)
        _require_same(former, accuracy, device)
    if former.outcome is None:
        return former
    for found in final.found(former.outcome.accuracy if accuracy is None else accuracy):
        kept.write(store.root, found)
    _validate(cell, measurements.of_training(names, "validation"), store, device)
    return former


def _again(cell: Cell, device: torch.device, progress: Progress, observers: Observers) -> float:
    """The accuracy of a cell that is run to be observed."""
    done = _trained(cell, observers, device, progress)
    return done.watch.scores[cell.recipe.epochs].accuracy


def _validate(cell: Cell, names: list[str], store: Store, device: torch.device) -> None:
    """Train on the training split alone, scoring validation data after each epoch."""
    if not names:
        return
    recipe = replace(cell.recipe, test_evaluations=cell.recipe.epochs)
    aside = replace(cell, recipe=recipe)
    observers = Observers(aside, names, "train", device)
    accuracy = _again(aside, device, lambda *_: None, observers)
    for found in observers.found(accuracy):
        kept.write(store.root, found)


def _trained(cell: Cell, observers: Observers, device: torch.device, progress: Progress) -> Trained:
    learnt, scored = SPLITS[observers.learn]
    parts = replace(cell, learnt=learnt, scored=scored)
    try:
        return runner.train(parts, device, progress, observe=observers)
    except Exception as error:
        kind = type(error).__name__
        raise UserError(f"it cannot be observed: {kind}: {first_line(error)}") from error


def _require_same(former: Record, accuracy: float, device: torch.device) -> None:
    """Raise `UserError` where a cell ends elsewhere than its record, on alike machine and code.

    Other versions round otherwise: what was measured then stands with its own accuracy.
    """
    assert former.outcome is not None
    if accuracy != former.outcome.accuracy and _is_alike(former, device):
        raise UserError(
            f"observed, the cell ended at {accuracy:.4f} %, and its record, made by the same "
            f"versions on the same machine, says {former.outcome.accuracy:.4f} %: nothing was kept"
        )


def _is_alike(former: Record, device: torch.device) -> bool:
    now = environment.describe(device)
    known = {name: former.environment.get(name) for name in now if name != "started"}
    return not now["dirty"] and known == {name: now[name] for name in known}
