"""Backbones in stages, between which patches are merged: their blocks in a row, and prompts there.

All of it has a meaning for other backbones, too: they have one stage.
"""

from collections.abc import MutableSequence, Sequence
from functools import singledispatch
from itertools import accumulate
from typing import Any

from torch import nn

from methods.shared.base import Unsupported
from methods.shared.structure import block_width, blocks_of, prefix_tokens, require_transformer


class StagedBlocks(MutableSequence[Any]):
    """The blocks of all stages in the order of the forward pass; an item can be replaced."""

    def __init__(self, stages: Sequence[nn.Sequential]):
        self.places = [(stage, i) for stage in stages for i in range(len(stage))]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [stage[i] for stage, i in self.places[index]]
        stage, i = self.places[index]
        return stage[i]

    def __setitem__(self, index: Any, block: Any) -> None:
        stage, i = self.places[index]
        stage[i] = block

    def __delitem__(self, index: Any) -> None:
        raise TypeError("the number of a backbone's blocks is fixed")

    def insert(self, index: int, block: Any) -> None:
        raise TypeError("the number of a backbone's blocks is fixed")


@singledispatch
def stage_lengths(model: nn.Module) -> Sequence[int]:
    """Return the number of blocks in each stage."""
    return [len(blocks_of(model))]


@singledispatch
def token_map(block: nn.Module) -> tuple[int, int] | None:
    """Return height and width of the map, (B, H, W, D), that a block has instead of a sequence."""
    return None


@singledispatch
def prompt_position(model: nn.Module) -> int:
    """Return the number of the backbone's own tokens that stand before prompts."""
    return prefix_tokens(model)


@singledispatch
def carry_prompts(model: nn.Module, count: int) -> None:
    """Let the first `count` tokens, which are prompts, pass every merging of patches.

    Where four patches are merged to one, a prompt stands in the place of all four.
    """
    raise Unsupported(f"prompts pass all blocks of {type(model).__name__}: it merges no patches")


def has_stages(model: nn.Module) -> bool:
    """Return whether patches are merged between some blocks."""
    return len(stage_lengths(model)) > 1


def require_one_stage(model: nn.Module) -> None:
    """Raise `Unsupported` unless all blocks have the same tokens, of the same width."""
    require_transformer(model)
    if has_stages(model):
        raise Unsupported(
            "this method needs the same patches in all blocks; "
            f"{type(model).__name__} merges them between its {len(stage_lengths(model))} stages"
        )


def token_widths(model: Any) -> list[int]:
    """Return the number of channels of the tokens of each block."""
    if not has_stages(model):
        return [model.embed_dim] * len(blocks_of(model))
    return [block_width(block) for block in blocks_of(model)]


def stage_ends(model: nn.Module) -> list[int]:
    """Return the index of the last block of each stage."""
    return [end - 1 for end in accumulate(stage_lengths(model))]
