"""An image's file as the pixels that it stores: RGB of 8 bits, whatever the format.

One rule for each of these, for every format (docs/preprocessing.md): the orientation that a camera
noted turns nothing, transparency is dropped, of several frames the first counts, and of 16 bits the
upper 8 do. Values without a known range are refused. Whatever is wrong is one of `UNREADABLE`.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError
from torch import Tensor

DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    Image.DecompressionBombError,
)  # as Pillow says it
EIGHT_BIT_MODES = {
    "1",
    "L",
    "LA",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBX",
    "CMYK",
    "YCbCr",
}  # modes, of 8 bits
SIXTEEN_BIT_MODES = {  # formats -> their modes of 12 or 16 bits without a sign, in any version of Pillow
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
WIDTH, HEIGHT, BITS, PHOTOMETRIC, SAMPLE_FORMAT = 256, 257, 258, 262, 339  # tags of TIFF
ORIENTATION = 0x0112
WHITE_IS_0, SIGNED = 0, 2
UNDO_ORIENTATION = {  # what undoes the turn that Pillow gives a TIFF, by its orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def decode(content: bytes) -> Tensor:
    """The pixels of an image's file, uint8, (3, H, W); raises as `rgb` does."""
    return (
        torch.from_numpy(np.array(decode_rgb(content))).permute(2, 0, 1).contiguous()
    )  # (3, H, W)


def decode_rgb(content: bytes) -> Image.Image:
    """An image's file in mode RGB.

    Raises one of `UNREADABLE` where it cannot be decoded, or has no known range.
    """
    with _open_image(content) as image:
        tags, turn = _tiff_tags(image), _undo_transpose(image)
        image.load()
        image.info.pop("transparency", None)  # Pillow warns of what is dropped here on purpose
        grey = _upper_8_bits(image, tags)
        stored = image.convert("RGB") if grey is None else Image.fromarray(grey).convert("RGB")
        stored = stored if turn is None else stored.transpose(turn)
        _require_size(stored, *_size(image, tags))
        return stored


def size(content: bytes) -> tuple[int, int]:
    """Height and width of what `decoded` gives, read without decoding."""
    with _open_image(content) as image:
        return _size(image, _tiff_tags(image))


def require_readable(file: Path | bytes) -> None:
    """Raise one of `UNREADABLE` for what does not begin as an image that `decoded` takes."""
    with _open_image(file):
        pass


def has_orientation_tag(content: bytes) -> bool:
    """Whether a camera noted an orientation, which turns nothing here."""
    with (
        _open_image(content) as image,
        suppress(Exception),
    ):  # a note that is broken asks for nothing
        return image.getexif().get(ORIENTATION, 1) in UNDO_ORIENTATION
    return False


def has_several_frames(content: bytes) -> bool:
    """Whether a file has more frames than the first, which counts."""
    with (
        _open_image(content) as image,
        suppress(Exception),
    ):  # a later frame that is broken is not read
        return getattr(image, "n_frames", 1) > 1
    return False


IMAGE_WARNINGS: dict[str, tuple[Callable[[bytes], bool], str]] = {
    "W-TURNED": (has_orientation_tag, "have an orientation tag, which turns nothing here"),
    "W-FRAMES": (has_several_frames, "have several frames, of which the first counts"),
}


@contextmanager
def _open_image(file: Path | bytes) -> Iterator[ImageFile.ImageFile]:
    """An image whose mode is one that can become RGB.

    A broken file may lead Pillow's decoders to errors of any kind: they become `ValueError`.
    """
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
            require_range(image)
            yield image
    except UnidentifiedImageError:  # whose text names an object in memory
        raise ValueError("Pillow reads no format that begins so") from None
    except (*DECODE_ERRORS, MemoryError):
        raise
    except Exception as error:
        raise ValueError(str(error)) from None


def require_range(image: ImageFile.ImageFile) -> None:
    """Raise `ValueError` where nothing says which value is white, or which colour is meant."""
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
    """Raise `ValueError` for another size than the header's, by which memory was laid out."""
    if stored.size != (width, height):
        raise ValueError(f"it is {stored.width} x {stored.height}, not {width} x {height}")


def _size(image: ImageFile.ImageFile, tags: dict[int, int]) -> tuple[int, int]:
    """Height and width as stored: of a TIFF, Pillow may have exchanged the two."""
    return tags.get(HEIGHT, image.height), tags.get(WIDTH, image.width)


def _undo_transpose(image: ImageFile.ImageFile) -> Image.Transpose | None:
    """What undoes the turn that Pillow gives a TIFF, and no other format, when it is loaded."""
    return (
        UNDO_ORIENTATION.get(image.getexif().get(ORIENTATION, 1))
        if image.format == "TIFF"
        else None
    )


def _tiff_tags(image: ImageFile.ImageFile) -> dict[int, int]:
    """What a TIFF says of its pixels."""
    found = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    wanted = (WIDTH, HEIGHT, BITS, PHOTOMETRIC, SAMPLE_FORMAT)
    return {tag: _first(found[tag]) for tag in wanted if tag in found}


def _first(value: int | tuple[int, ...]) -> int:
    return value[0] if isinstance(value, tuple) else value


def _upper_8_bits(image: Image.Image, tags: dict[int, int]) -> NDArray[np.uint8] | None:
    """The upper 8 of an image's 16 bits, or of the 12 that it says, (H, W); None: it has 8."""
    if not image.mode.startswith("I"):
        return None
    bits = tags.get(BITS, 16)
    grey = (np.asarray(image).astype(np.int32) >> (bits - 8)).astype(np.uint8)
    return 255 - grey if tags.get(PHOTOMETRIC) == WHITE_IS_0 else grey
