"""LoRA: low-rank updates of weights (Hu et al., 2022), https://arxiv.org/abs/2106.09685."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.backbone import replace_together, require_layers, with_weights
from methods.shared.base import Method
from methods.shared.block_layers import attention_inputs
from methods.shared.hyperparameters import require_choice, require_dropout_rate, require_size
from methods.shared.registry import register

TARGETS = "qkv", "q_and_v"


class LowRankUpdate(nn.Module):
    """``scale * B A x`` (equation 3 without the frozen weight); B is initialised to zero."""

    linear_in_scale = True

    def __init__(self, inputs: int, outputs: int, rank: int, scale: float, dropout: float):
        super().__init__()
        self.dropout, self.scale = nn.Dropout(dropout), scale
        self.a = nn.Parameter(torch.empty(rank, inputs))
        self.b = nn.Parameter(torch.zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.a, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (self.dropout(x) @ self.a.T @ self.b.T)

    def delta_weight(self) -> Tensor:
        return self.scale * self.b @ self.a  # (outputs, inputs)


class SharedInputUpdate(nn.Module):
    """``scale * B A x`` with the A of the update `first`, which another layer holds."""

    linear_in_scale = True

    def __init__(self, first: LowRankUpdate, outputs: int):
        super().__init__()
        self.first = (first,)  # in a tuple, so that a checkpoint holds A once
        self.b = nn.Parameter(torch.zeros(outputs, len(first.a)))

    def forward(self, x: Tensor) -> Tensor:
        (first,) = self.first
        return first.scale * (first.dropout(x) @ first.a.T @ self.b.T)

    def delta_weight(self) -> Tensor:
        (first,) = self.first
        return first.scale * self.b @ first.a  # (outputs, inputs)


class QueryValueUpdate(nn.Module):
    """Updates of the queries and of the values of a fused projection, none of the keys."""

    query: Any  # modules with the function `delta_weight`
    value: Any

    def __init__(self, query: nn.Module, value: nn.Module):
        super().__init__()
        self.query, self.value = query, value

    def forward(self, x: Tensor) -> Tensor:
        query, value = self.query(x), self.value(x)  # (B, N, D) each
        return torch.cat([query, torch.zeros_like(query), value], -1)

    def delta_weight(self) -> Tensor:
        query, value = self.query.delta_weight(), self.value.delta_weight()
        return torch.cat([query, torch.zeros_like(query), value])  # (outputs, inputs)


class LoRALinear(nn.Module):
    """``linear(x) + update(x)``."""

    branch = "update"
    update: Any  # a module with the function `delta_weight`

    def __init__(self, linear: nn.Linear, update: nn.Module):
        super().__init__()
        self.linear, self.update = linear, update

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.update(x)

    def merged(self) -> nn.Linear:
        """Return an equivalent linear layer, without dropout."""
        weight = self.linear.weight + self.update.delta_weight()
        return with_weights(self.linear, weight, self.linear.bias)


@dataclass(frozen=True)
class LoRA(Method):
    """LoRA on the query, key and value projection.

    `target` ``qkv`` is one pair (A, B) for all three, also where they are three layers, each with
    its rows of B; ``q_and_v`` is the paper's two pairs, for queries and values. `dropout` applies
    to the input of A; NOAH's code, from which the VTAB-1k tables take their LoRA row, uses 0.1
    there (https://github.com/ZhangYuanhan-AI/NOAH). Binary Adapter's
    (https://github.com/JieShibo/PETL-ViT) applies it after A, which is not offered.
    """

    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.0
    target: str = "qkv"

    def __post_init__(self) -> None:
        require_size("LoRA's rank", self.rank)
        require_dropout_rate("LoRA's dropout", self.dropout)
        require_choice("LoRA's target", self.target, TARGETS)

    def attach(self, model: VisionTransformer) -> None:
        require_layers(model, nn.Linear, attention_inputs)
        replace_together(model, attention_inputs, self._adapt)

    def _adapt(self, first: nn.Linear, *others: nn.Linear) -> Sequence[nn.Module]:
        """Adapt one layer for all of queries, keys and values, or the layer of each."""
        if not others:
            return [LoRALinear(first, self._fused_update(first))]
        key, value = others
        update = self._update(first)
        query = LoRALinear(first, update)
        if self.target == "q_and_v":
            return query, key, LoRALinear(value, self._update(value))
        shared = (SharedInputUpdate(update, layer.out_features) for layer in others)
        return query, *map(LoRALinear, others, shared)

    def _fused_update(self, linear: nn.Linear) -> nn.Module:
        if self.target == "qkv":
            return self._update(linear)
        return QueryValueUpdate(self._update(linear, parts=3), self._update(linear, parts=3))

    def _update(self, linear: nn.Linear, parts: int = 1) -> LowRankUpdate:
        """Return an update of all outputs of a layer, or of one of its `parts`."""
        inputs, outputs, scale = linear.in_features, linear.out_features, self.alpha / self.rank
        return LowRankUpdate(inputs, outputs // parts, self.rank, scale, self.dropout)


register("lora", LoRA())
register("lora_noah", LoRA(dropout=0.1))
register("lora_qv", LoRA(target="q_and_v"))
