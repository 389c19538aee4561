"""Train one model from Python and get it back, for a notebook; no record is written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.execution import plan
from bench.execution.request import Request
from bench.training import devices, runner
from bench.utils.errors import UserError
from methods.shared.base import Model


@dataclass(frozen=True)
class FittedModel:
    """A trained model in evaluation mode, with its test accuracy and its losses."""

    model: Model
    accuracy: float  # top-1 percent on test after the last epoch
    losses: list[float]  # mean of each epoch
    cell: str  # ID of the cell that `run` would give the same settings


def fit(
    method: str,
    backbone: str,
    task: str,
    *,
    suite: str = "mini",
    recipe: str | None = None,
    seed: int = 0,
    device: str | None = None,
    data_root: Path | str = "data",
    **changes: Any,
) -> FittedModel:
    """Train a method on a task as `run` does, without tuning, and return the model.

    `changes` override fields of the recipe or of the method: ``epochs=1, rank=4``. Raises
    `UserError` as `run` does, and `methods.Unsupported` if the backbone is not supported.
    """
    where = devices.resolve_device(device)
    request = Request(
        suite=suite,
        methods=[method],
        backbones=[backbone],
        tasks=[task],
        seeds=[seed],
        recipe=recipe,
        changes=changes,
        root=Path(data_root),
        device=where,
    )
    cells = plan.plan_cells(request)
    if len(cells) != 1:
        raise UserError(f"one cell was expected, and these names are those of {len(cells)}")
    [cell] = cells
    done = runner.train(cell, torch.device(where), lambda *_: None)
    accuracy = done.monitor.evaluations[cell.recipe.epochs].accuracy
    return FittedModel(done.model.eval(), accuracy, done.losses, cell.settings.digest())
