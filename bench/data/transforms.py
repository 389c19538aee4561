"""Image transforms: a geometry (resize, crop, flip) and the interpolation that it resizes with."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import v2 as transforms
from torchvision.transforms.v2 import functional as F

ResizeFunction = Callable[[Tensor, list[int]], Tensor]  # (..., H, W) -> (..., *size)
GeometryFunction = Callable[[Tensor, int, ResizeFunction], Tensor]  # -> (..., size, size)

UINT8_ROUNDING_CPUS = ("AVX2", "AVX512")  # round to 256 levels between the two axes
RANDOM_FLIP = transforms.RandomHorizontalFlip()


def tf1_bilinear(images: Tensor, size: list[int]) -> Tensor:
    """Resize bilinearly as TensorFlow 1 does, float32: (..., H, W) -> (..., *size).

    Output pixel i samples at i * in / out: no half-pixel offset and no antialiasing, so downsizing
    skips pixels (bit-equal to ``tf.compat.v1.image.resize``). The result is not rounded to the 256
    levels.
    """
    left, right, x = _neighbours(images.shape[-1], size[1], images.device)
    wide = _lerp(_columns(images, left), _columns(images, right), x)  # (..., H, size[1])
    above, below, y = _neighbours(images.shape[-2], size[0], images.device)
    return _lerp(wide.index_select(-2, above), wide.index_select(-2, below), y[:, None])


def _neighbours(before: int, after: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two input pixels that each output pixel interpolates, and the second's weight."""
    at = torch.arange(after) * (torch.tensor(before, dtype=torch.float32) / after)  # (after,)
    low = at.long()
    high = (low + 1).clamp(max=before - 1)
    return low.to(device), high.to(device), (at - low).to(device)


def _columns(images: Tensor, chosen: Tensor) -> Tensor:
    """Select columns as float32; several times faster than `index_select`."""
    return images.gather(-1, chosen.expand(*images.shape[:-1], -1)).float()


def _lerp(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Interpolate linearly, in place to save memory.

    Rounded at each step, unlike `torch.lerp`: equal for one image and for many.
    """
    return first.add_(second.sub_(first).mul_(weight))


def _short_side_size(image: Tensor, side: int) -> list[int]:
    """Return height and width after resizing the shorter side to `side`."""
    height, width = image.shape[-2:]
    short = min(height, width)
    return [side * height // short, side * width // short]


def _resize_side(size: int) -> int:
    """Return the side from which `size` is cropped: 256 for 224."""
    return size * 256 // 224


def _center_crop(image: Tensor, size: int) -> Tensor:
    return F.center_crop(image, [size, size])


def _identity(image: Tensor, size: int, resize: ResizeFunction) -> Tensor:
    return image


def _random_crop_flip(image: Tensor, size: int, resize: ResizeFunction) -> Tensor:
    return RANDOM_FLIP(transforms.RandomCrop(size)(image))


def _squash(image: Tensor, size: int, resize: ResizeFunction) -> Tensor:
    return resize(image, [size, size])


def _short_side_crop(image: Tensor, size: int, resize: ResizeFunction) -> Tensor:
    return _center_crop(resize(image, _short_side_size(image, size)), size)


def _resize256(image: Tensor, size: int, resize: ResizeFunction) -> Tensor:
    return resize(image, _short_side_size(image, _resize_side(size)))


def _squash256(image: Tensor, size: int, resize: ResizeFunction) -> Tensor:
    return resize(image, [_resize_side(size)] * 2)


def _resize256_crop(image: Tensor, size: int, resize: ResizeFunction) -> Tensor:
    return _center_crop(_resize256(image, size, resize), size)


def _squash256_crop(image: Tensor, size: int, resize: ResizeFunction) -> Tensor:
    return _center_crop(_squash256(image, size, resize), size)


def _random_resized_crop_flip(image: Tensor, size: int, resize: ResizeFunction) -> Tensor:
    box = transforms.RandomResizedCrop(size).make_params([image])
    return RANDOM_FLIP(resize(F.crop(image, **box), [size, size]))


def _resize_antialiased(image: Tensor, size: list[int], interpolation: InterpolationMode) -> Tensor:
    """Resize with torchvision, on any device as on a CPU with AVX2: (..., H, W) -> (..., *size).

    Such a CPU resizes the width, rounds to the 256 levels, and then resizes the height; elsewhere
    both axes are one computation in floats, up to 29 levels away where bicubic overshoots. Resized
    one axis at a time, they are at most 2 levels away, and over 95 % of the values are equal.
    """
    resize = partial(F.resize, interpolation=interpolation, antialias=True)
    rounds = (
        image.device.type == "cpu"
        and torch.backends.cpu.get_cpu_capability() in UINT8_ROUNDING_CPUS
    )
    return resize(image, size) if rounds else resize_axis_by_axis(resize, image, size)


def resize_axis_by_axis(resize: ResizeFunction, image: Tensor, size: list[int]) -> Tensor:
    """Resize the width, then the height, each rounded if `resize` rounds."""
    return resize(resize(image, [image.shape[-2], size[1]]), size)


INTERPOLATIONS: dict[str, ResizeFunction] = {
    "bicubic": partial(_resize_antialiased, interpolation=InterpolationMode.BICUBIC),
    "bilinear": partial(_resize_antialiased, interpolation=InterpolationMode.BILINEAR),
    "tf1_bilinear": tf1_bilinear,
}
DETERMINISTIC_GEOMETRIES: dict[str, GeometryFunction] = {
    "squash": _squash,
    "short_side_crop": _short_side_crop,
    "resize256_crop": _resize256_crop,
    "squash256_crop": _squash256_crop,
}
# the deterministic part, and the part drawn for each image and epoch
RANDOM_GEOMETRIES: dict[str, tuple[GeometryFunction, GeometryFunction]] = {
    "random_resized_crop_flip": (_identity, _random_resized_crop_flip),
    "random_crop_flip": (_resize256, _random_crop_flip),
    "squash256_random_crop_flip": (_squash256, _random_crop_flip),
}


@dataclass(frozen=True)
class Transform:
    """A transform by the names of its geometry and interpolation; called with images and a size."""

    geometry: str
    interpolation: str

    def __call__(self, image: Tensor, size: int) -> Tensor:
        """Transform an image, or a batch with the same draw, in 0..255: -> (..., size, size)."""
        return self.random(self.deterministic(image, size), size)

    def deterministic(self, image: Tensor, size: int) -> Tensor:
        """Apply the part of the transform that is the same in every epoch."""
        geometry = (
            RANDOM_GEOMETRIES[self.geometry][0]
            if self.is_random
            else DETERMINISTIC_GEOMETRIES[self.geometry]
        )
        return geometry(image, size, INTERPOLATIONS[self.interpolation])

    def random(self, image: Tensor, size: int) -> Tensor:
        """Apply the random part, drawn from torch's CPU generator: -> (..., size, size)."""
        if not self.is_random:
            return image
        return RANDOM_GEOMETRIES[self.geometry][1](image, size, INTERPOLATIONS[self.interpolation])

    def deterministic_meta(self, height: int, width: int, size: int) -> Tensor:
        """Return a meta tensor with the shape and dtype of `deterministic` for an RGB image."""
        return self.deterministic(
            torch.empty(3, height, width, dtype=torch.uint8, device="meta"), size
        )

    @property
    def is_random(self) -> bool:
        """True if the transform draws random numbers."""
        return self.geometry in RANDOM_GEOMETRIES
