"""VAPT: visual adaptive prompt tuning (Le et al., 2026), https://arxiv.org/abs/2501.18936."""

from dataclasses import dataclass
from typing import Any

from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.base import Method, Unsupported
from methods.shared.hyperparameters import require_dropout_rate, require_size
from methods.shared.prompts import (
    ConcatenatedPromptBlock,
    require_prompt_count,
    run_joined,
    uniform_prompts,
)
from methods.shared.registry import register
from methods.shared.stages import require_one_stage
from methods.shared.structure import blocks_of, patch_grid, prefix_tokens

KERNEL = 2


class AdaptivePrompts(nn.Module):
    """Prompts that a block makes from its patches: ``z + project(z)``, z a weighted mean of them.

    The patches are normalised and convolved, with one kernel for all channels; `pool` then weighs
    places, alike for all channels, and starts at zero: so do the prompts.
    """

    def __init__(
        self, width: int, grid: tuple[int, int], count: int, project: nn.Module, dropout: float
    ):
        super().__init__()
        self.grid = grid
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv2d(1, 1, KERNEL, bias=False)
        self.dropout = nn.Dropout2d(dropout)
        self.pool = nn.Linear(places_of(grid), count)
        self.project = project
        nn.init.normal_(self.conv.weight)
        nn.init.zeros_(self.pool.weight)
        nn.init.zeros_(self.pool.bias)

    def forward(self, patches: Tensor) -> Tensor:
        batch, _, width = patches.shape
        x = self.norm(patches).mT.reshape(-1, 1, *self.grid)  # (B D, 1, height, width)
        x = self.conv(x).view(batch, width, *(side - KERNEL + 1 for side in self.grid))
        z = self.pool(self.dropout(x).flatten(2)).mT  # (B, P, D)
        return z + self.project(z)


class AdaptivePromptBlock(nn.Module):
    """A block that `adaptive` gives prompts, which it makes from the block's own patches."""

    def __init__(self, block: nn.Module, adaptive: AdaptivePrompts, start: int, keep: bool):
        super().__init__()
        self.block, self.adaptive, self.start, self.keep = block, adaptive, start, keep

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        prompts = self.adaptive(x[:, self.start :])  # (B, P, D)
        return run_joined(self.block, x, prompts, self.start, self.keep, **kwargs)


@dataclass(frozen=True)
class VAPT(Method):
    """VPT's prompts before the first block; before each other, prompts that depend on the image.

    What makes them is each block's own but for the projector of `width` hidden units, which all
    share. With P prompts and N' places of the convolved patches, L blocks learn
    P D + (L - 1) (4 + P (N' + 1) + 2 D) + 2 D `width` parameters.

    The released code (https://github.com/Minhchuyentoancbn/VAPT) fixes N' at 13 · 13; here it
    follows from the grid of patches, which needs not be a square. `dropout` is that of the first
    prompts, of whole channels of the convolved patches, and of the projector's hidden units: there
    three rates, all 0.1. New LayerNorms have PyTorch's eps, not the backbone's.
    """

    prompts: int = 10
    width: int = 8
    dropout: float = 0.1
    pool_prompts: bool = False

    identity_at_start = False
    spatial_rule = "convolves the grid of patches into prompts after the prefix tokens"

    def __post_init__(self) -> None:
        require_prompt_count(self.prompts)
        require_size("the width of VAPT's projector", self.width)
        require_dropout_rate("VAPT's dropout", self.dropout)

    def attach(self, model: VisionTransformer) -> None:
        require_one_stage(model)
        start, grid, width = prefix_tokens(model), patch_grid(model), model.embed_dim
        if min(grid) < KERNEL:
            raise Unsupported(
                f"this method convolves {KERNEL} × {KERNEL} patches; the grid has {grid[0]} × "
                f"{grid[1]}"
            )
        prompts, project = uniform_prompts(model, self.prompts), self._projector(width)
        blocks, last = blocks_of(model), len(blocks_of(model)) - 1
        for i in range(1, last + 1):
            adaptive = AdaptivePrompts(width, grid, self.prompts, project, self.dropout)
            keep = self.pool_prompts and i == last
            blocks[i] = AdaptivePromptBlock(blocks[i], adaptive, start, keep)
        keep = self.pool_prompts and last == 0
        blocks[0] = ConcatenatedPromptBlock(blocks[0], prompts, start, keep, self.dropout)

    def _projector(self, width: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(width, self.width, bias=False),
            nn.ReLU(),
            nn.Dropout(self.dropout),
            nn.Linear(self.width, width, bias=False),
        )


def places_of(grid: tuple[int, int]) -> int:
    """Return the number of places of a grid of patches once they are convolved."""
    return (grid[0] - KERNEL + 1) * (grid[1] - KERNEL + 1)


register("vapt", VAPT())
