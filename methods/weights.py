"""What methods that change weights share: checks of a backbone, and a layer with other weights."""

import copy
from collections.abc import Collection
from typing import TypeVar

from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from methods.base import Unsupported

LINEARS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
"""The layers of a block that hold its matrices."""

Layer = TypeVar("Layer", bound=nn.Module)


def require_layers(model: VisionTransformer, kind: type[nn.Module], *names: str) -> None:
    """Raise `Unsupported` unless each block has layers of this `kind`, with weights, by `names`."""
    for block in model.blocks:
        children = dict(block.named_modules())
        for name in names:
            found = children.get(name)
            if not isinstance(found, kind) or found.weight is None:
                raise Unsupported(
                    f"this method needs a {kind.__name__} with weights as {name} in every block; "
                    f"{type(block).__name__} has {type(found).__name__ if found else 'none'}"
                )


def require_pre_norm(model: VisionTransformer) -> None:
    """Raise `Unsupported` unless every block is timm's: ``x + attn(norm1(x))``, then the MLP."""
    for block in model.blocks:
        if type(block) is not Block:
            raise Unsupported(
                f"this method needs timm's plain pre-norm blocks; these are {type(block).__name__}"
            )


def require_size(what: str, value: int, least: int = 1) -> None:
    """Raise `ValueError` for a rank, a width or a number of layers that is too small."""
    if value < least:
        raise ValueError(f"{what} must be at least {least}; {value} was given")


def require_rate(what: str, value: float) -> None:
    """Raise `ValueError` for a share to drop that is none."""
    if not 0 <= value < 1:
        raise ValueError(f"{what} must be at least 0 and below 1; {value} was given")


def require_choice(what: str, value: str, known: Collection[str]) -> None:
    """Raise `ValueError` for a name that is not `known`."""
    if value not in known:
        raise ValueError(f"{what} must be one of {', '.join(known)}; {value!r} was given")


def with_weights(layer: Layer, weight: Tensor, bias: Tensor | None) -> Layer:
    """A copy of `layer`, frozen, with these weights."""
    plain = copy.deepcopy(layer)
    for name, value in (("weight", weight), ("bias", bias)):
        frozen = None if value is None else nn.Parameter(value.detach().clone(), False)
        plain.register_parameter(name, frozen)
    return plain
