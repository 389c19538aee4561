"""RLRR: low-rank rescaling of weights, residual (Dong et al., 2024), https://arxiv.org/abs/2403.19067."""

from dataclasses import dataclass

import torch
from timm.models import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from methods.shared.backbone import replace_projections, with_weights
from methods.shared.base import Method
from methods.shared.registry import register
from methods.ssf import require_scalable, scale_final_norm, scale_patches_and_norms


class RescaledLinear(nn.Module):
    """``(W + W * (row column^T)) x + b + shift``, with a row and a column scale per projection."""

    def __init__(self, linear: nn.Linear, name: str, parts: int):
        super().__init__()
        self.linear, (outputs, inputs) = linear, linear.weight.shape
        self.column = nn.Parameter(torch.empty(parts, inputs))
        self.row = nn.Parameter(torch.empty(outputs, 1))
        self.shift = nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_uniform_(self.column)  # within sqrt(6 / inputs)
        nn.init.kaiming_uniform_(self.row)  # within sqrt(6)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, *self.tensors())

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias, rescaled and shifted."""
        weight, bias = self.linear.weight, self.linear.bias
        columns = self.column.repeat_interleave(len(self.row) // len(self.column), 0)
        weight = weight * columns * self.row + weight  # (outputs, inputs)
        return weight, self.shift if bias is None else bias + self.shift

    def merged(self) -> nn.Linear:
        """Return an equivalent linear layer."""
        return with_weights(self.linear, *self.tensors())


@dataclass(frozen=True)
class RLRR(Method):
    """Rescale queries, keys, values and the other linear layers of the blocks; SSF on the rest.

    The update is W times a matrix of rank one, element by element: its row and column
    scales start at random, as in the released code (https://github.com/zstarN70/RLRR), so that the
    logits change at the start. SSF's scales and shifts follow the patch projection, the LayerNorms
    of the blocks and the final one. What that code calls drop path is dropout of single values, on
    the sublayers' outputs; its rate is chosen per task, as are learning rate and decay. It decays
    the row and column scales, as here, and those of the patch projection, which here are not.
    """

    identity_at_start = False

    def attach(self, model: VisionTransformer) -> None:
        require_scalable(model)
        scale_patches_and_norms(model)
        replace_projections(model, RescaledLinear)
        scale_final_norm(model)


register("rlrr", RLRR())
