"""Moment probing: a head on second moments (Gao et al., 2023), https://arxiv.org/abs/2307.11342."""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from methods.shared.attention import (
    attention_update,
    mlp_update,
    require_stepwise_blocks,
    run_attention,
)
from methods.shared.backbone import require_one_feature
from methods.shared.base import Method
from methods.shared.registry import register
from methods.shared.structure import block_width, blocks_of, prefix_tokens, require_tokens
from methods.shared.tensor_slot import TensorSlot


class PatchTokenCapture(nn.Module):
    """The final norm, which also passes the patch tokens on to `MomentHead`."""

    def __init__(self, norm: nn.Module, prefix: int, tokens: TensorSlot):
        super().__init__()
        self.norm, self.prefix, self.tokens = norm, prefix, tokens

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        self.tokens.put(x[:, self.prefix :])
        return x


class MomentHead(nn.Module):
    """The norm of the pooled feature; also classifies the patch tokens' second moments."""

    def __init__(
        self,
        norm: nn.Module,
        dims: tuple[int, int, int],
        heads: int,
        tokens: TensorSlot,
        scores: TensorSlot,
    ):
        super().__init__()
        inside, width, classes = dims
        self.norm, self.heads, self.tokens, self.scores = norm, heads, tokens, scores
        self.project = truncated_normal_linear(inside, width)
        self.head_norm = nn.LayerNorm(width // heads)
        self.shrink = nn.Sequential(strided_conv(heads - 1), nn.GELU(), strided_conv(heads - 1))
        size = (heads - 1) * strided_conv_size(strided_conv_size(width // heads)) ** 2
        self.classifier = truncated_normal_linear(size, classes) if classes else nn.Identity()

    def forward(self, pooled: Tensor) -> Tensor:
        moments = self.cross_covariances(self.norm(self.tokens.pop()))
        self.scores.put(self.classifier(self.shrink(moments).flatten(1)))  # (B, classes)
        return self.norm(pooled)

    def cross_covariances(self, tokens: Tensor) -> Tensor:
        """Cross-covariances of adjacent heads over tokens, (B, N, D): (B, H - 1, W / H, W / H).

        As in the released code, the mean subtracted per head and image is over tokens and channels.
        """
        parts = self.project(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        parts = self.head_norm(parts)  # (B, H, N, W / H)
        parts = parts - parts.mean((2, 3), keepdim=True)
        crossed = parts[:, :-1].transpose(-1, -2) @ parts[:, 1:] / tokens.shape[1]
        return F.normalize(crossed, dim=-2)


class AveragedHead(nn.Module):
    """The mean of the head's logits and those from the moments."""

    def __init__(self, head: nn.Module, scores: TensorSlot):
        super().__init__()
        self.head, self.scores = head, scores

    def forward(self, feature: Tensor) -> Tensor:
        return (self.head(feature) + self.scores.pop()) / 2


class RecalibratedBlock(nn.Module):
    """A block whose MLP output is scaled and shifted per token, depending on the MLP's input."""

    def __init__(self, block: Block, width: int, rank: int):
        super().__init__()
        self.block = block
        self.down = truncated_normal_linear(width, rank, bias=False)
        self.scale, self.shift = (
            truncated_normal_linear(rank, width, bias=False),
            truncated_normal_linear(rank, width, bias=False),
        )

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        block = self.block
        x = x + attention_update(block, run_attention(block, block.norm1(x), **kwargs))
        hidden = F.relu(self.down(x))  # (B, N, rank)
        changed = self.shift(hidden) + (1 + self.scale(hidden)) * block.mlp(block.norm2(x))
        return x + mlp_update(block, changed)


def truncated_normal_linear(inside: int, outside: int, bias: bool = True) -> nn.Linear:
    """Create a linear layer with the released code's initialisation."""
    layer = nn.Linear(inside, outside, bias=bias)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def strided_conv(channels: int) -> nn.Conv2d:
    """Create a convolution that halves each side to `strided_conv_size`."""
    return nn.Conv2d(channels, channels, 3, stride=2, bias=False)


def strided_conv_size(side: int) -> int:
    """Output side of `strided_conv` for a square input."""
    return (side - 3) // 2 + 1


@dataclass(frozen=True)
class MomentProbing(Method):
    """The head's logits averaged with those of a classifier on the patch tokens' second moments.

    Tokens are projected to `width` and split into `heads`. A `rank` above 0 recalibrates the MLP of
    each block through that many hidden channels: MP+. The head's input is the class token or, if
    the backbone pools, the pooled feature.
    """

    width: int = 512
    heads: int = 4
    rank: int = 0

    identity_at_start = False
    spatial_rule = "takes moments of the patches, without prefix tokens"

    def __post_init__(self) -> None:
        if self.heads < 2 or self.width % self.heads or self.width // self.heads < 7:
            raise ValueError(
                f"the width must split into 2 or more heads of at least 7 channels; "
                f"{self.width} and {self.heads} were given"
            )

    def attach(self, model: VisionTransformer) -> None:
        require_one_feature(model)
        require_tokens(model)
        tokens, scores = TensorSlot(), TensorSlot()
        dims = model.embed_dim, self.width, model.num_classes
        model.norm = PatchTokenCapture(model.norm, prefix_tokens(model), tokens)
        model.fc_norm = MomentHead(model.fc_norm, dims, self.heads, tokens, scores)
        model.head = AveragedHead(model.head, scores)
        if self.rank:
            require_stepwise_blocks(model)
            blocks = blocks_of(model)
            for i, block in enumerate(blocks):
                blocks[i] = RecalibratedBlock(block, block_width(block), self.rank)


register("mp", MomentProbing())
register("mp_plus", MomentProbing(rank=16))
