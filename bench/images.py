"""An image's file becomes RGB of 8 bits by one rule for every format, or a sentence says why not.

Pixels are taken as the file stores them. Of 12 and 16 bits the high 8 count, which is what Pillow
makes of colour, and TensorFlow of both. Alpha is dropped and leaves the colours as they are. An
orientation tag turns nothing. Of several frames the first counts. Values whose range nothing says
are refused.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError
from PIL.Image import Transpose
from torch import Tensor
from torchvision.transforms import functional

CONVERTED = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}  # by Pillow
WIDE = {  # formats -> modes in which Pillow gives grey of 12 or 16 bits; some hang on its version
    "PNG": ("I;16", "I"),
    "PPM": ("I",),  # of any range above 8 bits, made 16 by Pillow
    "TIFF": ("I;16", "I;16B"),
    "JPEG2000": ("I;16",),
}
HOLDS = {"I": "whole numbers of 32 bits", "F": "floating-point numbers"}
WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES = 256, 257, 258, 262, 274, 339  # TIFF's tags
WHITE_IS_ZERO, SIGNED = 0, 2  # values of two of them
UNDOES = {  # orientation -> what undoes the turn that Pillow, of TIFF alone, makes for it
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}


File = Path | bytes  # an image's file by its place, or what it holds


class Unusable(Exception):
    """What is wrong with a file: the rest of a sentence that begins with the file's name."""


def rgb(file: File) -> Tensor:
    """The pixels of an image's file: uint8, (3, H, W). Raises `Unusable`."""
    with _opened(file) as image, _said("cannot be decoded"):
        height, width = _size(image)
        pixels = functional.pil_to_tensor(_plain(image))  # (3, H, W)
        if pixels.shape[1:] != (height, width):
            decoded = " x ".join(map(str, pixels.shape[:0:-1]))
            raise ValueError(f"it is {decoded}, and {width} x {height} by its header")
        return pixels


def size(file: File) -> tuple[int, int]:
    """Height and width as `rgb` gives them, read without decoding. Raises `Unusable`."""
    with _opened(file) as image:
        return _size(image)


def require(file: File) -> None:
    """Raise `Unusable` for a file that does not begin as an image does, or is of a refused mode."""
    with _opened(file):
        pass


def format_of(file: File) -> str:
    """The format of an image's file, as Pillow names it. Raises `Unusable`."""
    with _opened(file) as image:
        return str(image.format)


def quantisation(file: File) -> dict[int, list[int]]:
    """The tables by which a JPEG file was quantised. Raises `Unusable`."""
    with _opened(file) as image:
        tables: dict[int, list[int]] = image.quantization  # type: ignore[attr-defined]
        return tables


def is_turned(file: File) -> bool:
    """Whether a tag asks for the image to be turned, which is not done. Raises `Unusable`."""
    with _opened(file) as image, suppress(Exception):  # a tag that is broken asks for nothing
        return image.getexif().get(ORIENTATION, 1) in UNDOES
    return False


def is_several(file: File) -> bool:
    """Whether a file holds more frames than the first, which counts. Raises `Unusable`."""
    with _opened(file) as image, suppress(Exception):  # a later frame that is broken is not read
        return getattr(image, "n_frames", 1) > 1
    return False


ODDITIES: dict[str, tuple[Callable[[File], bool], str]] = {
    "W-TURNED": (is_turned, "have an orientation tag, which turns nothing here"),
    "W-FRAMES": (is_several, "have several frames, of which the first counts"),
}


@contextmanager
def _opened(file: File) -> Iterator[Image.Image]:
    """An image whose header was read; raises `Unusable` for what cannot become RGB."""
    with _said("is not an image"):
        image = Image.open(io.BytesIO(file) if isinstance(file, bytes) else file)
    with image:
        _require_mode(image)
        yield image


@contextmanager
def _said(what: str) -> Iterator[None]:
    """Turn whatever Pillow raises into a sentence: a broken file may lead to any kind of error."""
    try:
        yield
    except MemoryError:
        raise
    except UnidentifiedImageError:  # whose text names an object in memory
        raise Unusable(f"{what}: Pillow reads no format that begins so") from None
    except OSError as error:  # of the system, or of Pillow, which gives no number
        said = f"cannot be read: {error.strerror}" if error.errno else f"{what}: {error}"
        raise Unusable(said) from None
    except Exception as error:
        raise Unusable(f"{what}: {error}") from None


def _require_mode(image: Image.Image) -> None:
    if _is_signed(image):
        raise Unusable(f"holds values with a sign (Pillow's mode {image.mode}); {_wanted()}")
    if image.mode not in CONVERTED and not _is_wide(image):
        held = HOLDS.get(image.mode, "colours of another kind")
        raise Unusable(f"holds {held} (Pillow's mode {image.mode}); {_wanted()}")


def _wanted() -> str:
    return "expected grey, RGB, CMYK or a palette, with 8 or 16 bits a channel and no sign"


def _is_wide(image: Image.Image) -> bool:
    return image.mode in WIDE.get(image.format or "", ())


def _is_signed(image: Image.Image) -> bool:
    return SIGNED in np.atleast_1d(_tag(image, SAMPLES, 1))


def _tag(image: Image.Image, number: int, other: int) -> int | tuple[int, ...]:
    """What a TIFF file says; of other formats, and where it says nothing, `other`."""
    found = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    value: int | tuple[int, ...] = found.get(number, other)
    return value


def _size(image: Image.Image) -> tuple[int, int]:
    """Height and width as stored: of TIFF, Pillow may have exchanged the two."""
    height, width = _tag(image, HEIGHT, image.height), _tag(image, WIDTH, image.width)
    return int(np.max(height)), int(np.max(width))


def _plain(image: Image.Image) -> Image.Image:
    """The image decoded, as stored, in RGB."""
    orientation = image.getexif().get(ORIENTATION, 1) if image.format == "TIFF" else 1
    image.load()
    image.info.pop("transparency", None)  # Pillow would warn that it is lost
    plain = _high_bits(image) if _is_wide(image) else image.convert("RGB")
    undone = UNDOES.get(orientation)
    return plain if undone is None else plain.transpose(undone)


def _high_bits(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits as RGB."""
    bits = int(np.max(_tag(image, BITS, 16)))
    values = np.asarray(image)  # (H, W)
    if _tag(image, PHOTOMETRIC, 1) == WHITE_IS_ZERO:  # Pillow inverts 8 bits alone
        values = 2**bits - 1 - values
    return Image.fromarray((values >> (bits - 8)).astype(np.uint8)).convert("RGB")
