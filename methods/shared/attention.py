"""timm's attention and block computed step by step, so that methods can change single steps."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.layers import Attention
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from methods.shared.base import Unsupported


def attend(attn: Attention, x: Tensor, *more: tuple[Tensor, Tensor]) -> Tensor:
    """Apply timm's attention to `x`, (B, N, D), with `more` keys and values, (H, P, D / H) each."""
    q, k, v = _project_with_extra(attn, x, more)
    return attention_output(attn, x, q, k, v)


def attend_first_token(attn: Attention, x: Tensor, *more: tuple[Tensor, Tensor]) -> Tensor:
    """Compute the output of `attend` for the first token only, (B, 1, D)."""
    q, k, v = _project_with_extra(attn, x, more)
    return attention_output(attn, x[:, :1], q[:, :, :1], k, v)


def _project_with_extra(
    attn: Attention, x: Tensor, more: Sequence[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Project `x` to queries, keys and values, (B, H, N, D / H) each; `more` precede the latter."""
    q, k, v = project_qkv(attn, x)
    if more:
        q = q.contiguous()  # a view would keep the shorter keys and values in memory
    for keys, values in more:
        k = torch.cat([keys.expand(len(x), -1, -1, -1), k], 2)
        v = torch.cat([values.expand(len(x), -1, -1, -1), v], 2)
    return q, k, v


def keys_and_values(attn: Attention, x: Tensor) -> tuple[Tensor, Tensor]:
    """Project `x`, (P, D), to keys and values, (H, P, D / H) each."""
    _, k, v = project_qkv(attn, x[None])
    return k[0], v[0]


def project_qkv(attn: Attention, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Project `x`, (B, N, D), to queries, keys and values, (B, H, N, D / H) each."""
    B, N, _ = x.shape
    split = attn.qkv(x).reshape(B, N, 3, attn.num_heads, attn.head_dim).permute(2, 0, 3, 1, 4)
    return attn.q_norm(split[0]), attn.k_norm(split[1]), split[2]


def attention_output(attn: Attention, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute the output of `attn` for `x`, (B, N, D), from its queries, keys and values."""
    mixed = _dot_product_attention(attn, q, k, v).transpose(1, 2).flatten(2)  # (B, N, D)
    mixed = attn.norm(mixed)
    if attn.gate is not None:
        mixed = mixed * attn.gate(x).sigmoid()
    return attn.proj_drop(attn.proj(mixed))


def _dot_product_attention(attn: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention, fused or not as in `attn` itself."""
    if attn.fused_attn:
        dropped = attn.attn_drop.p if attn.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropped)
    return attn.attn_drop((q * attn.scale @ k.transpose(-2, -1)).softmax(-1)) @ v


def finish_block(block: Block, x: Tensor, attended: Tensor) -> Tensor:
    """Compute the rest of timm's block: both residuals and the MLP, given the attention output."""
    x = x + block.drop_path1(block.ls1(attended))
    return x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))


def is_timm_block(block: nn.Module) -> bool:
    """Return whether `attend` and `finish_block` reproduce this block."""
    return isinstance(getattr(block, "attn", None), Attention) and hasattr(block, "ls1")


def require_timm_blocks(model: VisionTransformer) -> None:
    """Raise `Unsupported` unless every block can be computed step by step (see `is_timm_block`)."""
    for block in model.blocks:
        if not is_timm_block(block):
            raise Unsupported(
                f"this method computes timm's Block with its Attention; these are "
                f"{type(block).__name__} with {type(getattr(block, 'attn', None)).__name__}"
            )
