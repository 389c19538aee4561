"""DTL and DTL+: disentangled transfer learning (Fu et al., 2024), https://arxiv.org/abs/2312.07856.

The released code: https://github.com/heekhero/DTL.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.base import Method, Unsupported
from methods.shared.hyperparameters import require_size
from methods.shared.registry import register
from methods.shared.structure import (
    block_width,
    blocks_of,
    patch_grid,
    pooling_of,
    prefix_tokens,
    require_tokens,
)

SWISH_SHARPNESS = 100.0


class GridConvolution(nn.Module):
    """A depthwise convolution of the patches on their grid; prefix tokens bypass it."""

    def __init__(self, dim: int, size: int, grid: tuple[int, int], prefix: int):
        super().__init__()
        self.grid, self.prefix = grid, prefix
        self.conv = nn.Conv2d(dim, dim, size, groups=dim, bias=False)
        before, after = (size - 1) // 2, size // 2  # an even kernel reaches further on
        self.padding = before, after, before, after

    def forward(self, x: Tensor) -> Tensor:
        prefix, patches = x[:, : self.prefix], x[:, self.prefix :]
        padded = F.pad(patches.mT.unflatten(2, self.grid), self.padding)  # (B, D, H + k - 1, ...)
        patches = self.conv(padded).flatten(2).mT  # (B, N, D)
        return torch.cat([prefix, patches], 1)


@dataclass(frozen=True)
class Place:
    """Where a block stands among those of a model."""

    first: bool
    last: bool
    adapts: bool  # the side state is added to its output
    after_adapted: bool  # and to that of a block before it


class SideBlock(nn.Module):
    """A block beside which a side state h grows by ``B A x``, x being the block's input.

    Where the block adapts, ``h * sigmoid(100 h)`` is then added to its output, after the
    convolution. Between blocks h stands behind the tokens, as many tokens again: so that a block
    that is computed once more, for gradient checkpointing, has the same h.
    """

    def __init__(self, block: nn.Module, dim: int, rank: int, place: Place):
        super().__init__()
        self.block, self.place = block, place
        self.a = nn.Parameter(torch.empty(rank, dim))
        self.b = nn.Parameter(torch.zeros(dim, rank))
        nn.init.kaiming_uniform_(self.a, a=5**0.5)
        self.convolution: tuple[nn.Module, ...] = ()  # in a tuple: a checkpoint holds it once

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        x, side = (x, torch.zeros_like(x)) if self.place.first else x.chunk(2, 1)  # (B, N, D) each
        if not self.place.after_adapted:
            x = x.detach()  # nothing before learns through it: backward ends here
        side = side + x @ self.a.T @ self.b.T
        x = self.block(x, **kwargs)
        if self.place.adapts:
            x = x + self._adaptation(side)
        return x if self.place.last else torch.cat([x, side], 1)

    def _adaptation(self, side: Tensor) -> Tensor:
        change = side * torch.sigmoid(SWISH_SHARPNESS * side)
        for convolution in self.convolution:
            change = convolution(change)
        return change


class MeanOfPatches(nn.Module):
    """The last block; all its outputs become the mean of those at the patches.

    So a head that reads the class token reads the mean, behind the norm.
    """

    def __init__(self, block: nn.Module, prefix: int):
        super().__init__()
        self.block, self.prefix = block, prefix

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        x = self.block(x, **kwargs)
        return x[:, self.prefix :].mean(1, keepdim=True).expand_as(x)


@dataclass(frozen=True)
class DTL(Method):
    """A low-rank side state, added to the outputs of the later blocks; backward ends at the first.

    The state takes in the input of every block, and is added from block `adapt_from` on, counted
    from 0: None is the second half, the paper's seventh of twelve. No gradient passes the blocks
    before. DTL+ (`kernel`) convolves the addition on the grid of patches, by one depthwise
    convolution for all blocks; prefix tokens bypass it. As released, a supervised ViT, too, pools
    the mean of its patches (before the norm), not its class token (`mean_of_patches`), so that it
    scores otherwise than the backbone from the start. The paper chooses learning rates for each
    task.
    """

    rank: int = 2
    kernel: int = 0
    adapt_from: int | None = None
    mean_of_patches: bool = True

    @property
    def identity_at_start(self) -> bool:
        return not self.mean_of_patches

    @property
    def spatial_rule(self) -> str:
        rules = {
            "prefix tokens bypass the convolution": self.kernel,
            "the head reads the mean of patches": self.mean_of_patches,
        }
        return "; ".join(rule for rule, holds in rules.items() if holds)

    def __post_init__(self) -> None:
        require_size("DTL's rank", self.rank)
        require_size("DTL's kernel", self.kernel, least=0)
        if self.adapt_from is not None and self.adapt_from < 0:
            raise ValueError(f"adapt_from must be at least 0; {self.adapt_from} was given")

    def attach(self, model: VisionTransformer) -> None:
        require_tokens(model)
        blocks = blocks_of(model)
        start = len(blocks) // 2 if self.adapt_from is None else self.adapt_from
        if start >= len(blocks):
            raise Unsupported(f"there is no block {start} from which to adapt: {len(blocks)} exist")
        for i, block in enumerate(blocks):
            place = Place(i == 0, i == len(blocks) - 1, i >= start, i > start)
            blocks[i] = SideBlock(block, block_width(block), self.rank, place)
        self._add_convolution(model, blocks[start:])
        if self.mean_of_patches and pooling_of(model) == "token":
            blocks[-1] = MeanOfPatches(blocks[-1], prefix_tokens(model))

    def _add_convolution(self, model: VisionTransformer, adapting: Sequence[Any]) -> None:
        """Let the adapting blocks share a convolution, which the first of them holds."""
        if not self.kernel:
            return
        dim = block_width(adapting[0].block)
        shared = GridConvolution(dim, self.kernel, patch_grid(model), prefix_tokens(model))
        for side in adapting:
            side.convolution = (shared,)
        adapting[0].shared = shared


register("dtl", DTL())
register("dtl_plus", DTL(kernel=3))
