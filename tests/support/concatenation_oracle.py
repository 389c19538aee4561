"""Prompts computed by timm's own forward pass alone: they join the tokens of its blocks.

Nothing of `methods` is used. Hooks put the prompts in front of the patches of a block's input and
take their outputs away; timm's attention is told that they have no position, as it is told for its
own prefix tokens, or by zeros in its bias.
"""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

BIASES = ("shared_rel_pos_bias", "shared_rel_pos")  # what timm hands to blocks, (..., N, N)


def prompted(
    bare: Any, prompts: Sequence[Tensor], keep: bool = False
) -> Callable[[Tensor], Tensor]:
    """A copy of the model with `prompts`, (P, D), for each block, or for the first block alone.

    With `keep` the last block's outputs at the prompts are left for the pooling.
    """
    model = copy.deepcopy(bare)
    count, last = len(prompts[0]), len(model.blocks) - 1
    is_deep = len(prompts) > 1
    start = _prefix_length(model)
    for i, block in enumerate(model.blocks):
        own = prompts[i] if is_deep or i == 0 else None
        removes = (is_deep or i == last) and not (keep and i == last)
        block.register_forward_pre_hook(partial(_insert, start, count, own), with_kwargs=True)
        if removes:
            block.register_forward_hook(partial(_remove, start, count))
        for module in block.modules():
            _tell_positions(module, start, count)
    return model


def _prefix_length(model: Any) -> int:
    """The number of tokens that are not patches, as they reach the first block."""
    seen: list[int] = []
    handle = model.blocks[0].register_forward_pre_hook(
        lambda _, args: seen.append(args[0].shape[1])
    )
    size = model.patch_embed.img_size
    model(torch.zeros(1, 3, *size, dtype=next(model.parameters()).dtype))
    handle.remove()
    return seen[0] - model.patch_embed.num_patches


def _insert(
    start: int, count: int, prompts: Tensor | None, _block: Any, args: Any, kwargs: dict[str, Any]
) -> Any:
    (x,) = args
    if prompts is not None:
        x = torch.cat([x[:, :start], prompts.expand(len(x), -1, -1), x[:, start:]], 1)
    changed = {n: _with_zeros(v, start, count) if n in BIASES else v for n, v in kwargs.items()}
    return (x,), changed


def _remove(start: int, count: int, _block: Any, _args: Any, out: Tensor) -> Tensor:
    return torch.cat([out[:, :start], out[:, start + count :]], 1)


def _tell_positions(module: Any, start: int, count: int) -> None:
    """Let a module of an attention treat the prompts as tokens without position."""
    if hasattr(module, "rotate_half"):
        module.num_prefix_tokens += count
    for name in ("_get_rel_pos_bias", "get_bias"):
        if hasattr(module, name):
            setattr(module, name, partial(_padded, getattr(module, name), start, count))


def _padded(bias_of: Callable[[], Tensor], start: int, count: int) -> Tensor | None:
    return _with_zeros(bias_of(), start, count)


def _with_zeros(bias: Tensor | None, start: int, count: int) -> Tensor | None:
    if bias is None:
        return None
    size = bias.shape[-1] + count
    own = torch.tensor([i for i in range(size) if not start <= i < start + count])
    wide = bias.new_zeros(*bias.shape[:-2], size, size)
    wide[..., own[:, None], own] = bias
    return wide
