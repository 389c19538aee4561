"""Changes to a backbone: replaced modules, changed weights, and checks that they are possible."""

import copy
from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn

from methods.shared.base import Unsupported
from methods.shared.structure import blocks_of, expose_layers, is_pre_norm


def replace_modules(model: nn.Module, pattern: str, build: Callable[..., nn.Module]) -> None:
    """Replace the module called `pattern` in every block by ``build(old)``.

    >>> replace_modules(model, "mlp", Halved)  # Halved(mlp) is a module that halves the output
    """
    for block in blocks_of(model):
        expose_layers(block)
        block.set_submodule(pattern, build(block.get_submodule(pattern)))


def require_fused_qkv(model: nn.Module) -> None:
    """Raise `Unsupported` unless every block has a ``norm1`` and a fused ``attn.qkv``."""
    for block in blocks_of(model):
        if not (hasattr(block, "norm1") and hasattr(getattr(block, "attn", None), "qkv")):
            kind = type(block).__name__
            raise Unsupported(f"prompts need blocks with norm1 and a fused attn.qkv, not {kind}")


BLOCK_LINEARS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
"""The linear layers of a block."""

Layer = TypeVar("Layer", bound=nn.Module)


def require_layers(model: nn.Module, kind: type[nn.Module], *names: str) -> None:
    """Raise `Unsupported` unless every block has layers of a `kind`, with weights, at `names`."""
    for block in blocks_of(model):
        children = dict(block.named_modules())
        for name in names:
            found = children.get(name)
            if not isinstance(found, kind) or found.weight is None:
                raise Unsupported(
                    f"this method needs a {kind.__name__} with weights as {name} in every block; "
                    f"{type(block).__name__} has {type(found).__name__ if found else 'none'}"
                )


def require_pre_norm(model: nn.Module) -> None:
    """Raise `Unsupported` unless every block is a plain pre-norm block (see `is_pre_norm`)."""
    for block in blocks_of(model):
        if not is_pre_norm(block):
            raise Unsupported(
                f"this method needs timm's plain pre-norm blocks; these are {type(block).__name__}"
            )


def with_weights(layer: Layer, weight: Tensor, bias: Tensor | None) -> Layer:
    """Copy `layer` with these weights, frozen."""
    plain = copy.deepcopy(layer)
    for name, value in (("weight", weight), ("bias", bias)):
        frozen = None if value is None else nn.Parameter(value.detach().clone(), False)
        plain.register_parameter(name, frozen)
    return plain
