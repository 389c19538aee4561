"""Cells of the tiny suite that are trained whole, or to a checkpoint and on from it."""

import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.execution import plan
from bench.execution.request import Request
from bench.models.training_tensors import named_tensors
from bench.records.store import Store
from bench.training import runner
from bench.training.cell import Cell
from bench.training.checkpoints import Checkpoints
from bench.training.runner import TrainedModel
from bench.training.scored_sets import predictions_of

CPU = torch.device("cpu")


def cell_of(cards: Path, method: str, epochs: int = 2, **changes: Any) -> Cell:
    """A cell of the task `dark`: two steps an epoch, each of which is scored."""
    plain = {
        "epochs": epochs,
        "warmup_epochs": 1,
        "test_evaluations": epochs,
        "precision": "fp32",
        "batch": 8,
    }
    request = Request(
        suite=str(cards / "tiny.toml"),
        methods=[method],
        tasks=["dark"],
        seeds=[3],
        changes={**plain, **changes},
        root=cards / "data",
    )
    return plan.plan_cells(request)[0]


def checkpoints_of(cell: Cell, folder: Path) -> Checkpoints:
    """Checkpoints at the end of each epoch."""
    return Checkpoints(cell, Store(folder), CPU, every=0.0)


def train(cell: Cell, checkpoints: Checkpoints, on_epoch: Callable[[int], None] = lambda _: None):
    """Train a cell with a method of its own, as a worker does."""
    own = replace(cell, method=deepcopy(cell.method))
    return runner.train(own, CPU, lambda epoch, *_: on_epoch(epoch), checkpoints=checkpoints)


def train_whole(cell: Cell, folder: Path) -> tuple[TrainedModel, dict[int, Path]]:
    """Train a cell to its end; the model, and copies of the checkpoints that a kill would leave."""
    checkpoints, kept = checkpoints_of(cell, folder), dict[int, Path]()

    def keep(epoch: int) -> None:  # called before the epoch's own checkpoint is written
        if epoch > 1:
            kept[epoch - 1] = folder / f"after-{epoch - 1}"
            shutil.copy(checkpoints.path, kept[epoch - 1])

    trained = train(cell, checkpoints, keep)
    assert not checkpoints.problems
    return trained, kept


def resume(cell: Cell, folder: Path, checkpoint: Path) -> tuple[TrainedModel, Checkpoints]:
    """Go on from a checkpoint, as another process would; the generators are elsewhere by then."""
    torch.manual_seed(99)
    checkpoints = checkpoints_of(cell, folder)
    checkpoints.path.parent.mkdir(exist_ok=True)
    shutil.copy(checkpoint, checkpoints.path)
    return train(cell, checkpoints), checkpoints


def assert_equal(whole: TrainedModel, resumed: TrainedModel) -> None:
    """Losses, accuracies, predictions and every tensor of the model are equal bit for bit."""
    assert resumed.losses == whole.losses
    evaluations, expected = resumed.monitor.evaluations, whole.monitor.evaluations
    assert list(evaluations) == list(expected)
    for epoch, one in evaluations.items():
        assert one.accuracy == expected[epoch].accuracy
        assert predictions_of(one).sha256() == predictions_of(expected[epoch]).sha256()
    tensors, others = named_tensors(whole.model), named_tensors(resumed.model)
    assert list(tensors) == list(others)
    different = [name for name, value in tensors.items() if not torch.equal(value, others[name])]
    assert not different
    assert resumed.init.images == whole.init.images
    assert resumed.loading_notes == whole.loading_notes
