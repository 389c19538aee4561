"""Full fine-tuning: every weight of the backbone is trained."""

from dataclasses import dataclass

from timm.models import VisionTransformer

from methods.shared.base import Method
from methods.shared.registry import register


@dataclass(frozen=True)
class Full(Method):
    """Unfreeze the whole backbone: the papers' "Full" row."""

    def attach(self, model: VisionTransformer) -> None:
        model.requires_grad_(True)


register("full", Full())
