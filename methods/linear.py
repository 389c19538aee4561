"""Linear probing: only the head is trained."""

from dataclasses import dataclass

from timm.models import VisionTransformer

from methods.shared.base import Method
from methods.shared.registry import register


@dataclass(frozen=True)
class Linear(Method):
    """Keep the backbone frozen: the papers' "Linear" row."""

    def attach(self, model: VisionTransformer) -> None:
        """Do nothing: the head arrives unfrozen."""


register("linear", Linear())
