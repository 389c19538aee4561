"""The sets that a cell's model is scored on: its own splits, and the further test sets of its task.

And the scores on further sets: over all classes and, where a set has but some, among these.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bench.config.suite import Split
from bench.data.distributed import SINGLE_PROCESS, ProcessGroup
from bench.data.loader import BatchLoader
from bench.data.shifts import load_shift
from bench.records.predictions import Predictions
from bench.records.schema import ShiftScore
from bench.records.store import Store
from bench.training import trainer
from bench.training.cell import Cell, load_split, make_loader
from bench.training.trainer import EvaluationResult
from methods.shared.base import Model


@dataclass(frozen=True)
class ScoredSet:
    """A named set of images to score a model on, in the order of its list."""

    name: str  # of a split of the task, or of a shift
    loader: BatchLoader
    classes: Sequence[int] | None = None  # that scores are masked to; None: all of the task's


def scored_sets(
    cell: Cell,
    device: torch.device,
    splits: Sequence[Split] = ("val", "test"),
    process_group: ProcessGroup = SINGLE_PROCESS,
) -> Iterator[ScoredSet]:
    """Yield the cell's own `splits`, then each further test set that it is scored on.

    All are seen through the recipe's test transform; one is loaded as it is asked for. Raises
    `UserError` as loading does.
    """
    view = cell.views.test
    for split in splits:
        loader = make_loader(cell, load_split(cell, split), view, device, None, process_group)
        yield ScoredSet(split, loader)
    for shift in cell.shifts:
        examples = load_shift(cell.suite, cell.task, shift, cell.root, cell.variant)
        loader = make_loader(cell, examples, view, device, None, process_group)
        yield ScoredSet(shift.name, loader, shift.classes)


def score_shifts(
    cell: Cell, model: Model, store: Store, device: torch.device, process_group: ProcessGroup
) -> dict[str, ShiftScore]:
    """Score the model on each further test set; writes the predictions to the store."""
    return {
        one.name: _score(cell, model, store, one)
        for one in scored_sets(cell, device, (), process_group)
    }


def _score(cell: Cell, model: Model, store: Store, scored: ScoredSet) -> ShiftScore:
    precision = cell.settings.recipe["precision"]
    if scored.classes is None:
        found, masked = trainer.evaluate(model, scored.loader, precision), None
    else:
        found, masked = trainer.evaluate_masked(model, scored.loader, precision, scored.classes)
    kept = predictions_of(found, masked)
    store.write_predictions(cell.settings, kept, scored.name)
    return ShiftScore(
        accuracy=found.accuracy,
        images=len(found.labels),
        predictions=kept.sha256(),
        masked_accuracy=masked.accuracy if masked else None,
        masked_predictions=kept.masked_sha256(),
    )


def predictions_of(found: EvaluationResult, masked: EvaluationResult | None = None) -> Predictions:
    """Return the predicted and the true classes of an evaluation, as they are stored."""
    kept = (found.classes, found.labels, *([masked.classes] if masked else ()))
    return Predictions(*(part.numpy().astype(np.int16) for part in kept))
