"""What a cell trained, as tensors: the kilobytes that differ from the backbone, and the way back.

Source of the idea: "Storing Visual Prompts", Jia et al., 2022, https://arxiv.org/abs/2203.12119.
"""

from timm.models import VisionTransformer
from torch import Tensor

from bench.errors import UserError


def identities(model: VisionTransformer) -> set[int]:
    """What marks the tensors that `model` has now."""
    return {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}


def added(model: VisionTransformer, bare: set[int]) -> dict[str, Tensor]:
    """What learns in `model` or was not among its tensors when `bare` was taken, on the CPU.

    A tensor that several modules share goes by the first of its names.
    """
    names: dict[int, str] = {}
    own = model.state_dict(keep_vars=True)
    for name, tensor in own.items():
        if tensor.requires_grad or id(tensor) not in bare:
            names.setdefault(id(tensor), name)
    return {name: own[name].detach().cpu().contiguous() for name in names.values()}


def put_back(model: VisionTransformer, tensors: dict[str, Tensor]) -> None:
    """Load what `added` gave into a model to which the same method was attached.

    Raises `UserError` where the tensors are not those that this method adds.
    """
    own = model.state_dict()
    for name, tensor in tensors.items():
        if name not in own or own[name].shape != tensor.shape:
            raise UserError(f"{name}, {tuple(tensor.shape)}, has no place in this method's model")
    missing = [n for n, p in model.named_parameters() if p.requires_grad and n not in tensors]
    if missing:
        raise UserError(f"{missing[0]} learns in this method's model, and is not in the file")
    model.load_state_dict(tensors, strict=False)
