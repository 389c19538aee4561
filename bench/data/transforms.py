"""How an image becomes the network's input: a geometry, and an interpolation to resize with."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import v2 as transforms
from torchvision.transforms.v2 import functional as F

ResizeFunction = Callable[[Tensor, list[int]], Tensor]  # (..., H, W) -> (..., *size)
GeometryFunction = Callable[
    [Tensor, int, ResizeFunction], Tensor
]  # (..., H, W) -> (..., size, size)

UINT8_ROUNDING_CPUS = ("AVX2", "AVX512")  # processors that round to 256 levels between the two axes
RANDOM_FLIP = transforms.RandomHorizontalFlip()


def tf1_bilinear(images: Tensor, size: list[int]) -> Tensor:
    """Bilinear as TensorFlow 1 resizes, float32: (..., H, W) -> (..., *size).

    Output pixel i lies at i * in / out: no shift by half a pixel, no antialiasing, so that making
    an image smaller skips pixels (``tf.compat.v1.image.resize``; equal to it bit by bit). What it
    gives lies between the 256 levels and is not rounded to them.
    """
    left, right, x = _neighbours(images.shape[-1], size[1], images.device)
    wide = _lerp(_columns(images, left), _columns(images, right), x)  # (..., H, size[1])
    above, below, y = _neighbours(images.shape[-2], size[0], images.device)
    return _lerp(wide.index_select(-2, above), wide.index_select(-2, below), y[:, None])


def _neighbours(before: int, after: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Of each of `after` pixels the two of `before` it lies among, and how near the second is."""
    at = torch.arange(after) * (torch.tensor(before, dtype=torch.float32) / after)  # (after,)
    low = at.long()
    high = (low + 1).clamp(max=before - 1)
    return low.to(device), high.to(device), (at - low).to(device)


def _columns(images: Tensor, chosen: Tensor) -> Tensor:
    """Those columns, float32; several times faster than `index_select`, which is for rows."""
    return images.gather(-1, chosen.expand(*images.shape[:-1], -1)).float()


def _lerp(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Linear between the two, in place, for whole splits pass here.

    Rounded at each step, unlike `torch.lerp`: alike for one image and for many.
    """
    return first.add_(second.sub_(first).mul_(weight))


def _short_side_size(image: Tensor, side: int) -> list[int]:
    """Height and width of the image with its shorter side made `side`."""
    height, width = image.shape[-2:]
    short = min(height, width)
    return [side * height // short, side * width // short]


def _resize_side(size: int) -> int:
    """The side that a square of `size` is cropped from: 256 for 224."""
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
    """torchvision's resize, on any device as on a CPU with AVX2: (..., H, W) -> (..., *size).

    Such a CPU resizes the width, rounds to the 256 levels, and then the height; elsewhere both are
    one computation in floats, up to 29 levels away where bicubic overshoots. Asked for one after
    the other, they are at most 2 levels away, and over 95 in 100 values are the same.
    """
    resize = partial(F.resize, interpolation=interpolation, antialias=True)
    rounds = (
        image.device.type == "cpu"
        and torch.backends.cpu.get_cpu_capability() in UINT8_ROUNDING_CPUS
    )
    return resize(image, size) if rounds else resize_axis_by_axis(resize, image, size)


def resize_axis_by_axis(resize: ResizeFunction, image: Tensor, size: list[int]) -> Tensor:
    """The width first, then the height, each rounded where `resize` rounds."""
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
# what is alike at every look, and what is drawn anew for each
RANDOM_GEOMETRIES: dict[str, tuple[GeometryFunction, GeometryFunction]] = {
    "random_resized_crop_flip": (_identity, _random_resized_crop_flip),
    "random_crop_flip": (_resize256, _random_crop_flip),
    "squash256_random_crop_flip": (_squash256, _random_crop_flip),
}


@dataclass(frozen=True)
class Transform:
    """A geometry and an interpolation by their names; called with images and a size."""

    geometry: str
    interpolation: str

    def __call__(self, image: Tensor, size: int) -> Tensor:
        """The image, or all of a batch alike, in 0..255: (..., H, W) -> (..., size, size)."""
        return self.random(self.deterministic(image, size), size)

    def deterministic(self, image: Tensor, size: int) -> Tensor:
        """What every look at the image starts from; all of the view, unless it is random."""
        geometry = (
            RANDOM_GEOMETRIES[self.geometry][0]
            if self.is_random
            else DETERMINISTIC_GEOMETRIES[self.geometry]
        )
        return geometry(image, size, INTERPOLATIONS[self.interpolation])

    def random(self, image: Tensor, size: int) -> Tensor:
        """A look at what `fixed` gave, (..., size, size); torch's generator of the CPU draws."""
        if not self.is_random:
            return image
        return RANDOM_GEOMETRIES[self.geometry][1](image, size, INTERPOLATIONS[self.interpolation])

    def deterministic_meta(self, height: int, width: int, size: int) -> Tensor:
        """What `fixed` makes of an RGB image of that size: its shape and type, without values."""
        return self.deterministic(
            torch.empty(3, height, width, dtype=torch.uint8, device="meta"), size
        )

    @property
    def is_random(self) -> bool:
        """Whether two looks at an image differ."""
        return self.geometry in RANDOM_GEOMETRIES
