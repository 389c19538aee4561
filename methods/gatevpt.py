"""Gated prompt tuning for self-supervised ViTs (Yoo et al., 2023), https://arxiv.org/abs/2306.05067."""

from dataclasses import dataclass
from typing import Any

import torch
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from methods.shared.attention import require_stepwise_blocks, run_with_prompts
from methods.shared.backbone import replace_modules
from methods.shared.base import Method
from methods.shared.prompts import (
    ConcatenatedPromptBlock,
    PromptPassingBlock,
    PromptRemovalBlock,
    require_prompt_count,
    uniform_prompts,
)
from methods.shared.registry import register
from methods.shared.structure import blocks_of, prefix_tokens, require_tokens

TEMPERATURE_BOUNDS = 0.01, 10.0


class GatedBlock(nn.Module):
    """A block with a learned gate that scales its update of the prompts."""

    def __init__(self, block: Block, start: int, count: int, gate: float):
        super().__init__()
        self.block, self.start, self.stop = block, start, start + count
        self.gate = nn.Parameter(torch.full((), gate))

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        start, stop = self.start, self.stop
        y = run_with_prompts(self.block, x, start, stop - start, **kwargs)
        prompts = x[:, start:stop].lerp(y[:, start:stop], self.gate.sigmoid())  # (B, P, D)
        return torch.cat([y[:, :start], prompts, y[:, stop:]], 1)


class TemperatureScaledNorm(nn.Module):
    """The norm of the queries, followed by division by a learned temperature.

    The temperature is clamped to its bounds in the forward pass and still receives a gradient; the
    released code clamps the parameter itself before each pass.
    """

    def __init__(self, norm: nn.Module):
        super().__init__()
        self.norm, self.temperature = norm, nn.Parameter(torch.ones(()))

    def forward(self, q: Tensor) -> Tensor:
        beyond = self.temperature - self.temperature.clamp(*TEMPERATURE_BOUNDS)
        return self.norm(q) / (self.temperature - beyond.detach())


@dataclass(frozen=True)
class GateVPT(Method):
    """Shallow prompts with a gate on their update in every block but the last.

    `gate` is the initial value of the gates before the sigmoid: the released code takes the
    negative of its option GATE_INIT, which is 5 in its example and 10 by default. Its deep prompts
    ignore gates and temperatures: they are VPT's.
    """

    prompts: int = 100
    gate: float = -5.0
    dropout: float = 0.0
    pool_prompts: bool = False

    identity_at_start = False
    spatial_rule = "prompts stand after the prefix tokens"

    def __post_init__(self) -> None:
        require_prompt_count(self.prompts)

    def attach(self, model: VisionTransformer) -> None:
        require_tokens(model)
        require_stepwise_blocks(model)
        replace_modules(model, "attn.q_norm", TemperatureScaledNorm)
        prompts, blocks = uniform_prompts(model, self.prompts), blocks_of(model)
        start, last = prefix_tokens(model), len(blocks) - 1
        for i in range(last):
            blocks[i] = GatedBlock(blocks[i], start, self.prompts, self.gate)
        leave = PromptPassingBlock if self.pool_prompts else PromptRemovalBlock
        blocks[last] = leave(blocks[last], start, self.prompts)
        blocks[0] = ConcatenatedPromptBlock(
            blocks[0], prompts, start, keep=True, dropout=self.dropout
        )


register("gatevpt", GateVPT())
