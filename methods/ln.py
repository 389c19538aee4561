"""LN-Tune: only the LayerNorms are trained (Basu et al., 2024), https://arxiv.org/abs/2304.01917."""

from dataclasses import dataclass

from timm.layers import RmsNorm
from timm.models import VisionTransformer
from torch import nn

from methods.shared.base import Method
from methods.shared.registry import register
from methods.shared.structure import require_transformer


@dataclass(frozen=True)
class LayerNorms(Method):
    """Train the scale and shift of every LayerNorm in the backbone."""

    def attach(self, model: VisionTransformer) -> None:
        require_transformer(model)
        for module in model.modules():
            if isinstance(module, nn.LayerNorm | RmsNorm):
                module.requires_grad_(True)


register("ln", LayerNorms())
