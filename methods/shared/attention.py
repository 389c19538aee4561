"""A block computed step by step, so that methods can change single steps.

The steps are generic: each family of backbones (`families/`) registers its blocks and attentions.
"""

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.shared.structure import Positions, blocks_of, unknown_block

# ---- the steps that a family registers


@singledispatch
def project_qkv(attn: nn.Module, x: Tensor, **positions: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Project `x`, (B, N, D), to queries, keys and values, (B, H, N, D / H) each.

    `positions` belong to the last tokens of `x`: tokens before those of the backbone have none.
    """
    raise unknown_block(attn)


@singledispatch
def project_queries(attn: nn.Module, x: Tensor) -> Tensor:
    """Project `x`, (B, N, D), to queries without positions, (B, H, N, D / H)."""
    return project_qkv(attn, x)[0]


@singledispatch
def attention_bias(attn: nn.Module, **positions: Any) -> Tensor | None:
    """Return the bias that an attention adds to the logits of its own tokens, (1, H, N, N)."""
    return None


@singledispatch
def attention_output(attn: nn.Module, x: Tensor, mixed: Tensor) -> Tensor:
    """Compute the output for `x`, (B, N, D), from the mixed values, (B, N, D)."""
    raise unknown_block(attn)


@singledispatch
def attention_update(block: nn.Module, attended: Tensor) -> Tensor:
    """Return what the block adds to its tokens, given its attention's output: scaled, dropped."""
    raise unknown_block(block)


@singledispatch
def mlp_update(block: nn.Module, changed: Tensor) -> Tensor:
    """Return what the block adds to its tokens, given its MLP's output: scaled, dropped."""
    raise unknown_block(block)


@singledispatch
def run_with_prompts(
    block: nn.Module, x: Tensor, start: int, count: int, **positions: Any
) -> Tensor:
    """Run a block on tokens, (B, N, D), of which `count` from `start` on are prompts.

    Prompts have no position: positions that the backbone gives its own tokens stay theirs.
    """
    return block(x, **positions)


@singledispatch
def run_attention(block: Any, x: Tensor, **positions: Any) -> Tensor:
    """Apply the attention of a block to its normalised tokens, (..., D), as the block does."""
    return block.attn(x, **positions)


@singledispatch
def attend_in_block(
    block: Any, x: Tensor, *more: tuple[Tensor, Tensor], **positions: Any
) -> Tensor:
    """Apply the attention of a block to its normalised tokens, with `more` keys and values."""
    return attend(block.attn, x, *more, **positions)


# ---- what methods call


def head_width(attn: Any) -> int:
    """Return the number of channels of a head of an attention that is not yet changed."""
    return attn.proj.in_features // attn.num_heads


def attend(
    attn: nn.Module,
    x: Tensor,
    *more: tuple[Tensor, Tensor],
    prompts: tuple[int, int] = (0, 0),
    **positions: Any,
) -> Tensor:
    """Apply attention to `x`, (B, N, D), with `more` keys and values, (H, P, D / H) each.

    `prompts` are the first of the tokens in `x` that are not the backbone's, and their number.
    """
    q, k, v = _project_with_extra(attn, x, more, positions)
    return mix_values(attn, x, q, k, v, _padded_bias(attn, more, positions, prompts))


def attend_first_token(
    attn: nn.Module, x: Tensor, *more: tuple[Tensor, Tensor], **positions: Any
) -> Tensor:
    """Compute the output of `attend` for the first token only, (B, 1, D)."""
    q, k, v = _project_with_extra(attn, x, more, positions)
    bias = _padded_bias(attn, more, positions)
    bias = None if bias is None else bias[:, :, :1]
    return mix_values(attn, x[:, :1], q[:, :, :1], k, v, bias)


def mix_values(
    attn: Any, x: Tensor, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Compute the output of `attn` for `x`, (B, N, D), from its queries, keys and values."""
    return attention_output(attn, x, mixed_values(attn, q, k, v, bias))


def mixed_values(attn: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute what the attention's last layer reads, (B, N, D): the heads' values, mixed."""
    return _dot_product_attention(attn, q, k, v, bias).transpose(1, 2).flatten(2)


def _project_with_extra(
    attn: nn.Module, x: Tensor, more: Sequence[tuple[Tensor, Tensor]], positions: Positions
) -> tuple[Tensor, Tensor, Tensor]:
    """Project `x` to queries, keys and values, (B, H, N, D / H) each; `more` precede the latter."""
    q, k, v = project_qkv(attn, x, **positions)
    if more:
        q = q.contiguous()  # a view would keep the shorter keys and values in memory
    for keys, values in more:
        k = torch.cat([keys.expand(len(x), -1, -1, -1), k], 2)
        v = torch.cat([values.expand(len(x), -1, -1, -1), v], 2)
    return q, k, v


def _padded_bias(
    attn: nn.Module,
    more: Sequence[tuple[Tensor, Tensor]],
    positions: Positions,
    prompts: tuple[int, int] = (0, 0),
) -> Tensor | None:
    """Return the attention's bias with zeros for prompts and for the keys of `more`."""
    bias = attention_bias(attn, **positions)  # (1, H, N, N)
    if bias is None:
        return None
    start, count = prompts
    for axis in (2, 3) if count else ():
        before, after = bias.split([start, bias.shape[axis] - start], axis)
        shape = [*bias.shape[:axis], count, *bias.shape[axis + 1 :]]
        bias = torch.cat([before, bias.new_zeros(shape), after], axis)
    return F.pad(bias, (sum(k.shape[1] for k, _ in more), 0))


def keys_and_values(attn: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Project `x`, (P, D), to keys and values without positions, (H, P, D / H) each."""
    _, k, v = project_qkv(attn, x[None])
    return k[0], v[0]


def _dot_product_attention(
    attn: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None
) -> Tensor:
    """Scaled dot-product attention, fused or not as in `attn` itself."""
    if bias is not None and 1 < len(bias) < len(q):  # a bias for each of an image's windows
        bias = bias.repeat(len(q) // len(bias), 1, 1, 1)
    if attn.fused_attn:
        dropped = attn.attn_drop.p if attn.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, bias, dropout_p=dropped)
    logits = q * attn.scale @ k.transpose(-2, -1)
    logits = logits if bias is None else logits + bias
    return attn.attn_drop(logits.softmax(-1)) @ v


def finish_block(block: Any, x: Tensor, attended: Tensor) -> Tensor:
    """Compute the rest of a block: both residuals and the MLP, given the attention output."""
    x = x + attention_update(block, attended)
    return x + mlp_update(block, block.mlp(block.norm2(x)))


def run_stepwise_with_prompts(
    block: Any, x: Tensor, start: int, count: int, **positions: Any
) -> Tensor:
    """Compute `run_with_prompts` step by step, for attention with a bias on its logits."""
    attended = attend(block.attn, block.norm1(x), prompts=(start, count), **positions)
    return finish_block(block, x, attended)


def tells_prompts_apart(block: nn.Module) -> bool:
    """Return whether the block must know which of its tokens are prompts."""
    return _is_registered(run_with_prompts, block)


def is_stepwise(block: nn.Module) -> bool:
    """Return whether `attend` and `finish_block` reproduce this block."""
    return _is_registered(attention_update, block) and _is_registered(
        project_qkv, getattr(block, "attn", None)
    )


def require_stepwise_blocks(model: nn.Module) -> None:
    """Raise `Unsupported` unless every block can be computed step by step (see `is_stepwise`)."""
    for block in blocks_of(model):
        if not is_stepwise(block):
            raise unknown_block(block)


def _is_registered(step: Any, module: object) -> bool:
    return step.dispatch(type(module)) is not step.dispatch(object)
