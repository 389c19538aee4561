"""ARC: adapters recomposed from shared projections (Dong et al., 2023), https://arxiv.org/abs/2310.06234."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.backbone import (
    NamesOf,
    replace_together,
    require_layers,
    require_pre_norm,
    with_weights,
)
from methods.shared.base import Method
from methods.shared.block_layers import attention_inputs, mlp_inputs
from methods.shared.hyperparameters import require_choice, require_dropout_rate, require_size
from methods.shared.registry import register
from methods.shared.stages import require_one_stage
from methods.shared.structure import blocks_of


class SharedProjection(nn.Module):
    """A, (D, width), of the adapters of all blocks at one place."""

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(dim, width)))


class RecomposedAdapter(nn.Module):
    """``x + A diag(scale) A^T x + bias``, with the A that all blocks share."""

    def __init__(self, shared: SharedProjection, dropout: float, start: str):
        super().__init__()
        dim, width = shared.weight.shape
        self.shared = (shared,)  # in a tuple, so that a checkpoint does not hold it once per block
        self.dropout = nn.Dropout(dropout)
        self.scale = nn.Parameter(torch.zeros(1, width))
        self.bias = nn.Parameter(torch.zeros(dim))
        if start == "xavier":
            nn.init.xavier_uniform_(self.scale)

    def forward(self, x: Tensor) -> Tensor:
        a = self.shared[0].weight  # (D, width)
        return x + self.dropout(x @ (a * self.scale)) @ a.T + self.bias

    def merge_into(self, linear: nn.Linear) -> nn.Linear:
        """Return `linear` with the adapter of its input folded into it, without dropout."""
        a, weight = self.shared[0].weight, linear.weight
        shift = weight @ self.bias
        bias = shift if linear.bias is None else linear.bias + shift
        return with_weights(linear, weight + weight @ (a * self.scale) @ a.T, bias)


class AdaptedInputLinear(nn.Module):
    """``linear(adapter(x))``; layers that read the same input share the adapter."""

    def __init__(self, linear: nn.Linear, adapter: RecomposedAdapter, holds: bool):
        super().__init__()
        self.linear, self.read = linear, (adapter,)
        self.adapter = adapter if holds else None  # one layer's, so that a checkpoint has it once

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.read[0](x))

    def merged(self) -> nn.Linear:
        """Return an equivalent linear layer, without dropout."""
        return self.read[0].merge_into(self.linear)


PLACES: dict[str, tuple[tuple[NamesOf, str], ...]] = {
    "attn": ((attention_inputs, "zeros"),),
    "attn_and_mlp": ((attention_inputs, "zeros"), (mlp_inputs, "xavier")),
}
"""The layers whose input is adapted, and how the scales start."""


@dataclass(frozen=True)
class ARC(Method):
    """Linear adapters before attention and before the MLP, on the output of their LayerNorms.

    The down-projection of a place is one for all blocks, and its transpose is the up-projection:
    a block has only its scales and a bias. The scales of attention start at
    zero, those of the MLP do not, so that ``attn_and_mlp`` changes the logits at the start.
    `place` ``attn`` is the paper's smaller variant. As released
    (https://github.com/DavidYanAnDe/ARC), `dropout` is on the narrow side, 0.1 by its commands.
    The released commands also clip gradients at norm 1, start the head at zero, and keep the epoch
    that is best on test.
    """

    width: int = 50
    place: str = "attn_and_mlp"
    dropout: float = 0.1

    def __post_init__(self) -> None:
        require_size("ARC's width", self.width)
        require_choice("ARC's place", self.place, PLACES)
        require_dropout_rate("ARC's dropout", self.dropout)

    @property
    def identity_at_start(self) -> bool:
        return all(start == "zeros" for _, start in PLACES[self.place])

    def attach(self, model: VisionTransformer) -> None:
        require_one_stage(model)
        require_pre_norm(model)
        for layers, _ in PLACES[self.place]:
            require_layers(model, nn.Linear, layers)
        for layers, start in PLACES[self.place]:
            shared = SharedProjection(model.embed_dim, self.width)
            replace_together(model, layers, partial(self._adapt, shared, start))
            first = blocks_of(model)[0]
            first.get_submodule(layers(first)[0]).shared = shared  # the backbone holds it here

    def _adapt(
        self, shared: SharedProjection, start: str, *linears: nn.Linear
    ) -> Sequence[nn.Module]:
        adapter = RecomposedAdapter(shared, self.dropout, start)
        return [AdaptedInputLinear(one, adapter, one is linears[0]) for one in linears]


register("arc", ARC())
