"""Where a backbone reads its images: its first layer, and the size that it expects."""

from collections.abc import Callable
from functools import singledispatch
from typing import Any

from torch import nn

from methods.shared.base import Unsupported


@singledispatch
def replace_image_layer(model: Any, build: Callable[[nn.Module], nn.Module]) -> None:
    """Replace the first layer, which reads the images, by ``build(layer)``.

    Raises `Unsupported` unless that layer is a convolution of the images.
    """
    embedding: Any = getattr(model, "patch_embed", None)
    proj = getattr(embedding, "proj", None)
    if not (isinstance(proj, nn.Conv2d) and proj.in_channels == 3):
        raise Unsupported(
            "this method needs a convolution of the images as patch_embed.proj; "
            f"{type(embedding).__name__} has another network before it"
        )
    embedding.proj = build(proj)


@singledispatch
def image_size(model: Any) -> tuple[int, int]:
    """Return height and width of the images that the model expects."""
    return model.patch_embed.img_size or (224, 224)  # None: the network takes any size


@singledispatch
def enlarge_images(model: Any, pixels: int) -> None:
    """Let the first layer give the output for images with `pixels` more on each side."""
    raise Unsupported(
        f"this method enlarges the images, and {type(model).__name__} accepts only one image size"
    )
