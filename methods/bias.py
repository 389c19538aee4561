"""Bias tuning: BitFit (Ben Zaken et al., 2022), https://arxiv.org/abs/2106.10199."""

from dataclasses import dataclass

from timm.models import VisionTransformer

from methods.shared.backbone import train_biases
from methods.shared.base import Method
from methods.shared.registry import register


@dataclass(frozen=True)
class Bias(Method):
    """Train every bias: patch embedding, attention, MLP and all LayerNorms, as in VPT's table."""

    def attach(self, model: VisionTransformer) -> None:
        for module in model.modules():
            train_biases(module)


register("bias", Bias())
