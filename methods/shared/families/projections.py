"""The projection to queries, keys and values, where timm adds their biases outside of the layer."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.shared.attention import head_width


def fused_projections(attn: Any, x: Tensor) -> Sequence[Tensor]:
    """Project `x` to queries, keys and values, (B, N, D) each, as the attention itself does."""
    if getattr(attn, "q_bias", None) is None:
        return attn.qkv(x).chunk(3, -1)
    bias = torch.cat([attn.q_bias, attn.k_bias, attn.v_bias])
    if attn.qkv_bias_separate:
        return (attn.qkv(x) + bias).chunk(3, -1)
    return F.linear(x, attn.qkv.weight, bias).chunk(3, -1)


def split_heads(attn: Any, x: Tensor) -> Tensor:
    """Split channels into heads: (B, N, D) to (B, H, N, D / H)."""
    return x.unflatten(-1, (-1, head_width(attn))).transpose(1, 2)


def call_qkv_as_layer(attn: Any) -> None:
    """Let the attention call its fused projection, the weight of which it would otherwise read."""
    if getattr(attn, "q_bias", None) is not None:
        attn.qkv_bias_separate = True


def outer_biases(attn: Any) -> Sequence[nn.Parameter | None]:
    """Return the biases of queries and values; that of the keys is zero and never learns."""
    return [getattr(attn, "q_bias", None), getattr(attn, "v_bias", None)]
