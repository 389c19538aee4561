"""Replacing modules inside a backbone."""

# MERGED methods.shared.backbone: """What methods that change weights share: checks of a backbone, and a layer with other weights."""
import copy
from collections.abc import Callable
from typing import TypeVar

from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from methods.shared.base import Unsupported


def replace_modules(
    model: VisionTransformer, pattern: str, build: Callable[..., nn.Module]
) -> None:
    """Put ``build(old)`` in place of the module called `pattern` in every block.

    >>> replace(model, "mlp", Halved)  # where Halved(mlp) is a module that halves what mlp gives
    """
    for block in model.blocks:
        block.set_submodule(pattern, build(block.get_submodule(pattern)))


def embed_images(model: VisionTransformer, images: Tensor) -> Tensor:
    """What the first block receives: patches with positions behind the prefix tokens, (B, N, D)."""
    return add_positions(model, model.patch_embed(images))


def add_positions(model: VisionTransformer, patches: Tensor) -> Tensor:
    """What the first block receives, (B, N, D), from what the patch embedding gives."""
    return model.norm_pre(model.patch_drop(model._pos_embed(patches)))


def require_fused_qkv(model: VisionTransformer) -> None:
    """Raise `Unsupported` unless every block is timm's plain attention and MLP."""
    for block in model.blocks:
        if not (hasattr(block, "norm1") and hasattr(getattr(block, "attn", None), "qkv")):
            kind = type(block).__name__
            raise Unsupported(f"prompts need blocks with norm1 and a fused attn.qkv, not {kind}")


BLOCK_LINEARS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
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


def with_weights(layer: Layer, weight: Tensor, bias: Tensor | None) -> Layer:
    """A copy of `layer`, frozen, with these weights."""
    plain = copy.deepcopy(layer)
    for name, value in (("weight", weight), ("bias", bias)):
        frozen = None if value is None else nn.Parameter(value.detach().clone(), False)
        plain.register_parameter(name, frozen)
    return plain
