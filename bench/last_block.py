"""The last block for the class token alone: where the head reads no other token, none is computed.

Keys and values come from all tokens, as ever; the query, the projection and the MLP, three quarters
of a block's products, from one. Exact but for rounding, in scores and gradients.
"""

from collections.abc import Callable
from functools import partial

import timm.layers
from timm.layers import Attention, LayerScale, Mlp
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from methods.prompts import (
    KeysAndValues,
    WithoutPrompts,
    after_attention,
    attend_first,
    keys_and_values,
)

# of what follows attention: modules that treat each token by itself, and draw nothing
TOKENWISE = {
    nn.Identity, nn.Linear, nn.GELU, nn.LayerNorm, timm.layers.LayerNorm, timm.layers.GELU,
    LayerScale, Mlp,
}  # fmt: skip


def for_class_token(model: VisionTransformer) -> Callable[[Tensor], Tensor]:
    """The last block, (B, N, D) -> (B, 1, D) where the model allows it, else as it is."""
    block: nn.Module = model.blocks[-1]
    inner = block.block if isinstance(block, KeysAndValues | WithoutPrompts) else block
    alone = model.global_pool == "token" and model.attn_pool is None and _tokenwise(model.norm)
    if alone and isinstance(inner, Block) and _is_known(inner):
        return partial(_first_token, block, inner)
    return block


def _first_token(block: nn.Module, inner: Block, x: Tensor) -> Tensor:
    """``block(x)[:, :1]`` of a block around `inner`, or of that itself."""
    more = []
    if isinstance(block, KeysAndValues):
        more.append(keys_and_values(inner.attn, inner.norm1(block.project(block.prompts))))
    return after_attention(inner, x[:, :1], attend_first(inner.attn, inner.norm1(x), *more))


def _is_known(block: Block) -> bool:
    """Whether its parts can be computed one by one here, those behind attention for one token."""
    attn = block.attn
    if type(block) is not Block or type(attn) is not Attention or _is_watched(block):
        return False
    behind = (attn.norm, attn.proj, block.ls1, block.norm2, block.mlp, block.ls2)
    draws = (attn.attn_drop, attn.proj_drop, block.drop_path1, block.drop_path2)
    return all(map(_tokenwise, behind)) and all(map(_is_quiet, draws))


def _is_watched(block: Block) -> bool:
    return any(is_hooked(module) for module in block.modules())


def _tokenwise(module: nn.Module) -> bool:
    return all(type(m) in TOKENWISE or _is_quiet(m) for m in module.modules())


def _is_quiet(module: nn.Module) -> bool:
    """Whether it passes on what it gets: no dropout of any rate."""
    return type(module) is nn.Identity or (type(module) is nn.Dropout and module.p == 0)


def is_hooked(module: nn.Module) -> bool:
    """Whether calling it runs more than its own forward pass."""
    return bool(module._forward_hooks or module._forward_pre_hooks)
