"""Prompts in a backbone: learnable tokens that follow the prefix tokens.

Two forms give the same logits. `ConcatenatedPromptBlock` follows the papers: the prompts join the
sequence and their outputs are dropped after the block. `KeyValuePromptBlock` never computes those
outputs: a prompt that is replaced before the next block only acts as one more key and value, the
same for every image, so ``LN1(P) -> k, v`` is computed once per step.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, Protocol, runtime_checkable

import torch
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from methods.shared.attention import (
    attend_in_block,
    finish_block,
    is_stepwise,
    keys_and_values,
    run_with_prompts,
    tells_prompts_apart,
)
from methods.shared.hyperparameters import require_size
from methods.shared.stages import (
    carry_prompts,
    prompt_position,
    stage_ends,
    token_map,
)
from methods.shared.structure import blocks_of, patch_inputs

FORMS = ("keys_and_values", "concatenation")


@runtime_checkable
class HoldsPrompts(Protocol):
    """A block with its own prompts: a block of any method that has this function."""

    def seen(self) -> Tensor:
        """Return the prompts as the block receives them in evaluation mode, (P, D)."""
        ...


class ConcatenatedPromptBlock(nn.Module):
    """A block whose input has `prompts` after the prefix tokens; `keep` leaves them in its output.

    `project` maps prompts of another width to tokens, (P, D); `transform` changes the tokens,
    (..., P, D), behind the dropout.
    """

    def __init__(
        self,
        block: nn.Module,
        prompts: Tensor,
        start: int,
        keep: bool,
        dropout: float,
        project: nn.Module | None = None,
        transform: nn.Module | None = None,
    ):
        super().__init__()
        self.block, self.prompts = block, nn.Parameter(prompts)
        self.start, self.keep, self.dropout = start, keep, nn.Dropout(dropout)
        self.project, self.transform = project or nn.Identity(), transform or nn.Identity()

    def seen(self) -> Tensor:
        return self.transform(self.project(self.prompts))

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        prompts = self.project(self.prompts).expand(len(x), -1, -1)
        prompts, own = self.transform(self.dropout(prompts)), x  # (B, P, D)
        x = run_joined(self.block, x.flatten(1, -2), prompts, self.start, self.keep, **kwargs)
        return as_map(x, own)


class KeyValuePromptBlock(nn.Module):
    """A block with `prompts` as keys and values only, equivalent to `ConcatenatedPromptBlock`."""

    def __init__(
        self,
        block: Block,
        prompts: Tensor,
        project: nn.Module | None = None,
        transform: nn.Module | None = None,
    ):
        super().__init__()
        self.block, self.prompts = block, nn.Parameter(prompts)
        self.project, self.transform = project or nn.Identity(), transform or nn.Identity()

    def seen(self) -> Tensor:
        return self.transform(self.project(self.prompts))

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        attn, norm = self.block.attn, self.block.norm1
        prompts = norm(self.seen())  # (P, D)
        more = keys_and_values(attn, prompts)
        attended = attend_in_block(self.block, norm(x), more, **kwargs)
        return finish_block(self.block, x, attended)


class PromptPassingBlock(nn.Module):
    """A block that gives positions to the backbone's own tokens alone, not to the prompts."""

    def __init__(self, block: nn.Module, start: int, count: int):
        super().__init__()
        self.block, self.start, self.count = block, start, count

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        y = run_with_prompts(self.block, x.flatten(1, -2), self.start, self.count, **kwargs)
        return as_map(y, x)


class PromptRemovalBlock(nn.Module):
    """The last block with prompts; removes its outputs at their positions."""

    def __init__(self, block: nn.Module, start: int, count: int):
        super().__init__()
        self.block, self.start, self.count = block, start, count
        self.map = token_map(block)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        x = run_with_prompts(self.block, x.flatten(1, -2), self.start, self.count, **kwargs)
        x = remove_tokens(x, self.start, self.count)
        return x if self.map is None else x.unflatten(1, self.map)


def run_joined(
    block: nn.Module, x: Tensor, prompts: Tensor, start: int, keep: bool, **kwargs: Any
) -> Tensor:
    """Run `block` on tokens, (B, N, D), that `prompts`, (B, P, D), join at position `start`.

    Its outputs at the prompts' positions are removed unless `keep` leaves them.
    """
    count = prompts.shape[1]
    x = torch.cat([x[:, :start], prompts, x[:, start:]], 1)  # (B, P + N, D)
    x = run_with_prompts(block, x, start, count, **kwargs)
    return x if keep else remove_tokens(x, start, count)


