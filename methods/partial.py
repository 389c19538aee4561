"""Partial tuning: the last blocks are trained, as in VPT (Jia et al., 2022), https://arxiv.org/abs/2203.12119."""

from dataclasses import dataclass

from timm.models import VisionTransformer

from methods.shared.base import Method
from methods.shared.hyperparameters import require_size
from methods.shared.registry import register
from methods.shared.structure import blocks_of, final_norms


@dataclass(frozen=True)
class Partial(Method):
    """Unfreeze the last `blocks` and the final norm: the papers' "Partial-1" row for one block.

    VPT's released code keeps the final norm of MoCo v3 frozen; here it is always trained.
    """

    blocks: int = 1

    def __post_init__(self) -> None:
        require_size("the number of blocks", self.blocks)

    def attach(self, model: VisionTransformer) -> None:
        for module in (*blocks_of(model)[-self.blocks :], *final_norms(model)):
            module.requires_grad_(True)


register("partial1", Partial())
