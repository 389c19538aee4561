"""Decoding of image files to 8-bit RGB.

The same rules hold for every format (docs/explained/preprocessing.md): orientation tags are
ignored, an alpha channel is dropped, the first of several frames is used, and the upper 8 of 16
bits are. Values without a known range are refused. All failures are one of `DECODE_ERRORS`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile
from torch import Tensor

from bench.data import image_files

DECODE_ERRORS = image_files.DECODE_ERRORS
EIGHT_BIT_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}
# format -> its modes of 12 or 16 unsigned bits, in any version of Pillow
SIXTEEN_BIT_MODES = {
    "PNG": ("I;16", "I"),
    "PPM": ("I",),
    "TIFF": ("I;16", "I;16B"),
    "JPEG2000": ("I;16",),
}
MODE_DESCRIPTIONS = {
    "F": "floats",
    "I": "32-bit or signed integers",
    "I;16": "integers of any sign",
}
WIDTH, HEIGHT, BITS, PHOTOMETRIC, SAMPLE_FORMAT = 256, 257, 258, 262, 339  # TIFF tags
ORIENTATION = 0x0112
WHITE_IS_0, SIGNED = 0, 2
UNDO_ORIENTATION = {  # by orientation: the inverse of the transpose that Pillow applies to TIFF
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def decode(content: bytes) -> Tensor:
    """Decode an image file to uint8, (3, H, W); raises as `decode_rgb` does."""
    pixels = torch.from_numpy(np.array(decode_rgb(content)))  # (H, W, 3)
    return pixels.permute(2, 0, 1).contiguous()  # (3, H, W)


def decode_rgb(content: bytes) -> Image.Image:
    """Decode an image file to mode RGB.

    Raises one of `DECODE_ERRORS` if it cannot be decoded or its values have no known range.
    """
    with _open_image(content) as image:
        tags, turn = _tiff_tags(image), _undo_transpose(image)
        image.load()
        image.info.pop("transparency", None)  # dropped on purpose; Pillow would warn
        grey = _upper_8_bits(image, tags)
        stored = image.convert("RGB") if grey is None else Image.fromarray(grey).convert("RGB")
        stored = stored if turn is None else stored.transpose(turn)
        _require_size(stored, *_size(image, tags))
        return stored


def size(content: bytes) -> tuple[int, int]:
    """Return the height and width that `decode` gives, without decoding."""
    with _open_image(content) as image:
        return _size(image, _tiff_tags(image))


def require_readable(file: Path | bytes) -> None:
    """Raise one of `DECODE_ERRORS` if the header is not that of an image `decode` accepts."""
    with _open_image(file):
        pass


def has_orientation_tag(content: bytes) -> bool:
    """Return whether the file has an orientation tag, which is ignored."""
    with _open_image(content) as image, suppress(Exception):  # so is a broken tag
        return image.getexif().get(ORIENTATION, 1) in UNDO_ORIENTATION
    return False


def has_several_frames(content: bytes) -> bool:
    """Return whether a file has more than one frame; the first is used."""
    with _open_image(content) as image, suppress(Exception):  # later frames may be broken
        return getattr(image, "is_animated", False)  # to count all frames may take hours
    return False


IMAGE_WARNINGS: dict[str, tuple[Callable[[bytes], bool], str]] = {
    "W-TURNED": (has_orientation_tag, "have an orientation tag, which turns nothing here"),
    "W-FRAMES": (has_several_frames, "have several frames, of which the first counts"),
}


@contextmanager
def _open_image(source: Path | bytes) -> Iterator[ImageFile.ImageFile]:
    """Open an image whose mode can be converted to RGB."""
    with image_files.open_image(source) as image:
        require_range(image)
        yield image


def require_range(image: ImageFile.ImageFile) -> None:
    """Raise `ValueError` if the range or the colour space of the values is unknown."""
    known = EIGHT_BIT_MODES.union(SIXTEEN_BIT_MODES.get(image.format or "", ()))
    signed = _tiff_tags(image).get(SAMPLE_FORMAT) == SIGNED
    if signed or image.mode not in known:
        kind = "32-bit or signed integers" if signed else MODE_DESCRIPTIONS.get(image.mode[:4])
        unknown = f"{kind}, whose black and white are not known" if kind else "in another space"
        raise ValueError(
            f"its pixels are {unknown} (Pillow's mode {image.mode}): 8 or 16 bits without a sign, "
            "of grey, RGB, CMYK or a palette, were expected; convert it first"
        )


def _require_size(stored: Image.Image, height: int, width: int) -> None:
    """Raise `ValueError` for a size other than the header's, for which memory was allocated."""
    if stored.size != (width, height):
        raise ValueError(f"it is {stored.width} x {stored.height}, not {width} x {height}")


def _size(image: ImageFile.ImageFile, tags: dict[int, int]) -> tuple[int, int]:
    """Return height and width as stored; Pillow may have swapped a TIFF's."""
    return tags.get(HEIGHT, image.height), tags.get(WIDTH, image.width)


def _undo_transpose(image: ImageFile.ImageFile) -> Image.Transpose | None:
    """Return the inverse of the transpose that Pillow applies on loading to TIFF alone."""
    if image.format != "TIFF":
        return None
    return UNDO_ORIENTATION.get(image.getexif().get(ORIENTATION, 1))


def _tiff_tags(image: ImageFile.ImageFile) -> dict[int, int]:
    """Return a TIFF's tags about its pixels."""
    found = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    wanted = (WIDTH, HEIGHT, BITS, PHOTOMETRIC, SAMPLE_FORMAT)
    return {tag: _first(found[tag]) for tag in wanted if tag in found}


def _first(value: int | tuple[int, ...]) -> int:
    return value[0] if isinstance(value, tuple) else value


def _upper_8_bits(image: Image.Image, tags: dict[int, int]) -> NDArray[np.uint8] | None:
    """Return the upper 8 of 16 (or 12) bits, (H, W); None for an 8-bit image."""
    if not image.mode.startswith("I"):
        return None
    bits = tags.get(BITS, 16)
    grey = (np.asarray(image).astype(np.int32) >> (bits - 8)).astype(np.uint8)
    return 255 - grey if tags.get(PHOTOMETRIC) == WHITE_IS_0 else grey
