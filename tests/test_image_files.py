"""Files of rarer kinds: written byte by byte, turned by XMP, of many frames, or broken."""

import io
import random
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
import written
from PIL import Image

from bench import images
from bench.images import UNREADABLE

GREY = np.random.default_rng(0).integers(0, 65536, (6, 4)).astype(np.uint16)
COLOUR = np.random.default_rng(1).integers(0, 65536, (6, 4, 3)).astype(np.uint16)
EIGHT = (COLOUR >> 8).astype(np.uint8)
EXACT = {  # ways to keep pixels without loss, in formats that may ask for a turn
    "png": {"format": "PNG"},
    "tiff": {"format": "TIFF"},
    "tiff, deflated": {"format": "TIFF", "compression": "tiff_deflate"},
    "webp": {"format": "WEBP", "lossless": True, "exact": True},
}
TURNS = range(2, 9)


def saved(image: Image.Image, **how: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, **how)  # type: ignore[arg-type]
    return stream.getvalue()


def asking(orientation: int) -> Image.Exif:
    """What a camera writes that was held otherwise."""
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def shown(content: bytes) -> np.ndarray:
    """The pixels, (H, W, 3), whose size is known without decoding."""
    pixels = images.decoded(content)
    assert pixels.dtype == torch.uint8
    assert tuple(pixels.shape[1:]) == images.size(content)
    return pixels.permute(1, 2, 0).numpy()


def in_grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=-1)


# More than 8 bits

WIDE = {
    "png": written.png(GREY),
    "tiff": written.tiff(GREY, {}),
    "tiff, big end first": written.tiff(GREY, {}, ">"),
    "tiff, deflated": saved(Image.fromarray(GREY), format="TIFF", compression="tiff_deflate"),
    "tiff, white is 0": written.tiff(65535 - GREY, {written.PHOTOMETRIC: 0}),
    "tiff, 12 bits": written.tiff(GREY >> 4, {}, bits=12),
    "pgm": written.pgm(GREY, 65535),
    "jpeg 2000": saved(Image.fromarray(GREY), format="JPEG2000"),
}


@pytest.mark.parametrize("content", WIDE.values(), ids=WIDE)
def test_wide_grey_is_the_picture_that_its_high_8_bits_make(content):
    assert (shown(content) == in_grey(GREY >> 8)).all()


def test_grey_of_another_range_reaches_from_black_to_white():
    values = np.array([[0, 511, 1023]])
    assert shown(written.pgm(values, 1023))[0, :, 0].tolist() == [0, 127, 255]


UNKNOWN = "whose black and white are not known"
REFUSED = {
    "32 bits": (saved(Image.fromarray(GREY.astype(np.int32)), format="TIFF"), UNKNOWN),
    "32 bits without a sign": (written.tiff(GREY.astype(np.uint32), {}), UNKNOWN),
    "floats": (saved(Image.fromarray(GREY.astype(np.float32)), format="TIFF"), UNKNOWN),
    "16 bits with a sign": (written.tiff(GREY, {images.SAMPLES: images.SIGNED}), UNKNOWN),
    "8 bits with a sign": (written.tiff(EIGHT[..., 0], {images.SAMPLES: images.SIGNED}), UNKNOWN),
    "16 bits whose sign nothing says": (written.fits(GREY), UNKNOWN),
    "CIELAB": (saved(Image.new("LAB", (4, 6)), format="TIFF"), "in another space .*LAB"),
}


