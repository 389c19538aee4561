"""Images of every kind become the pixels that their files store, or are refused by file."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny
import torch
from PIL import Image, TiffImagePlugin

from bench import cli, images

pytestmark = pytest.mark.usefixtures("no_picture")
RNG = np.random.default_rng(0)
WIDE = RNG.integers(0, 2**16, (6, 9)).astype(np.uint16)  # H, W
COLOURS = RNG.integers(0, 2**16, (6, 9, 3)).astype(np.uint16)
PLAIN = (COLOURS >> 8).astype(np.uint8)


def saved(image: Image.Image, kind: str, **more: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **more)
    return stream.getvalue()


def pixels(content: bytes) -> np.ndarray:
    """What is decoded, (H, W, 3)."""
    found = images.decoded(content)
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
    for door in (images.decoded, images.require):
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
        path.write_text(path.read_text().replace(".png", ".tif"))
    return folder


def learnt(folder: Path) -> tuple[int, float | None]:
    """The exit status of a run, and its accuracy."""
    results = folder / "results"
    more = ("--set", "epochs=20", "--set", "lr=0.02")
    status = cli.main(tiny.command("run", folder, results, "linear", *more))
    found = [json.loads(path.read_text()) for path in (results / "records").rglob("*.json")]
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
def test_every_door_refuses_them(tmp_path, act, capsys):
    folder = tiff_task(tmp_path, "float")
    words = {
        "check": ["data", "check", "--deep", "--data-root", str(folder / "data")],
        "import": ["data", "import", str(folder / "data"), "--data-root", str(tmp_path / "new")],
    }
    suite = ["--suite", str(folder / "tiny.toml"), "--tasks", "light"]
    assert cli.main([*words[act], *suite]) == 1
    assert "whose black and white are not known" in capsys.readouterr().err
