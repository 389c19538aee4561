"""Partial tuning: the last blocks learn, as in VPT (Jia et al., 2022), https://arxiv.org/abs/2203.12119."""

from dataclasses import dataclass

from timm.models import VisionTransformer

from methods.shared.base import Method
from methods.shared.registry import register


@dataclass(frozen=True)
class Partial(Method):
    """Unfreeze the last `blocks` and the final norm: the papers' "Partial-1" row for one block.

    VPT's released code leaves the final norm of MoCo v3 frozen; here it learns everywhere.
    """

    blocks: int = 1

    def __post_init__(self) -> None:
        if self.blocks < 1:
            raise ValueError(f"at least 1 block must learn; {self.blocks} was given")

    def attach(self, model: VisionTransformer) -> None:
        for module in (*model.blocks[-self.blocks :], model.norm, model.fc_norm):
            module.requires_grad_(True)


register("partial1", Partial())
