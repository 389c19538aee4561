"""RepAdapter: linear adapters that can be merged (Luo et al., 2023), https://arxiv.org/abs/2302.08106."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.backbone import (
    replace_together,
    require_layers,
    require_pre_norm,
    with_weights,
)
from methods.shared.base import Method, Unsupported
from methods.shared.block_layers import attention_inputs, mlp_inputs
from methods.shared.hyperparameters import require_dropout_rate, require_size
from methods.shared.registry import register


class RepLinear(nn.Module):
    """``linear(x + scale * (B dropout(A x + a) + b))``; B is grouped and initialised to zero."""

    linear_in_scale = True

    def __init__(self, linear: nn.Linear, rank: int, groups: int, scale: float, dropout: float):
        super().__init__()
        dim = linear.in_features
        self.linear, self.groups, self.scale = linear, groups, scale
        self.down, self.dropout = nn.Linear(dim, rank), nn.Dropout(dropout)
        self.up = nn.Parameter(torch.zeros(groups, dim // groups, rank // groups))
        self.bias = nn.Parameter(torch.zeros(dim))
        nn.init.xavier_uniform_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.adapt(x))

    def adapt(self, x: Tensor) -> Tensor:
        """Apply the adapter to the layer's input, (B, N, D)."""
        low = self.dropout(self.down(x))  # (B, N, r)
        low = low.unflatten(-1, (self.groups, -1))  # (B, N, groups, r / groups)
        update = torch.einsum("...gr,gdr->...gd", low, self.up).flatten(-2) + self.bias
        return x + self.scale * update

    def merged(self) -> nn.Linear:
        """Return an equivalent linear layer, without dropout."""
        return self.merge_into(self.linear)

    def merge_into(self, linear: nn.Linear) -> nn.Linear:
        """Return `linear` with the adapter folded into it, without dropout."""
        up = self.scale * torch.block_diag(*self.up)  # (D, r)
        weight = linear.weight + linear.weight @ up @ self.down.weight
        shift = linear.weight @ (up @ self.down.bias + self.scale * self.bias)
        return with_weights(linear, weight, shift if linear.bias is None else linear.bias + shift)


class RepLinearBeside(nn.Module):
    """A layer that reads the same input as the layer of `first`, through the same adapter."""

    def __init__(self, linear: nn.Linear, first: RepLinear):
        super().__init__()
        self.linear, self.first = linear, (first,)  # in a tuple: a checkpoint holds it once

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.first[0].adapt(x))

    def merged(self) -> nn.Linear:
        """Return an equivalent linear layer, without dropout."""
        return self.first[0].merge_into(self.linear)


@dataclass(frozen=True)
class RepAdapter(Method):
    """Linear adapters between LayerNorm and attention and between LayerNorm and MLP.

    Where several layers read a LayerNorm's output, they share its adapter, and each draws its own
    dropout.
    """

    rank: int = 8
    groups: int = 2
    scale: float = 1.0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        require_size("RepAdapter's rank", self.rank)
        require_size("RepAdapter's number of groups", self.groups)
        if self.rank % self.groups:
            raise ValueError(
                f"RepAdapter's rank must be a multiple of its {self.groups} groups; "
                f"{self.rank} was given"
            )
        require_dropout_rate("RepAdapter's dropout", self.dropout)

    def attach(self, model: VisionTransformer) -> None:
        require_pre_norm(model)
        for layers in (attention_inputs, mlp_inputs):
            require_layers(model, nn.Linear, layers)
        if model.embed_dim % self.groups:
            raise Unsupported(f"{model.embed_dim} channels do not make {self.groups} groups")
        for layers in (attention_inputs, mlp_inputs):
            replace_together(model, layers, self._adapt)

    def _adapt(self, linear: nn.Linear, *others: nn.Linear) -> Sequence[nn.Module]:
        first = RepLinear(linear, self.rank, self.groups, self.scale, self.dropout)
        return first, *(RepLinearBeside(other, first) for other in others)


register("repadapter", RepAdapter())
