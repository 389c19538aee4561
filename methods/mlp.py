"""MLP head: hidden layers before the linear one, as in VPT (Jia et al., 2022), https://arxiv.org/abs/2203.12119."""

from dataclasses import dataclass

import torch.nn.functional as F
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.base import Method
from methods.shared.hyperparameters import require_size
from methods.shared.registry import register
from methods.shared.structure import feature_width, map_feature


class BatchNormOfAnyBatch(nn.BatchNorm1d):
    """Batch norm that uses its running statistics for a batch of one, which has no variance."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 1:
            return super().forward(x)
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


@dataclass(frozen=True)
class MLP(Method):
    """`hidden` layers of the backbone's width before the linear head: "MLP-3" with two of them."""

    hidden: int = 2
    dropout: float = 0.1

    identity_at_start = False

    def __post_init__(self) -> None:
        require_size("the number of hidden layers", self.hidden)

    def attach(self, model: VisionTransformer) -> None:
        width = feature_width(model)
        map_feature(model, *(self._layer(width) for _ in range(self.hidden)))

    def _layer(self, width: int) -> nn.Sequential:
        linear = nn.Linear(width, width)
        nn.init.kaiming_normal_(linear.weight, mode="fan_out")
        return nn.Sequential(
            linear, nn.ReLU(), BatchNormOfAnyBatch(width), nn.Dropout(self.dropout)
        )


register("mlp3", MLP())
