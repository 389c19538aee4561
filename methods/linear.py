"""Linear probing: the head alone learns."""

from dataclasses import dataclass

from timm.models import VisionTransformer

from methods.shared.base import Method
from methods.shared.registry import register


@dataclass(frozen=True)
class Linear(Method):
    """Leave the backbone as it is: the papers' "Linear" row."""

    def attach(self, model: VisionTransformer) -> None:
        """Do nothing: the head arrives unfrozen."""


register("linear", Linear())
