"""DiffFit: biases, LayerNorms and new scales (Xie et al., 2023), https://arxiv.org/abs/2304.06648."""

from dataclasses import dataclass

import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.bias import Bias
from methods.ln import LayerNorms
from methods.shared.backbone import replace_layers, require_layers, with_weights
from methods.shared.base import Method
from methods.shared.block_layers import output_layers
from methods.shared.registry import register


class ScaledLinear(nn.Module):
    """``gamma * linear(x)`` per channel; gamma is initialised to one."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.linear, self.gamma = linear, nn.Parameter(torch.ones(linear.out_features))

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * self.linear(x)

    def merged(self) -> nn.Linear:
        """Return an equivalent linear layer."""
        linear, gamma = self.linear, self.gamma
        bias = None if linear.bias is None else gamma * linear.bias
        return with_weights(linear, gamma[:, None] * linear.weight, bias)


@dataclass(frozen=True)
class DiffFit(Method):
    """Train all biases and LayerNorms, and a scale per output channel of attention and MLP."""

    def attach(self, model: VisionTransformer) -> None:
        require_layers(model, nn.Linear, output_layers)
        Bias().attach(model)
        LayerNorms().attach(model)
        replace_layers(model, output_layers, ScaledLinear)


register("difffit", DiffFit())
