"""An image's file as the pixels that it stores: RGB of 8 bits, whatever the format.

One rule for each of these, for every format (docs/preprocessing.md): the orientation that a camera
noted turns nothing, transparency is dropped, of several frames the first counts, and of 16 bits the
upper 8 do. Values without a known range are refused.
"""

import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile
from torch import Tensor

UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # as Pillow says it
SIXTEEN = ("PNG", "PPM")  # formats whose mode I is 16 bits wide
ORIENTATION, BITS, PHOTOMETRIC = 0x0112, 258, 262  # tags of TIFF
WHITE_IS_0 = 0
TURNED = (5, 6, 7, 8)  # orientations that swap height and width
BACK = {  # what undoes the turn that Pillow gives a TIFF, by its orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def decoded(content: bytes) -> Tensor:
    """The pixels of an image's file, uint8, (3, H, W); raises as `rgb` does."""
    return torch.from_numpy(np.array(rgb(content))).permute(2, 0, 1).contiguous()  # (3, H, W)


def rgb(content: bytes) -> Image.Image:
    """An image's file in mode RGB.

    Raises one of `UNREADABLE` where it cannot be decoded, or has no known range.
    """
    with Image.open(io.BytesIO(content)) as image:
        require_range(image)
        tags = _tags(image)
        image.load()
        image.info.pop("transparency", None)  # Pillow warns of what is dropped here on purpose
        grey = _of_16_bits(image, tags)
        stored = image.convert("RGB") if grey is None else Image.fromarray(grey).convert("RGB")
    turn = BACK.get(tags.get(ORIENTATION, 1))
    return stored if turn is None else stored.transpose(turn)


def size(content: bytes) -> tuple[int, int]:
    """Height and width of what `decoded` gives, read without decoding."""
    with Image.open(io.BytesIO(content)) as image:
        height, width = image.height, image.width
        return (width, height) if _tags(image).get(ORIENTATION) in TURNED else (height, width)


def require(file: Path | bytes) -> None:
    """Raise one of `UNREADABLE` for what does not begin as an image that `decoded` takes."""
    with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
        require_range(image)


def require_range(image: ImageFile.ImageFile) -> None:
    """Raise `ValueError` where nothing says which value is white."""
    if image.mode == "F" or (image.mode == "I" and image.format not in SIXTEEN):
        kind = "floats" if image.mode == "F" else "32-bit or signed integers"
        raise ValueError(
            f"its pixels are {kind}, whose black and white are not known: 8 or 16 bits without a "
            "sign were expected; convert it first"
        )


def _tags(image: ImageFile.ImageFile) -> dict[int, int]:
    """Of a TIFF, which Pillow turns; no other format is turned."""
    found = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    return {tag: _first(found[tag]) for tag in (ORIENTATION, BITS, PHOTOMETRIC) if tag in found}


def _first(value: int | tuple[int, ...]) -> int:
    return value[0] if isinstance(value, tuple) else value


def _of_16_bits(image: Image.Image, tags: dict[int, int]) -> NDArray[np.uint8] | None:
    """The upper 8 of an image's 16 bits, or of the 12 that it says, (H, W); None: it has 8."""
    if not image.mode.startswith("I"):
        return None
    bits = tags.get(BITS, 16)
    grey = (np.asarray(image).astype(np.int32) >> (bits - 8)).astype(np.uint8)
    return 255 - grey if tags.get(PHOTOMETRIC) == WHITE_IS_0 else grey
