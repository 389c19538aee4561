"""Convpass: convolutional bypasses (Jie and Deng, 2022), https://arxiv.org/abs/2207.07039."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.activations import QuickGELU
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.backbone import replace_modules, require_pre_norm
from methods.shared.base import Method
from methods.shared.hyperparameters import require_dropout_rate, require_size
from methods.shared.registry import register
from methods.shared.structure import patch_grid, prefix_tokens


class Bypass(nn.Module):
    """``up(gelu(conv(gelu(down(x)))))`` on the patch grid, and on each prefix token by itself.

    `up` is initialised to zero and the 3 × 3 convolution to the identity.
    """

    def __init__(self, dim: int, rank: int, grid: tuple[int, int], prefix: int, dropout: float):
        super().__init__()
        self.grid, self.prefix = grid, prefix
        self.down, self.up = nn.Linear(dim, rank), nn.Linear(rank, dim)
        self.conv = nn.Conv2d(rank, rank, 3, padding=1)
        self.activation, self.dropout = QuickGELU(), nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.down.weight)
        nn.init.dirac_(self.conv.weight)
        nn.init.zeros_(self.up.weight)
        for layer in (self.down, self.conv, self.up):
            nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        low = self.convolve_patches(self.activation(self.down(x)))  # (B, N, r)
        return self.up(self.dropout(self.activation(low)))

    def convolve_patches(self, low: Tensor) -> Tensor:
        alone, patches = low[:, : self.prefix], low[:, self.prefix :]
        patches = self.conv(patches.mT.unflatten(2, self.grid)).flatten(2).mT  # (B, N, r)
        # on a 1 × 1 grid only the centre of the kernel applies
        alone = F.linear(alone, self.conv.weight[:, :, 1, 1], self.conv.bias)
        return torch.cat([alone, patches], 1)


class BypassedLayer(nn.Module):
    """``layer(x) + scale * bypass(x)``."""

    branch = "bypass"
    linear_in_scale = True

    def __init__(self, layer: nn.Module, bypass: Bypass, scale: float):
        super().__init__()
        self.layer, self.bypass, self.scale = layer, bypass, scale

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        return self.layer(x, **kwargs) + self.scale * self.bypass(x)


@dataclass(frozen=True)
class Convpass(Method):
    """One bypass parallel to attention and one to the MLP, both on the LayerNorm's output.

    The released code (https://github.com/JieShibo/PETL-ViT) sets a scale per task and, for some
    tasks, Xavier initialisation of the convolutions; the latter is not offered here.
    """

    rank: int = 8
    scale: float = 1.0
    dropout: float = 0.1

    spatial_rule = "convolves the grid of patches; each prefix token by itself"

    def __post_init__(self) -> None:
        require_size("Convpass's rank", self.rank)
        require_dropout_rate("Convpass's dropout", self.dropout)

    def attach(self, model: VisionTransformer) -> None:
        require_pre_norm(model)
        how = model.embed_dim, self.rank, patch_grid(model), prefix_tokens(model), self.dropout
        for place in ("attn", "mlp"):
            replace_modules(
                model, place, lambda layer: BypassedLayer(layer, Bypass(*how), self.scale)
            )


register("convpass", Convpass())
