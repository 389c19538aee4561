"""SA2VP: spatially aligned visual prompts (Pei et al., 2024), https://arxiv.org/abs/2312.10376.

The prompts are a map as large as the image's tokens, and pass all blocks beside them: a step costs
two forward and backward passes of the backbone. Evaluation does, too.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from methods.shared.attention import (
    attention_bias,
    finish_block,
    mix_values,
    project_qkv,
    require_stepwise_blocks,
)
from methods.shared.backbone import require_pre_norm
from methods.shared.base import Forward, Method, Model
from methods.shared.hyperparameters import require_dropout_rate, require_size
from methods.shared.registry import register
from methods.shared.stages import require_one_stage
from methods.shared.structure import (
    blocks_of,
    heads_of,
    patch_grid,
    position_embedding,
    prefix_tokens,
)
from methods.shared.tensor_slot import TensorSlot

PERIOD = 4  # of the blocks in which the map learns from the tokens, and gets another map


class PromptMap(nn.Module):
    """A map of prompts, (N, D): `low`, (N, width), projected."""

    def __init__(self, tokens: int, width: int, dim: int):
        super().__init__()
        self.low = nn.Parameter(torch.empty(tokens, width))
        self.project = _xavier(nn.Linear(width, dim))
        nn.init.trunc_normal_(self.low, std=0.02)

    def forward(self) -> Tensor:
        return self.project(self.low)


class AddedMap(nn.Module):
    """A map that passes only the block at which it joins, by a learned scale for each channel."""

    def __init__(self, added: PromptMap, dim: int):
        super().__init__()
        self.map, self.scale = added, nn.Parameter(0.02 * torch.randn(dim))

    def forward(self, block: nn.Module, **positions: Any) -> Tensor:
        return block(self.map()[None], **positions) * self.scale  # (1, N, D)


class Fusion(nn.Module):
    """The update of one side from the other: an MLP of its tokens, after they attended to it."""

    def __init__(self, dim: int, width: int, dropout: float):
        super().__init__()
        self.dropout, self.norm = nn.Dropout(dropout), nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(
            _xavier(nn.Linear(dim, width)),
            nn.GELU(),
            nn.Dropout(dropout),
            _xavier(nn.Linear(width, dim)),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, attended: Tensor) -> Tensor:
        return self.mlp(self.norm(x + self.dropout(attended)))


class PairedBlock(nn.Module):
    """A block run on tokens and map, (2 B, N, D), one of which then gets its fusion with the other.

    `near`, (N, N), says which tokens of the other side each attends to.
    """

    near: Tensor

    def __init__(
        self,
        block: Block,
        fusion: Fusion,
        near: Tensor,
        weight: float,
        towards_map: bool,
        added: AddedMap | None,
    ):
        super().__init__()
        self.block, self.fusion, self.weight = block, fusion, weight
        self.towards_map, self.added = towards_map, added
        self.register_buffer("near", near, persistent=False)

    def forward(self, x: Tensor, **positions: Any) -> Tensor:
        block, attn = self.block, self.block.attn
        normed = block.norm1(x)
        qkv = project_qkv(attn, normed, **positions)  # (2 B, H, N, D / H) each
        bias = attention_bias(attn, **positions)
        out = finish_block(block, x, mix_values(attn, normed, *qkv, bias))
        tokens, prompts = out.chunk(2)
        fused = self.weight * self._fused(x, normed, qkv, bias)
        if self.added is not None:
            prompts = prompts + self.added(block, **positions)
        if self.towards_map:
            return torch.cat([tokens, prompts + fused])
        return torch.cat([tokens + fused, prompts])

    def _fused(
        self, x: Tensor, normed: Tensor, qkv: tuple[Tensor, Tensor, Tensor], bias: Tensor | None
    ) -> Tensor:
        own, other = (1, 0) if self.towards_map else (0, 1)
        q, k, v = (part.chunk(2)[i] for part, i in zip(qkv, (own, other, other), strict=True))
        mask = q.new_zeros(self.near.shape).masked_fill(~self.near, -torch.inf)[None, None]
        mask = mask if bias is None else mask + bias
        attended = mix_values(self.block.attn, normed.chunk(2)[own], q, k, v, mask)
        return self.fusion(x.chunk(2)[own], attended)


class MapStart(nn.Module):
    """The first block, which the map joins with the backbone's position embedding."""

    def __init__(
        self, block: nn.Module, first: PromptMap, positions: nn.Parameter | None, dropout: float
    ):
        super().__init__()
        self.block, self.map, self.dropout = block, first, nn.Dropout(dropout)
        self.positions = (positions,)  # in a tuple, so that a checkpoint holds it once

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        prompts, (positions,) = self.map(), self.positions  # (N, D)
        if positions is not None:
            without = prompts.shape[0] - positions.shape[1]  # prefix tokens that have none
            prompts = prompts + F.pad(positions[0], (0, 0, without, 0))
        prompts = self.dropout(prompts.expand(len(x), -1, -1))  # (B, N, D)
        return self.block(torch.cat([x, prompts]), **kwargs)


