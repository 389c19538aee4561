"""Bias tuning: BitFit (Ben Zaken et al., 2022), https://arxiv.org/abs/2106.10199."""

from dataclasses import dataclass

from timm.models import VisionTransformer

from methods.shared.base import Method
from methods.shared.registry import register
from methods.shared.structure import biases_of


@dataclass(frozen=True)
class Bias(Method):
    """Train every bias: patch embedding, attention, MLP and all LayerNorms, as in VPT's table."""

    def attach(self, model: VisionTransformer) -> None:
        for module in model.modules():
            for bias in biases_of(module):
                if bias is not None:
                    bias.requires_grad_(True)


register("bias", Bias())
