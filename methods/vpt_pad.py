"""VPT for convolutional networks: learned pixels around the images (Jia et al., 2022), https://arxiv.org/abs/2203.12119."""

from dataclasses import dataclass

import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.base import Method
from methods.shared.hyperparameters import require_size
from methods.shared.image_input import enlarge_images, image_size, replace_image_layer
from methods.shared.registry import register

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PaddedImages(nn.Module):
    """The layer that reads the images, with learned pixels around them.

    The pixels lie in [0, 1] at first, and are normalised as ImageNet's are.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layer: nn.Module, size: tuple[int, int], pixels: int):
        super().__init__()
        height, width = size
        self.layer, self.pixels = layer, pixels
        self.top_and_bottom = nn.Parameter(torch.rand(3, 2 * pixels, width + 2 * pixels))
        self.left_and_right = nn.Parameter(torch.rand(3, height, 2 * pixels))
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        sides = ((self.left_and_right - self.mean) / self.std).expand(len(images), -1, -1, -1)
        ends = ((self.top_and_bottom - self.mean) / self.std).expand(len(images), -1, -1, -1)
        (left, right), (top, bottom) = sides.chunk(2, 3), ends.chunk(2, 2)
        rows = torch.cat([left, images, right], 3)  # (B, 3, H, W + 2 P)
        return self.layer(torch.cat([top, rows, bottom], 2))


@dataclass(frozen=True)
class LearnedPadding(Method):
    """`pixels` learned ones on each side of the images, the same around all: VPT's Table 5.

    In a ViT, where the paper's ablation has it, the position embedding is resized to the grid of
    patches of the larger images.
    """

    pixels: int = 5

    identity_at_start = False
    spatial_rule = "the grid of patches grows with the image; positions are resized"

    def __post_init__(self) -> None:
        require_size("the number of pixels", self.pixels)

    def attach(self, model: VisionTransformer) -> None:
        size = image_size(model)
        enlarge_images(model, self.pixels)
        replace_image_layer(model, lambda layer: PaddedImages(layer, size, self.pixels))


register("vpt_pad", LearnedPadding())
