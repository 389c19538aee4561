"""VQT: visual query tuning (Tu et al., 2023), https://arxiv.org/abs/2212.03220."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from methods.base import Method
from methods.handover import Handover
from methods.prompts import (
    after_attention,
    mix,
    project,
    require_count,
    require_known_blocks,
    uniform_prompts,
)
from methods.registry import register


class Asked(nn.Module):
    """A block whose tokens `queries` ask too: the answers are handed on, the tokens unchanged."""

    def __init__(self, block: Block, queries: Tensor, dropout: float, answers: Handover):
        super().__init__()
        self.block, self.queries = block, nn.Parameter(queries)
        self.dropout, self.answers = nn.Dropout(dropout), answers

    def forward(self, x: Tensor, **_: Any) -> Tensor:
        attn, norm = self.block.attn, self.block.norm1
        seen = norm(x)
        q, k, v = project(attn, seen)  # (B, H, N, D / H) each
        queries = self.dropout(self.queries.expand(len(x), -1, -1))  # (B, Q, D)
        asking = norm(queries)
        answers = mix(attn, asking, project(attn, asking)[0], k, v)  # (B, Q, D)
        self.answers.give(after_attention(self.block, queries, answers))
        return after_attention(self.block, x, mix(attn, seen, q, k, v))


class Joined(nn.Module):
    """The pooled feature and all blocks' answers side by side, each of length one."""

    def __init__(self, drop: nn.Module, answers: list[Handover]):
        super().__init__()
        self.drop, self.answers = drop, answers

    def forward(self, feature: Tensor) -> Tensor:
        parts = [feature, *(answers.take().flatten(1) for answers in self.answers)]
        return self.drop(torch.cat([F.normalize(part, dim=1) for part in parts], 1))


@dataclass(frozen=True)
class VQT(Method):
    """`queries` learned tokens a block that only ask, and a head on all that they learn.

    The backbone's own features stay as they are. The head grows to D (1 + L * queries) inputs; its
    new columns are drawn as wide as those it has.
    """

    queries: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_count(self.queries)

    def attach(self, model: VisionTransformer) -> None:
        require_known_blocks(model)
        answers = [Handover() for _ in model.blocks]
        for i, block in enumerate(model.blocks):
            queries = uniform_prompts(model, self.queries)
            model.blocks[i] = Asked(block, queries, self.dropout, answers[i])
        model.head_drop = Joined(model.head_drop, answers)
        if isinstance(model.head, nn.Linear):
            model.head = widened(model.head, model.embed_dim * (1 + len(answers) * self.queries))


@torch.no_grad()
def widened(head: nn.Linear, width: int) -> nn.Linear:
    """A head with `width` inputs, of which the first are those of `head`."""
    wide = nn.Linear(width, head.out_features)
    wide.weight.normal_().mul_(head.weight.std().to(wide.weight.device))
    wide.weight[:, : head.in_features] = head.weight
    wide.bias.copy_(head.bias)
    return wide


register("vqt", VQT())
