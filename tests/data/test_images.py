"""Image decoding: bit depths, alpha, EXIF and XMP orientation, rare formats, broken files."""

import io
import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin

from bench.cli import main
from bench.data import images
from bench.data.images import DECODE_ERRORS
from support import raw_image_files, tiny

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


def encoded(image: Image.Image, **how: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, **how)  # type: ignore[arg-type]
    return stream.getvalue()


def asking(orientation: int) -> Image.Exif:
    """The metadata that a camera writes when it is held in another orientation."""
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def shown(content: bytes) -> np.ndarray:
    """The pixels, (H, W, 3), whose size is known without decoding."""
    pixels = images.decode(content)
    assert pixels.dtype == torch.uint8
    assert tuple(pixels.shape[1:]) == images.size(content)
    return pixels.permute(1, 2, 0).numpy()


def in_grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=-1)


# More than 8 bits

SIXTEEN_BIT_FILES = {
    "png": raw_image_files.png(GREY),
    "tiff": raw_image_files.tiff(GREY, {}),
    "tiff, big end first": raw_image_files.tiff(GREY, {}, ">"),
    "tiff, deflated": encoded(Image.fromarray(GREY), format="TIFF", compression="tiff_deflate"),
    "tiff, white is 0": raw_image_files.tiff(65535 - GREY, {raw_image_files.PHOTOMETRIC: 0}),
    "tiff, 12 bits": raw_image_files.tiff(GREY >> 4, {}, bits=12),
    "pgm": raw_image_files.pgm(GREY, 65535),
    "jpeg 2000": encoded(Image.fromarray(GREY), format="JPEG2000"),
}


@pytest.mark.parametrize("content", SIXTEEN_BIT_FILES.values(), ids=SIXTEEN_BIT_FILES)
def test_wide_grey_is_the_picture_that_its_high_8_bits_make(content):
    assert (shown(content) == in_grey(GREY >> 8)).all()


def test_grey_of_another_range_reaches_from_black_to_white():
    values = np.array([[0, 511, 1023]])
    assert shown(raw_image_files.pgm(values, 1023))[0, :, 0].tolist() == [0, 127, 255]


UNKNOWN = "whose black and white are not known"
REFUSED = {
    "32 bits": (encoded(Image.fromarray(GREY.astype(np.int32)), format="TIFF"), UNKNOWN),
    "32 bits without a sign": (raw_image_files.tiff(GREY.astype(np.uint32), {}), UNKNOWN),
    "floats": (encoded(Image.fromarray(GREY.astype(np.float32)), format="TIFF"), UNKNOWN),
    "16 bits with a sign": (
        raw_image_files.tiff(GREY, {images.SAMPLE_FORMAT: images.SIGNED}),
        UNKNOWN,
    ),
    "8 bits with a sign": (
        raw_image_files.tiff(EIGHT[..., 0], {images.SAMPLE_FORMAT: images.SIGNED}),
        UNKNOWN,
    ),
    "CIELAB": (encoded(Image.new("LAB", (4, 6)), format="TIFF"), "in another space .*LAB"),
}


