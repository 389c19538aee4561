"""E2VPT: prompts for inputs, keys and values (Han et al., 2023), https://arxiv.org/abs/2307.13770."""

from dataclasses import dataclass
from typing import Any

import torch
from timm.layers import Attention
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from methods.base import Method
from methods.prompts import (
    after_attention,
    attend,
    keys_and_values,
    require_count,
    require_form,
    require_known_blocks,
    uniform_prompts,
    without,
)
from methods.registry import register

PIECES = 16


class Prompted(nn.Module):
    """A block with `prompts`, (P, D), behind the prefix and `pairs`, (H, N, D / H), as K and as V.

    `tokens`, (P,), and `pieces`, (P, 16), are the masks: all one until something is pruned. Where
    `fast`, the prompts are but keys and values too: nothing is computed for their outputs.
    """

    tokens: Tensor
    pieces: Tensor
    first_prompts: Tensor
    first_pairs: Tensor

    def __init__(
        self,
        block: Block,
        prompts: Tensor,
        pairs: Tensor,
        start: int,
        fast: bool,
        keep: bool,
        dropout: float,
    ):
        super().__init__()
        self.block, self.start, self.fast, self.keep = block, start, fast, keep
        self.prompts, self.pairs = nn.Parameter(prompts), nn.Parameter(pairs)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("first_prompts", prompts.clone())
        self.register_buffer("first_pairs", pairs.clone())
        self.register_buffer("tokens", torch.ones(len(prompts)))
        self.register_buffer("pieces", torch.ones(len(prompts), PIECES))

    def seen(self) -> Tensor:
        """The prompts less what is masked, (P, D); piece j is the channels j, j + 16, j + 32 ..."""
        width = self.prompts.shape[1]
        pieces = self.pieces.repeat(1, -(-width // PIECES))[:, :width]
        return self.prompts * pieces * self.tokens[:, None]

    def rewind(self) -> None:
        """Set what is learned back to where it started."""
        self.prompts.copy_(self.first_prompts)
        self.pairs.copy_(self.first_pairs)

    def forward(self, x: Tensor, **_: Any) -> Tensor:
        block, prompts = self.block, self.seen()
        if self.fast:
            return self.attended(x, keys_and_values(block.attn, block.norm1(prompts)))
        prompts = self.dropout(prompts.expand(len(x), -1, -1))  # (B, P, D)
        x = self.attended(torch.cat([x[:, : self.start], prompts, x[:, self.start :]], 1))
        return x if self.keep else without(x, self.start, len(self.prompts))

    def attended(self, x: Tensor, *more: tuple[Tensor, Tensor]) -> Tensor:
        """The block's output for `x`, (B, N, D), with the pairs and `more` as keys and values."""
        block, pairs = self.block, (self.pairs, self.pairs)
        return after_attention(block, x, attend(block.attn, block.norm1(x), *more, pairs))


def kaiming_pairs(attn: Attention, count: int) -> Tensor:
    """The released code's start: uniform within sqrt(6 / (N * D / H)), (H, N, D / H)."""
    bound = (6 / (count * attn.head_dim)) ** 0.5
    return torch.empty(attn.num_heads, count, attn.head_dim).uniform_(-bound, bound)


@dataclass(frozen=True)
class E2VPT(Method):
    """`prompts` before each block as in VPT-deep, and `pairs` as keys and values of each head.

    As in the released code, one tensor is both key and value, where the paper writes two (not
    offered), and nothing is pruned: that is `e2vpt_pruned` (`methods.pruning`).
    """

    prompts: int = 10
    pairs: int = 5
    dropout: float = 0.0
    pool_prompts: bool = False
    form: str = "keys_and_values"

    def __post_init__(self) -> None:
        require_count(self.prompts)
        require_count(self.pairs)
        require_form(self.form)

    def attach(self, model: VisionTransformer) -> None:
        require_known_blocks(model)
        start, last = model.num_prefix_tokens, len(model.blocks) - 1
        for i, block in enumerate(model.blocks):
            keep = self.pool_prompts and i == last
            fast = self.form == "keys_and_values" and not keep and not self.dropout
            prompts = uniform_prompts(model, self.prompts)
            pairs = kaiming_pairs(block.attn, self.pairs)
            model.blocks[i] = Prompted(block, prompts, pairs, start, fast, keep, self.dropout)


register("e2vpt", E2VPT())
