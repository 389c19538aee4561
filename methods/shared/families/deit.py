"""timm's distilled DeiT: a ViT with a distillation token, and a head for each of two tokens."""

from collections.abc import Sequence

from timm.models.deit import VisionTransformerDistilled

from methods.shared.structure import pooled_features, remarks


@remarks.register
def _(model: VisionTransformerDistilled) -> Sequence[str]:
    return ["its two heads, of class and distillation token, both learn; logits are their mean"]


@pooled_features.register
def _(model: VisionTransformerDistilled) -> int:
    return 2
