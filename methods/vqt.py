"""VQT: visual query tuning (Tu et al., 2023), https://arxiv.org/abs/2212.03220."""

from collections.abc import Callable
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
from methods.shared.backbone import require_one_feature
from methods.shared.base import Method
from methods.shared.hyperparameters import require_choice, require_size
from methods.shared.prompts import uniform_prompts
from methods.shared.registry import register
from methods.shared.structure import blocks_of, require_tokens
from methods.shared.tensor_slot import TensorSlot


class QueryTunedBlock(nn.Module):
    """A block with extra `queries`, whose outputs go to `FeatureConcat`; tokens do not change."""

    def __init__(self, block: Block, queries: Tensor, dropout: float, answers: TensorSlot):
        super().__init__()
        self.block, self.queries = block, nn.Parameter(queries)
        self.dropout, self.answers = nn.Dropout(dropout), answers

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        attn, norm = self.block.attn, self.block.norm1
        seen = norm(x)
        q, k, v = project_qkv(attn, seen, **kwargs)  # (B, H, N, D / H) each
        queries = self.dropout(self.queries.expand(len(x), -1, -1))  # (B, Q, D)
        asking = norm(queries)
        answers = mix_values(attn, asking, project_qkv(attn, asking)[0], k, v)  # (B, Q, D)
        self.answers.put(finish_block(self.block, queries, answers))
        bias = attention_bias(attn, **kwargs)
        return finish_block(self.block, x, mix_values(attn, seen, q, k, v, bias))


def weighted_sum(answers: Tensor, weights: Tensor | None) -> Tensor:
    """Sum the queries' outputs, (B, Q, D), with weights, (Q,): (B, D)."""
    assert weights is not None
    return weights @ answers


AGGREGATIONS: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {
    "concatenated": lambda answers, _: answers.flatten(1),  # (B, Q · D)
    "mean": lambda answers, _: answers.mean(1),  # (B, D)
    "weighted_sum": weighted_sum,
}
"""Aggregations of the outputs of a block's queries, (B, Q, D), for the head."""


class FeatureConcat(nn.Module):
    """Concatenation of the pooled feature and each block's aggregated queries, each normalised."""

    def __init__(self, drop: nn.Module, answers: list[TensorSlot], queries: int, gathered: str):
        super().__init__()
        self.drop, self.answers, self.gathered = drop, answers, gathered
        weighted = gathered == "weighted_sum"
        self.weights = nn.Parameter(torch.ones(len(answers), queries)) if weighted else None

    def forward(self, feature: Tensor) -> Tensor:
        weights = [None] * len(self.answers) if self.weights is None else self.weights
        gather, given = AGGREGATIONS[self.gathered], zip(self.answers, weights, strict=True)
        parts = [feature, *(gather(answers.pop(), of_block) for answers, of_block in given)]
        return self.drop(torch.cat([F.normalize(part, dim=1) for part in parts], 1))


@dataclass(frozen=True)
class VQT(Method):
    """`queries` learned tokens per block that act only as queries, and a head on their outputs.

    The backbone's own features do not change. The outputs of a block's queries are `gathered` for
    the head: ``concatenated``, or as their ``mean``, or as a ``weighted_sum`` with learned weights,
    initially one; the latter two are options of the released code
    (https://github.com/andytu28/VQT). The head grows to D (1 + L * queries) inputs, or to
    D (1 + L); its new columns are drawn with the standard deviation of the existing ones. Not
    offered: that code's attention over the blocks' outputs, and its selection of features by group
    sparsity, which needs a second training.
    """

    queries: int = 1
    dropout: float = 0.0
    gathered: str = "concatenated"

    identity_at_start = False

    def __post_init__(self) -> None:
        require_size("the number of queries", self.queries)
        require_choice("what VQT's answers are gathered as", self.gathered, AGGREGATIONS)

    def attach(self, model: VisionTransformer) -> None:
        require_tokens(model)
        require_stepwise_blocks(model)
        require_one_feature(model)
        blocks = blocks_of(model)
        answers = [TensorSlot() for _ in blocks]
        for i, block in enumerate(blocks):
            queries = uniform_prompts(model, self.queries)
            blocks[i] = QueryTunedBlock(block, queries, self.dropout, answers[i])
        model.head_drop = FeatureConcat(model.head_drop, answers, self.queries, self.gathered)
        if isinstance(model.head, nn.Linear):
            each = self.queries if self.gathered == "concatenated" else 1
            model.head = widen_head(model.head, model.embed_dim * (1 + len(answers) * each))


@torch.no_grad()
def widen_head(head: nn.Linear, width: int) -> nn.Linear:
    """Widen `head` to `width` inputs, the first of which keep their weights."""
    wide = nn.Linear(width, head.out_features)
    wide.weight.normal_().mul_(head.weight.std().to(wide.weight.device))
    wide.weight[:, : head.in_features] = head.weight
    wide.bias.copy_(head.bias)
    return wide


register("vqt", VQT())
