"""The structure that timm's models of one sequence of tokens share, under the same names."""

from collections.abc import Callable, MutableSequence, Sequence
from typing import Any

from torch import nn

from methods.shared.structure import (
    block_width,
    blocks_of,
    final_norms,
    patch_grid,
    patch_inputs,
    prefix_tokens,
    replace_head_drop,
)


def register_token_model(kind: type[nn.Module], *blocks: type[nn.Module]) -> None:
    """Register the structure of a class of models, and the width of its classes of blocks.

    A family in which one of these functions differs registers it again afterwards.
    """
    blocks_of.register(kind, _blocks)
    prefix_tokens.register(kind, _prefix_tokens)
    patch_inputs.register(kind, _patch_inputs)
    patch_grid.register(kind, _patch_grid)
    final_norms.register(kind, _final_norms)
    replace_head_drop.register(kind, _replace_head_drop)
    for block in blocks:
        block_width.register(block, _block_width)


def _blocks(model: Any) -> MutableSequence[Any]:
    return model.blocks


def _prefix_tokens(model: Any) -> int:
    return model.num_prefix_tokens


def _patch_inputs(model: Any) -> int:
    return model.patch_embed.proj.weight[0].numel()


def _patch_grid(model: Any) -> tuple[int, int]:
    return model.patch_embed.grid_size


def _final_norms(model: Any) -> Sequence[nn.Module]:
    return model.norm, model.fc_norm


def _replace_head_drop(model: Any, build: Callable[[nn.Module], nn.Module]) -> None:
    model.head_drop = build(model.head_drop)


def _block_width(block: Any) -> int:
    return block.attn.proj.out_features