@pytest.mark.parametrize(("content", "says"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("look", [images.decode, images.size, images.require_readable])
def test_what_has_no_known_range_or_space_is_refused_by_the_files_beginning(content, says, look):
    with pytest.raises(ValueError, match=f"^its pixels are .*{says}.*expected; convert it first$"):
        look(content)


# Orientation


@pytest.mark.parametrize("how", EXACT.values(), ids=EXACT)
@pytest.mark.parametrize("orientation", TURNS)
def test_an_orientation_tag_turns_no_format(orientation, how):
    content = encoded(Image.fromarray(EIGHT), exif=asking(orientation), **how)
    assert (shown(content) == EIGHT).all()
    assert images.has_orientation_tag(content)


@pytest.mark.parametrize("orientation", TURNS)
def test_a_tiff_that_asks_by_xmp_is_not_turned_either(orientation):
    asks = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="{orientation}"/></x:xmpmeta>'
    content = encoded(Image.fromarray(EIGHT), format="TIFF", tiffinfo={700: asks.encode()})
    assert (shown(content) == EIGHT).all()


@pytest.mark.parametrize("orientation", TURNS)
def test_a_wide_tiff_is_not_turned_either(orientation):
    content = raw_image_files.tiff(GREY, {images.ORIENTATION: orientation})
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
    content = encoded(image, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (shown(content) == wanted).all()


# Other modes


def test_luma_and_chroma_become_rgb():
    pytest.importorskip("PIL", "13", reason="before, Pillow does not read such TIFF files")
    content = encoded(Image.new("RGB", (8, 8), (200, 30, 60)).convert("YCbCr"), format="TIFF")
    assert np.abs(shown(content).astype(int) - [200, 30, 60]).max() <= 2  # of rounding twice


# Frames

FRAMES = [Image.new("RGB", (5, 3), colour) for colour in ("red", "lime", "blue")]


@pytest.mark.parametrize(
    "how",
    [{"format": "GIF"}, {"format": "TIFF"}, {"format": "PNG"}, EXACT["webp"], {"format": "MPO"}],
    ids=lambda how: how["format"],
)
def test_the_first_frame_counts(how):
    content = encoded(FRAMES[0], save_all=True, append_images=FRAMES[1:], **how)
    assert np.abs(shown(content).astype(int) - [255, 0, 0]).max() <= 2  # MPO is of JPEG
    assert images.has_several_frames(content)
    assert not images.has_several_frames(encoded(FRAMES[0], format="PNG"))


# Broken files

WHOLE = {
    **SIXTEEN_BIT_FILES,
    **{name: encoded(SEEN, **how) for name, how in EXACT.items()},
    "jpeg": encoded(SEEN, format="JPEG", exif=asking(6)),
    "gif": encoded(SEEN, format="GIF"),
    "bmp": encoded(SEEN, format="BMP"),
    "page": b"<html></html>",
    "nothing": b"",
}


def complaint(look: Callable[[bytes], object], content: bytes) -> str:
    """The error message for a file, or "" if it can be read."""
    try:
        look(content)
    except DECODE_ERRORS as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", WHOLE)
def test_whatever_is_broken_is_one_sentence(name):
    drawn = random.Random(name)
    for _ in range(60):
        content = bytearray(WHOLE[name][: drawn.randint(0, len(WHOLE[name]))])
        for _ in range(drawn.randint(0, 3) if content else 0):
            content[drawn.randrange(len(content))] = drawn.randrange(256)
        for look in (
            images.decode,
            images.size,
            images.has_orientation_tag,
            images.has_several_frames,
        ):
            said = complaint(look, bytes(content))
            assert "\n" not in said
            assert "object at" not in said


@pytest.mark.parametrize("name", [*EXACT, "jpeg", "gif", "png"])
def test_a_file_cut_short_is_refused(name):
    with pytest.raises(DECODE_ERRORS, match=r"\w"):
        images.decode(WHOLE[name][:-30])


def test_any_error_of_a_decoder_is_a_sentence(monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("no such item")

    monkeypatch.setattr(Image.Image, "convert", broken)
    with pytest.raises(DECODE_ERRORS, match=r"^no such item$"):
        images.decode(WHOLE["png"])


def test_another_size_than_the_headers_is_refused(monkeypatch):
    """Cached pixels of many images are in one tensor: a wrong size would shift all others."""
    convert = Image.Image.convert
    monkeypatch.setattr(Image.Image, "convert", lambda i, mode: convert(i, mode).crop((0, 0, 6, 4)))
    with pytest.raises(DECODE_ERRORS, match="it is 6 x 4, not 4 x 6"):
        images.decode(WHOLE["webp"])


pytestmark = pytest.mark.usefixtures("no_figures")
RNG = np.random.default_rng(0)
WIDE = RNG.integers(0, 2**16, (6, 9)).astype(np.uint16)  # H, W
COLOURS = RNG.integers(0, 2**16, (6, 9, 3)).astype(np.uint16)
PLAIN = (COLOURS >> 8).astype(np.uint8)


def saved(image: Image.Image, kind: str, **more: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **more)
    return stream.getvalue()


def pixels(content: bytes) -> np.ndarray:
    """The decoded pixels, (H, W, 3)."""
    found = images.decode(content)
    assert found.dtype == torch.uint8
    assert tuple(found.shape[1:]) == images.size(content)
    return found.permute(1, 2, 0).numpy()


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, 2)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_of_16_bits_the_upper_8_count_as_in_the_8_bit_copy(kind):
    narrow = Image.fromarray((WIDE >> 8).astype(np.uint8))
    found = pixels(saved(Image.fromarray(WIDE), kind))
    np.testing.assert_array_equal(found, grey((WIDE >> 8).astype(np.uint8)))
    np.testing.assert_array_equal(found, pixels(saved(narrow, kind)))


def test_16_bits_in_either_byte_order_are_the_same():
    big = Image.frombytes("I;16B", (9, 6), WIDE.astype(">u2").tobytes())
    np.testing.assert_array_equal(pixels(saved(big, "TIFF"))[..., 0], WIDE >> 8)


@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_16_bits_of_colour_are_cut_as_those_of_grey_are(ending):
    _, content = cv2.imencode(ending, COLOURS[..., ::-1])
    np.testing.assert_array_equal(pixels(content.tobytes()), PLAIN)


def test_a_tiff_whose_0_is_white_is_turned_over_in_16_bits_as_in_8():
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[images.PHOTOMETRIC] = images.WHITE_IS_0
    content = saved(Image.fromarray(WIDE), "TIFF", tiffinfo=tags)
    with Image.open(io.BytesIO(content)) as image:
        assert image.tag_v2[images.PHOTOMETRIC] == images.WHITE_IS_0
        stored = np.asarray(image)
    np.testing.assert_array_equal(pixels(content)[..., 0], 255 - (stored >> 8))


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_values_without_a_known_range_are_refused(kind):
    content = saved(Image.fromarray(WIDE.astype(kind)), "TIFF")
    for door in (images.decode, images.require_readable):
        with pytest.raises(ValueError, match="whose black and white are not known"):
            door(content)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["TIFF", "PNG", "JPEG", "WEBP"])
def test_no_format_is_turned_by_the_orientation_that_a_camera_noted(kind, orientation):
    image, exif = Image.fromarray(PLAIN), Image.Exif()
    exif[images.ORIENTATION] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {}
    noted = pixels(saved(image, kind, exif=exif, **lossless))
    np.testing.assert_array_equal(noted, pixels(saved(image, kind, **lossless)))
    assert noted.shape == (6, 9, 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_transparency_is_dropped_and_what_lies_below_it_counts(kind):
    alpha = Image.fromarray(RNG.integers(0, 256, (6, 9)).astype(np.uint8))
    image = Image.fromarray(PLAIN)
    image.putalpha(alpha)
    exact = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(pixels(saved(image, kind, **exact)), PLAIN)


def test_grey_with_transparency_loses_it_too():
    image = Image.merge("LA", [Image.fromarray(PLAIN[..., 0]), Image.fromarray(PLAIN[..., 1])])
    np.testing.assert_array_equal(pixels(saved(image, "PNG")), grey(PLAIN[..., 0]))


@pytest.mark.parametrize("transparency", [0, bytes(range(0, 250, 50))])
@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palette_with_a_transparent_colour_has_its_colours(kind, transparency):
    if kind == "GIF" and isinstance(transparency, bytes):
        pytest.skip("GIF has one transparent colour")
    palette = Image.fromarray(PLAIN).quantize(8)
    content = saved(palette, kind, transparency=transparency)
    np.testing.assert_array_equal(pixels(content), np.asarray(palette.convert("RGB")))


def test_of_several_frames_the_first_counts():
    frames = [Image.fromarray(PLAIN).quantize(64), Image.new("P", (9, 6))]
    for kind in ("GIF", "TIFF"):
        content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        np.testing.assert_array_equal(pixels(content), np.asarray(frames[0].convert("RGB")))


def test_one_bit_is_black_and_white():
    image = Image.fromarray(WIDE > 2**15)
    np.testing.assert_array_equal(pixels(saved(image, "PNG")), grey((WIDE > 2**15) * np.uint8(255)))


def test_inks_become_colours():
    image = Image.fromarray(np.repeat(np.repeat(PLAIN, 8, 0), 8, 1)).convert("CMYK")
    for kind in ("TIFF", "JPEG"):
        found = pixels(saved(image, kind)).astype(int)
        assert np.abs(found - np.asarray(image.convert("RGB"))).mean() < 8  # JPEG loses a little


def tiff_task(folder: Path, kind: str) -> Path:
    """The small suite with TIFF images whose brightness, over all 16 bits, tells the class."""
    tiny.write_all(folder)
    for path in sorted((folder / "data" / "light").rglob("*.png")):
        with Image.open(path) as image:
            seed = int(np.asarray(image).sum())  # no two images alike
        middle = 12_000 + 40_000 * (int(path.stem) % 2)
        values = np.random.default_rng(seed).normal(middle, 3_000, (32, 32))
        values = values.clip(300, 65_535).astype(np.uint16)
        made = {
            "8": (values >> 8).astype(np.uint8),
            "16": values,
            "32": values.astype(np.int32),
            "float": (values / 65_535).astype(np.float32),
        }
        image = Image.fromarray(made[kind])
        path.unlink()
        image.save(path.with_suffix(".tif"))
    for path in (folder / "data" / "light").glob("*.txt"):
        path.write_text(path.read_text(encoding="utf-8").replace(".png", ".tif"), encoding="utf-8")
    return folder


def learnt(folder: Path) -> tuple[int, float | None]:
    """The exit status of a run, and its accuracy."""
    results = folder / "results"
    more = ("--set", "epochs=20", "--set", "lr=0.02")
    status = main.main(tiny.command("run", folder, results, "linear", *more))
    found = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (results / "records").rglob("*.json")
    ]
    return status, found[0]["outcome"]["accuracy"] if found else None


def test_images_of_16_bits_are_learnt_as_well_as_their_8_bit_copies(tmp_path):
    """They were clipped to white before: chance."""
    for kind in ("8", "16"):
        assert learnt(tiff_task(tmp_path / kind, kind)) == (0, 100.0)


@pytest.mark.parametrize("kind", ["32", "float"])
def test_images_without_a_known_range_are_refused_by_file_before_compute(tmp_path, kind, capsys):
    folder = tiff_task(tmp_path, kind)
    assert learnt(folder) == (2, None)
    said = capsys.readouterr().err
    assert "/images/train/0.tif is not an image to learn from: its pixels are" in said


@pytest.mark.parametrize("split", ["train", "test"])
def test_one_such_image_among_others_is_refused_wherever_it_is(tmp_path, split, capsys):
    folder = tiff_task(tmp_path, "16")
    odd = folder / "data" / "light" / "images" / split / "7.tif"
    Image.fromarray(np.ones((32, 32), np.float32)).save(odd)
    assert learnt(folder) == (2, None)
    assert f"{odd} is not an image to learn from: its pixels are floats" in capsys.readouterr().err


@pytest.mark.parametrize("act", ["check", "import"])
def test_every_command_refuses_them(tmp_path, act, capsys):
    folder = tiff_task(tmp_path, "float")
    words = {
        "check": ["data", "check", "--deep", "--data-root", str(folder / "data")],
        "import": ["data", "import", str(folder / "data"), "--data-root", str(tmp_path / "new")],
    }
    suite = ["--suite", str(folder / "tiny.toml"), "--tasks", "light"]
    assert main.main([*words[act], *suite]) == 1
    assert "whose black and white are not known" in capsys.readouterr().err
