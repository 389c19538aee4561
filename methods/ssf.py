"""SSF: scaling and shifting of features (Lian et al., 2022), https://arxiv.org/abs/2210.08823."""

from dataclasses import dataclass

import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.backbone import replace_layers, require_layers, with_weights
from methods.shared.base import Method, Unsupported
from methods.shared.block_layers import NORMS, linear_layers
from methods.shared.registry import register
from methods.shared.stages import require_one_stage


class ScaleShift(nn.Module):
    """``scale * layer(x) + shift`` per channel; initialised near the identity, not exactly."""

    def __init__(self, layer: nn.Linear | nn.LayerNorm | nn.Conv2d):
        super().__init__()
        self.layer, channels = layer, len(layer.weight)
        self.scale = nn.Parameter(torch.empty(channels).normal_(1.0, 0.02))
        self.shift = nn.Parameter(torch.empty(channels).normal_(0.0, 0.02))
        # a convolution gives (B, D, H, W), the others (..., D)
        self.shape = (-1, 1, 1) if isinstance(layer, nn.Conv2d) else (-1,)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.scale.view(self.shape) + self.shift.view(self.shape)

    def merged(self) -> nn.Module:
        """Return an equivalent layer of the same kind."""
        layer, scale = self.layer, self.scale
        weight = scale.view(-1, *[1] * (layer.weight.ndim - 1)) * layer.weight
        bias = self.shift if layer.bias is None else scale * layer.bias + self.shift
        return with_weights(layer, weight, bias)


@dataclass(frozen=True)
class SSF(Method):
    """Scale and shift the patch projection, all LayerNorms and all linear layers of the blocks.

    A bias that timm adds outside of its layer (BEiT's and EVA's to queries and values) stays as it
    is: the shift beside it can learn what scaling it would give.
    """

    identity_at_start = False

    def attach(self, model: VisionTransformer) -> None:
        require_scalable(model)
        scale_patches_and_norms(model)
        replace_layers(model, linear_layers, ScaleShift)
        scale_final_norm(model)


def require_scalable(model: VisionTransformer) -> None:
    """Raise `Unsupported` unless the patch projection, the norms and the layers can be scaled."""
    require_one_stage(model)
    if not isinstance(getattr(model.patch_embed, "proj", None), nn.Conv2d):
        raise Unsupported("this method needs a convolution as patch_embed.proj; there is none")
    require_layers(model, nn.LayerNorm, lambda block: NORMS)
    require_layers(model, nn.Linear, linear_layers)


def scale_patches_and_norms(model: VisionTransformer) -> None:
    """Scale and shift the patch projection and the LayerNorms of the blocks."""
    model.patch_embed.proj = ScaleShift(model.patch_embed.proj)
    replace_layers(model, lambda block: NORMS, ScaleShift)


def scale_final_norm(model: VisionTransformer) -> None:
    """Scale and shift the LayerNorm before the head; which module that is depends on pooling."""
    for name in ("norm", "fc_norm"):
        if isinstance(model.get_submodule(name), nn.LayerNorm):
            model.set_submodule(name, ScaleShift(model.get_submodule(name)))


register("ssf", SSF())