@pytest.mark.parametrize(("content", "says"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("look", [images.decoded, images.size, images.require])
def test_what_has_no_known_range_or_space_is_refused_by_the_files_beginning(content, says, look):
    with pytest.raises(ValueError, match=f"^its pixels are .*{says}.*expected; convert it first$"):
        look(content)


# Orientation


@pytest.mark.parametrize("how", EXACT.values(), ids=EXACT)
@pytest.mark.parametrize("orientation", TURNS)
def test_an_orientation_tag_turns_no_format(orientation, how):
    content = saved(Image.fromarray(EIGHT), exif=asking(orientation), **how)
    assert (shown(content) == EIGHT).all()
    assert images.is_turned(content)


@pytest.mark.parametrize("orientation", TURNS)
def test_a_tiff_that_asks_by_xmp_is_not_turned_either(orientation):
    asks = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="{orientation}"/></x:xmpmeta>'
    content = saved(Image.fromarray(EIGHT), format="TIFF", tiffinfo={700: asks.encode()})
    assert (shown(content) == EIGHT).all()


@pytest.mark.parametrize("orientation", TURNS)
def test_a_wide_tiff_is_not_turned_either(orientation):
    content = written.tiff(GREY, {images.ORIENTATION: orientation})
    assert (shown(content) == in_grey(GREY >> 8)).all()


# Alpha

ALPHA = np.array([[0, 255, 128, 1]] * 6, np.uint8)
SEEN = Image.fromarray(EIGHT)
LUMA = Image.fromarray(EIGHT[..., 0])


def with_alpha(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.putalpha(Image.fromarray(ALPHA))
    return image


def palette() -> Image.Image:
    return SEEN.quantize(16)


CLEAR = {
    "LA in TIFF": (with_alpha(LUMA), {"format": "TIFF"}, in_grey(EIGHT[..., 0])),
    "PA": (palette().convert("PA"), {"format": "TIFF"}, np.asarray(palette().convert("RGB"))),
    "a clear colour": (
        SEEN, {"format": "PNG", "transparency": tuple(EIGHT[0, 0].tolist())}, EIGHT),
    "a clear grey": (
        LUMA, {"format": "PNG", "transparency": int(EIGHT[0, 0, 0])}, in_grey(EIGHT[..., 0])),
}  # fmt: skip


@pytest.mark.parametrize(("image", "how", "wanted"), CLEAR.values(), ids=CLEAR)
def test_alpha_is_dropped_and_leaves_the_colours_as_stored(image, how, wanted):
    content = saved(image, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (shown(content) == wanted).all()


# Other modes


def test_luma_and_chroma_become_rgb():
    pytest.importorskip("PIL", "13", reason="before, Pillow does not read such TIFF files")
    content = saved(Image.new("RGB", (8, 8), (200, 30, 60)).convert("YCbCr"), format="TIFF")
    assert np.abs(shown(content).astype(int) - [200, 30, 60]).max() <= 2  # of rounding twice


# Frames

FRAMES = [Image.new("RGB", (5, 3), colour) for colour in ("red", "lime", "blue")]


@pytest.mark.parametrize(
    "how",
    [{"format": "GIF"}, {"format": "TIFF"}, {"format": "PNG"}, EXACT["webp"], {"format": "MPO"}],
    ids=lambda how: how["format"],
)
def test_the_first_frame_counts(how):
    content = saved(FRAMES[0], save_all=True, append_images=FRAMES[1:], **how)
    assert np.abs(shown(content).astype(int) - [255, 0, 0]).max() <= 2  # MPO is of JPEG
    assert images.is_several(content)
    assert not images.is_several(saved(FRAMES[0], format="PNG"))


# Broken files

WHOLE = {
    **WIDE,
    **{name: saved(SEEN, **how) for name, how in EXACT.items()},
    "jpeg": saved(SEEN, format="JPEG", exif=asking(6)),
    "gif": saved(SEEN, format="GIF"),
    "bmp": saved(SEEN, format="BMP"),
    "page": b"<html></html>",
    "nothing": b"",
}


def complaint(look: Callable[[bytes], object], content: bytes) -> str:
    """What is said of a file; nothing where it can be read."""
    try:
        look(content)
    except UNREADABLE as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", WHOLE)
def test_whatever_is_broken_is_one_sentence(name):
    drawn = random.Random(name)
    for _ in range(60):
        content = bytearray(WHOLE[name][: drawn.randint(0, len(WHOLE[name]))])
        for _ in range(drawn.randint(0, 3) if content else 0):
            content[drawn.randrange(len(content))] = drawn.randrange(256)
        for look in (images.decoded, images.size, images.is_turned, images.is_several):
            said = complaint(look, bytes(content))
            assert "\n" not in said
            assert "object at" not in said


@pytest.mark.parametrize("name", [*EXACT, "jpeg", "gif", "png"])
def test_a_file_cut_short_is_refused(name):
    with pytest.raises(UNREADABLE, match=r"\w"):
        images.decoded(WHOLE[name][:-30])


def test_any_error_of_a_decoder_is_a_sentence(monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("no such item")

    monkeypatch.setattr(Image.Image, "convert", broken)
    with pytest.raises(UNREADABLE, match=r"^no such item$"):
        images.decoded(WHOLE["png"])


def test_another_size_than_the_headers_is_refused(monkeypatch):
    """What is kept of many images lies in one tensor: a size read wrong would shift all others."""
    convert = Image.Image.convert
    monkeypatch.setattr(Image.Image, "convert", lambda i, mode: convert(i, mode).crop((0, 0, 6, 4)))
    with pytest.raises(UNREADABLE, match="it is 6 x 4, not 4 x 6"):
        images.decoded(WHOLE["webp"])


def test_what_is_no_image_is_said_without_an_object_in_memory():
    with pytest.raises(UNREADABLE, match=r"^Pillow reads no format that begins so$"):
        images.require(b"<html>")
