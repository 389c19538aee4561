"""What a cell trained, as a file: the kilobytes that differ from the backbone, and the way back.

Source of the idea: "Storing Visual Prompts", Jia et al., 2022, https://arxiv.org/abs/2203.12119.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from timm.models import VisionTransformer
from torch import Tensor

from bench import backbones
from bench.errors import UserError
from bench.records import Record
from bench.runner import Cell
from methods.merge import merge


def identities(model: VisionTransformer) -> set[int]:
    """What marks the tensors that `model` has now."""
    return {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}


def added(model: VisionTransformer, bare: set[int]) -> dict[str, Tensor]:
    """What learns in `model` or was not among its tensors when `bare` was taken."""
    return {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict(keep_vars=True).items()
        if tensor.requires_grad or id(tensor) not in bare
    }


def save(tensors: dict[str, Tensor], path: Path, record: Record | None = None) -> None:
    """Write `tensors` as safetensors, with the cell's name where there is a record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"cell": record.cell} if record else None)


def restore(cell: Cell, path: Path) -> VisionTransformer:
    """The model of `cell` with the tensors of the file at `path`; needs no data.

    Raises `UserError` where the file is not one of this cell's method and backbone.
    """
    torch.manual_seed(cell.settings.seed)
    model = backbones.load(cell.backbone, cell.task.classes, cell.recipe)
    cell.method.attach(model)
    bare = backbones.load(cell.backbone, cell.task.classes, cell.recipe).state_dict()
    tensors = load_file(path)
    own = model.state_dict()
    strange = sorted(name for name in tensors if name not in own)
    missing = len(own) - len(tensors) > len(bare)
    misfit = [n for n, t in tensors.items() if n in own and own[n].shape != t.shape]
    if strange or missing or misfit:
        what = (strange or misfit or ["too few tensors"])[0]
        raise UserError(f"{path} does not hold what {cell.settings.method} adds: {what}")
    model.load_state_dict(tensors, strict=False)
    return model.eval()


def merged(cell: Cell, path: Path) -> VisionTransformer:
    """The plain timm model that scores as the restored one does."""
    model = restore(cell, path)
    merge(model)
    return model
