"""A JPEG file's tables tell whether an image was compressed anew."""

from pathlib import Path

import copies
import pytest

from bench.errors import UserError
from bench.prepare import variants
from bench.stores import Row
from bench.tasks import Task

TASK = Task("light", "Natural", 2)
ANEW = copies.saved()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("subsampling", [0, 1, 2], ids=["4:4:4", "4:2:2", "4:2:0"])
def test_pillows_default_is_recognised(mode: str, subsampling: int) -> None:
    assert variants.is_quality_75(copies.saved(mode, subsampling=subsampling))
    assert variants.is_quality_75(copies.saved(mode, quality=75, progressive=True))
    assert variants.is_quality_75(copies.saved(mode, quality=75, optimize=True))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("quality", [10, 74, 76, 90, 95, 100])
def test_other_qualities_are_not(mode: str, quality: int) -> None:
    assert not variants.is_quality_75(copies.saved(mode, quality=quality))


def test_one_foreign_table_is_enough() -> None:
    ours, flat = variants._default_tables(), [1] * 64
    assert not variants.is_quality_75(copies.saved(qtables=[ours[0], flat]))
    assert not variants.is_quality_75(copies.saved(qtables=[flat, ours[1]]))


@pytest.mark.parametrize(
    "content",
    [copies.saved(format="PNG"), copies.saved(format="WEBP"), b"<html>", b"", b"\xff\xd8\xff\xe0"],
    ids=["png", "webp", "page", "empty", "cut short"],
)
def test_what_is_no_jpeg_is_no_jpeg_of_quality_75(content: bytes) -> None:
    assert not variants.is_quality_75(content)


@pytest.mark.parametrize(
    ("native", "contents", "told"),
    [
        ("png", [copies.saved(format="PNG")] * 9, "lossless"),
        ("png", [copies.saved(format="PNG")] * 9 + [ANEW], "jpeg75"),
        ("png", [copies.saved(quality=100)], "jpeg75"),
        ("jpeg", [ANEW] * 9 + [copies.saved(quality=90)], "jpeg75"),
        ("jpeg", [ANEW] * 8 + [copies.saved(quality=90)] * 2, "lossless"),
        ("jpeg", [copies.saved(format="PNG")], "lossless"),
        ("jpeg", [], "lossless"),
    ],
)
def test_a_copys_variant_is_that_of_nearly_all(
    native: str, contents: list[bytes], told: str
) -> None:
    """Of pixels without loss a single JPEG tells; photographs may be of quality 75 by nature."""
    assert variants.guessed(contents, native) == told


def kept(folder: Path, contents: list[bytes]) -> dict:
    """Images one behind the other, as a split's rows."""
    (folder / "images-000.tar").write_bytes(b"".join(contents))
    rows, offset = [], 0
    for i, content in enumerate(contents):
        rows.append(Row(0, "train", f"{i}.png", "images-000.tar", offset, len(content), ""))
        offset += len(content)
    return {"train": rows}


def test_pixels_without_loss_are_not_kept_as_jpeg(tmp_path: Path) -> None:
    png = copies.saved(format="PNG")
    variants.require("png", "lossless", tmp_path, TASK, kept(tmp_path, [png] * 5))
    for content, kind in ((ANEW, "JPEG of quality 75"), (copies.saved(quality=95), "JPEG")):
        rows = kept(tmp_path, [png, png, content, png])
        says = f"E-VARIANT light/train: {kind} found in variant 'lossless', .*: train/2.png"
        with pytest.raises(UserError, match=says):
            variants.require("png", "lossless", tmp_path, TASK, rows)
        variants.require("png", "jpeg75", tmp_path, TASK, rows)
        variants.require("jpeg", "lossless", tmp_path, TASK, rows)


def test_some_images_of_a_large_split_are_looked_at(tmp_path: Path) -> None:
    """A copy is all of one kind; reading every image would be a deep check."""
    rows = kept(tmp_path, [ANEW] * 1000)
    with pytest.raises(UserError, match="E-VARIANT"):
        variants.require("png", "lossless", tmp_path, TASK, rows)