class MapEnd(nn.Module):
    """The last block, which returns the tokens, and hands over the map if the loss asks for it."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block, self.map, self.asked = block, TensorSlot(), False

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        tokens, prompts = self.block(x, **kwargs).chunk(2)
        if self.asked:
            self.map.put(prompts)
        return tokens


@dataclass(frozen=True)
class SA2VP(Method):
    """A map of prompts beside the tokens, through the same frozen blocks.

    In each block one side attends to the other, through the block's own frozen norm and attention,
    and adds `weight` times an MLP of the result: the map in every fourth block from the first on,
    the tokens in all others. A patch attends to the 3 × 3 patches around its place, a prefix token
    to all tokens. At every fourth block but the first another map is added. Maps are `width`
    channels, projected, as the MLPs' hidden units are. The loss adds to 1 - `share` times that of
    the tokens' scores `share` times that of the map's, by the same norm and head.

    With `width` m, L blocks, N tokens and M = ceil(L / 4) maps, D (M - 1) + M (N m + m D + D) +
    L (3 D + 2 m D + m) parameters learn. The released code (https://github.com/tommy-xq/SA2VP,
    `vit_tinypara.py`) sets `width` (8 to 64) and `weight` (0.1, 0.5 or 1.5) for each task; while it
    trains, dropout of 0.1 is on in the frozen backbone, too, which is not offered here. Nor is its
    "accelerated" version, which is another method: one head, and zeros beyond the edges as keys.
    """

    width: int = 16
    weight: float = 0.1
    share: float = 0.2
    dropout: float = 0.1

    identity_at_start = False
    spatial_rule = "patches see prompts of a map around their places, prefix tokens all of them"

    def __post_init__(self) -> None:
        require_size("SA2VP's width", self.width)
        require_dropout_rate("SA2VP's dropout", self.dropout)
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be at least 0 and at most 1; {self.share} was given")

    def attach(self, model: VisionTransformer) -> None:
        require_one_stage(model)
        require_pre_norm(model)
        require_stepwise_blocks(model)
        near = neighbourhood(patch_grid(model), prefix_tokens(model))
        blocks, dim, size = blocks_of(model), model.embed_dim, (len(near), self.width)
        first = PromptMap(*size, dim)
        for i, block in enumerate(blocks):
            towards_map, fusion = i % PERIOD == 0, Fusion(dim, self.width, self.dropout)
            added = AddedMap(PromptMap(*size, dim), dim) if i and towards_map else None
            blocks[i] = PairedBlock(block, fusion, near, self.weight, towards_map, added)
        blocks[0] = MapStart(blocks[0], first, position_embedding(model), self.dropout)
        blocks[len(blocks) - 1] = MapEnd(blocks[-1])

    def loss(
        self,
        model: Model,
        forward: Forward,
        inputs: Tensor,
        labels: Tensor,
        reduction: str = "mean",
    ) -> Tensor:
        """Return the loss of the tokens' scores and of the map's, weighted by `share`."""
        end = blocks_of(model)[-1]
        end.asked = True
        scores = forward(inputs)
        end.asked = False
        prompts = end.map.pop().to(next(heads_of(model).parameters()).dtype)
        of_map = model.forward_head(model.norm(prompts))  # (B, classes)
        of_map = F.cross_entropy(of_map, labels, reduction=reduction)
        of_tokens = F.cross_entropy(scores, labels, reduction=reduction)
        return (1 - self.share) * of_tokens + self.share * of_map


def neighbourhood(grid: tuple[int, int], prefix: int) -> Tensor:
    """Return which tokens each attends to, (N, N): a patch to 3 × 3, a prefix token to all."""
    rows, columns = (i.flatten() for i in torch.meshgrid(*map(torch.arange, grid), indexing="ij"))
    apart = torch.stack([(i[:, None] - i).abs() for i in (rows, columns)]).amax(0)
    near = F.pad(apart <= 1, (prefix, 0, prefix, 0))
    near[:prefix] = True
    return near


def _xavier(linear: nn.Linear) -> nn.Linear:
    nn.init.xavier_uniform_(linear.weight)
    nn.init.normal_(linear.bias, std=1e-6)
    return linear


register("sa2vp", SA2VP())
