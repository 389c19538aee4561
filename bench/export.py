"""A cell's model leaves the project: what was trained alone, or folded into a plain model."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from timm.models import VisionTransformer

from bench import asking, backbones, checkpoints, plan, runner, trainer
from bench.errors import UserError
from bench.records import Record, Store
from bench.runner import Cell, Progress
from methods import Unsupported
from methods.merge import merge


@dataclass(frozen=True)
class Exported:
    """The file that was written, and what the model read back from it scores on test."""

    path: Path
    bytes: int
    accuracy: float


def cell_of(record: Record, store: Store, root: Path, device: str) -> Cell:
    """The cell of a record, asked for again.

    Raises `UserError` where this checkout, or this machine, would run it under other settings.
    """
    request = asking.again(record.request, root, device)
    cell = plan.make(request, store).cells[0]
    if cell.settings.digest() != record.cell:
        raise UserError(f"this checkout runs cell {record.cell} as {cell.settings.digest()}")
    return cell


def trained(cell: Cell, out: Path, device: torch.device, progress: Progress) -> Exported:
    """Train the cell anew, and write what it trained; what is read back is scored on test."""
    done = runner.train(cell, device, progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    tensors = checkpoints.added(done.model, done.bare)
    save_file(tensors, out, metadata={"cell": cell.settings.digest()})
    return _scored(cell, restored(cell, out), out, device)


def restored(cell: Cell, path: Path) -> VisionTransformer:
    """The cell's model with the tensors of the file at `path`; needs no data."""
    torch.manual_seed(cell.settings.seed)
    model = backbones.load(cell.backbone, cell.task.classes, cell.recipe)
    cell.method.attach(model)
    checkpoints.put_back(model, load_file(path))
    return model.eval()


def merged(cell: Cell, path: Path, out: Path, device: torch.device) -> Exported:
    """Fold the method of the file at `path` into a plain timm model, and write all its weights.

    Raises `Unsupported` where the method's mathematics does not allow it.
    """
    model = restored(cell, path)
    merge(model)
    plain = backbones.build(cell.backbone, cell.task.classes)
    _require_alike(model, plain)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        weights, out, metadata={"cell": cell.settings.digest(), "timm": cell.backbone.card.timm}
    )
    plain.load_state_dict(load_file(out))
    return _scored(cell, plain.eval(), out, device)


def _require_alike(model: VisionTransformer, plain: VisionTransformer) -> None:
    """Raise `Unsupported` where a folded model holds other tensors than timm's own."""
    found, wanted = (
        {name: tuple(tensor.shape) for name, tensor in one.state_dict().items()}
        for one in (model, plain)
    )
    other = sorted(dict(found.items() ^ wanted.items()))
    if other:
        raise Unsupported(f"{', '.join(other[:3])} differ from those of timm's own model")


def _scored(cell: Cell, model: VisionTransformer, path: Path, device: torch.device) -> Exported:
    shown = runner.test_batches(cell, device)
    precision = cell.settings.recipe["precision"]
    found = trainer.predict(backbones.placed(model, device), shown, precision)
    return Exported(path, path.stat().st_size, found.accuracy)
