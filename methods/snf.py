"""SNF: normalising flows on the shortcuts (Wang et al., CVPR 2023), https://github.com/Wang-Yaoming/SNF.

The planar flow is that of Rezende and Mohamed (2015), https://arxiv.org/abs/1505.05770.
"""

from dataclasses import dataclass
from typing import Any

import torch
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from methods.shared.attention import attention_update, mlp_update, run_attention
from methods.shared.backbone import require_pre_norm
from methods.shared.base import Method
from methods.shared.hyperparameters import require_size
from methods.shared.registry import register
from methods.shared.structure import block_width, blocks_of


class PlanarFlow(nn.Module):
    """``z + u tanh(w . z + b)``."""

    def __init__(self, dim: int):
        super().__init__()
        self.w, self.u, self.b = (
            nn.Parameter(torch.empty(size).uniform_(-0.01, 0.01)) for size in (dim, dim, 1)
        )

    def forward(self, z: Tensor) -> Tensor:
        return z + self.u * (z @ self.w + self.b).tanh().unsqueeze(-1)


class Flow(nn.Module):
    """``mu + exp(log_sigma) z`` on each channel, then `length` planar layers."""

    def __init__(self, dim: int, length: int):
        super().__init__()
        self.mu, self.log_sigma = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        self.planar = nn.Sequential(*(PlanarFlow(dim) for _ in range(length)))

    def forward(self, z: Tensor) -> Tensor:
        return self.planar(self.mu + self.log_sigma.exp() * z)


class FlowBlock(nn.Module):
    """A block with a flow on each of its two shortcuts."""

    def __init__(self, block: Block, dim: int, length: int):
        super().__init__()
        self.block = block
        self.attn_flow, self.mlp_flow = Flow(dim, length), Flow(dim, length)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        block = self.block
        attended = attention_update(block, run_attention(block, block.norm1(x), **kwargs))
        x = self.attn_flow(x) + attended
        return self.mlp_flow(x) + mlp_update(block, block.mlp(block.norm2(x)))


@dataclass(frozen=True)
class SNF(Method):
    """Flows of `flow_length` planar layers; 0 leaves only the affine part.

    Length 1 matches the parameter count in the paper's FGVC table; the released code's default is
    16. The log-determinant, which that code computes but never uses, is omitted.
    """

    flow_length: int = 1

    def __post_init__(self) -> None:
        require_size("SNF's flow length", self.flow_length, least=0)

    @property
    def identity_at_start(self) -> bool:
        return not self.flow_length

    def attach(self, model: VisionTransformer) -> None:
        require_pre_norm(model)
        blocks = blocks_of(model)
        for i, block in enumerate(blocks):
            blocks[i] = FlowBlock(block, block_width(block), self.flow_length)


register("snf", SNF())
