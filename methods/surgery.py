"""Replacing modules inside a backbone."""

from collections.abc import Callable

from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.base import Unsupported


def replace(model: VisionTransformer, pattern: str, build: Callable[..., nn.Module]) -> None:
    """Put ``build(old)`` in place of the module called `pattern` in every block.

    >>> replace(model, "mlp", Halved)  # where Halved(mlp) is a module that halves what mlp gives
    """
    for block in model.blocks:
        block.set_submodule(pattern, build(block.get_submodule(pattern)))


def embed(model: VisionTransformer, images: Tensor) -> Tensor:
    """What the first block receives: patches with positions behind the prefix tokens, (B, N, D)."""
    return position(model, model.patch_embed(images))


def position(model: VisionTransformer, patches: Tensor) -> Tensor:
    """What the first block receives, (B, N, D), from what the patch embedding gives."""
    return model.norm_pre(model.patch_drop(model._pos_embed(patches)))


def require_plain_blocks(model: VisionTransformer) -> None:
    """Raise `Unsupported` unless every block is timm's plain attention and MLP."""
    for block in model.blocks:
        if not (hasattr(block, "norm1") and hasattr(getattr(block, "attn", None), "qkv")):
            kind = type(block).__name__
            raise Unsupported(f"prompts need blocks with norm1 and a fused attn.qkv, not {kind}")