def remove_tokens(x: Tensor, start: int, count: int) -> Tensor:
    """Remove `count` tokens of `x`, (B, N, D), from position `start` on."""
    return torch.cat([x[:, :start], x[:, start + count :]], 1)


def as_map(x: Tensor, like: Tensor) -> Tensor:
    """Return tokens, (B, N, D), as a map, if `like` is one: in its grid, else in one row."""
    if like.ndim == x.ndim:
        return x
    grid = like.shape[1:-1]
    return x.unflatten(1, grid) if x.shape[1] == prod(grid) else x[:, None]


def add_deep_prompts(
    model: VisionTransformer,
    prompts: Sequence[Tensor],
    form: str,
    pool_prompts: bool = False,
    dropout: float = 0.0,
    projects: Sequence[nn.Module | None] | None = None,
    transform: nn.Module | None = None,
) -> None:
    """Give every block its own of `prompts`, (P, D) each once projected by its own of `projects`.

    With `pool_prompts` the last block keeps its outputs at the prompts' positions, for a head that
    averages over all but the prefix tokens. Such pooling needs those outputs, and dropout draws
    one mask per image: both use the concatenation, whatever the `form`.
    """
    blocks = blocks_of(model)
    start, last = prompt_position(model), len(blocks) - 1
    projects = projects or [None] * len(blocks)
    for i, block in enumerate(blocks):
        keep = pool_prompts and i == last
        how = projects[i], transform
        fast = form == "keys_and_values" and not keep and not dropout and is_stepwise(block)
        blocks[i] = (
            KeyValuePromptBlock(block, prompts[i], *how)
            if fast
            else ConcatenatedPromptBlock(block, prompts[i], start, keep, dropout, *how)
        )


def add_shallow_prompts(
    model: VisionTransformer,
    prompts: Tensor,
    pool_prompts: bool = False,
    dropout: float = 0.0,
    project: nn.Module | None = None,
    carry: bool = False,
) -> None:
    """Insert `prompts`, (P, D) once projected, before the first block.

    They pass through all blocks or, unless `carry` lets them pass mergings of patches, through
    those of the first stage.
    """
    start, count, blocks = prompt_position(model), len(prompts), blocks_of(model)
    last = stage_ends(model)[-1 if carry else 0]
    keep = pool_prompts and last == len(blocks) - 1
    if carry:
        carry_prompts(model, count)
    for i in range(1, last + keep):
        if tells_prompts_apart(blocks[i]):
            blocks[i] = PromptPassingBlock(blocks[i], start, count)
    if not keep:
        blocks[last] = PromptRemovalBlock(blocks[last], start, count)
    blocks[0] = ConcatenatedPromptBlock(blocks[0], prompts, start, True, dropout, project)


def prompts_of(model: VisionTransformer) -> list[nn.Parameter]:
    """Return the prompts of every prompted block, in order."""
    return [
        m.prompts
        for m in blocks_of(model)
        if isinstance(m, ConcatenatedPromptBlock | KeyValuePromptBlock)
    ]


def uniform_prompts(
    model: VisionTransformer, count: int, width: int | None = None, projected: bool = False
) -> Tensor:
    """VPT's initialisation: uniform within sqrt(6 / (3 p^2 + D)), as for the patch embedding.

    (count, D); `width` is that of prompts that are not as wide as the patch embedding. It counts as
    D if they are `projected`, but not if they are the tokens of a later stage.
    """
    width = width or model.embed_dim
    bound = (6 / (patch_inputs(model) + (width if projected else model.embed_dim))) ** 0.5
    return torch.empty(count, width).uniform_(-bound, bound)


def require_prompt_count(count: int) -> None:
    """Raise `ValueError` unless there is at least one prompt."""
    require_size("the number of prompts", count)


def require_prompt_form(form: str) -> None:
    """Raise `ValueError` for an unknown form of deep prompts."""
    if form not in FORMS:
        raise ValueError(f"no form of prompts {form!r}; there are {' and '.join(FORMS)}")
