"""Side-tuning: a small network parallel to the frozen one (Zhang et al., 2020), https://arxiv.org/abs/1912.13503."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from timm.models import VisionTransformer
from torch import Tensor, nn
from torchvision.models import AlexNet_Weights, alexnet

from methods.shared.backbone import require_one_feature
from methods.shared.base import Method, Unsupported
from methods.shared.hyperparameters import require_choice
from methods.shared.image_input import replace_image_layer
from methods.shared.registry import register
from methods.shared.structure import feature_width, replace_head_drop
from methods.shared.tensor_slot import TensorSlot

MIN_IMAGE_SIZE = 64  # pixels; AlexNet's last pooling fails below 63


class ImageCapture(nn.Module):
    """The patch projection, which also passes its input images on to `SideNetwork`."""

    def __init__(self, proj: nn.Module, images: TensorSlot):
        super().__init__()
        self.proj, self.images = proj, images

    def forward(self, images: Tensor) -> Tensor:
        self.images.put(images)
        return self.proj(images)


class SideNetwork(nn.Module):
    """``a * feature + (1 - a) * side(images)``, where `a` is the sigmoid of a learned number."""

    def __init__(self, drop: nn.Module, width: int, images: TensorSlot):
        super().__init__()
        self.drop, self.images = drop, images
        self.side = alexnet().features
        self.project = nn.Linear(256 * 6 * 6, width, bias=False)
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, feature: Tensor) -> Tensor:
        images = self.images.pop()  # (B, 3, H, W)
        if min(images.shape[-2:]) < MIN_IMAGE_SIZE:
            images = F.interpolate(images, (MIN_IMAGE_SIZE, MIN_IMAGE_SIZE), mode="bilinear")
        seen = F.adaptive_avg_pool2d(self.side(images), 6).flatten(1)  # (B, 9216)
        share = self.alpha.sigmoid()
        return self.drop(share * feature + (1 - share) * self.project(seen))  # (B, D)


@dataclass(frozen=True)
class SideTune(Method):
    """VPT's "Sidetune" row: AlexNet's convolutions, averaged with the pooled feature.

    `weights` of AlexNet are ``imagenet``, torchvision's, as in VPT, or ``random``, the default
    here because it needs no download.
    """

    weights: str = "random"

    identity_at_start = False

    def __post_init__(self) -> None:
        require_choice("weights", self.weights, WEIGHT_LOADERS)

    def attach(self, model: VisionTransformer) -> None:
        require_one_feature(model)
        images = TensorSlot()
        replace_image_layer(model, lambda layer: ImageCapture(layer, images))
        replace_head_drop(
            model, lambda drop: self._side_network(drop, feature_width(model), images)
        )

    def _side_network(self, drop: nn.Module, width: int, images: TensorSlot) -> SideNetwork:
        network = SideNetwork(drop, width, images)
        WEIGHT_LOADERS[self.weights](network.side)
        return network


def _load_imagenet_weights(side: nn.Module) -> None:
    """Load torchvision's weights into `side`; the file must be on this machine."""
    url = AlexNet_Weights.IMAGENET1K_V1.url
    file = Path(torch.hub.get_dir(), "checkpoints", Path(url).name)
    if not file.is_file():
        raise Unsupported(f"AlexNet's weights are not on this machine: put {url} at {file}")
    saved = torch.load(file, map_location="cpu", weights_only=True)
    prefix = "features."
    side.load_state_dict({k[len(prefix) :]: v for k, v in saved.items() if k.startswith(prefix)})


WEIGHT_LOADERS: dict[str, Callable[[nn.Module], None]] = {
    "random": lambda side: None,
    "imagenet": _load_imagenet_weights,
}

register("sidetune", SideTune())
