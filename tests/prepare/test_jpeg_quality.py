"""Detection of recompressed images by the quantisation tables of JPEG files."""

from pathlib import Path

import pytest

from bench.config.suite import Task
from bench.data.prepared import SplitEntry
from bench.prepare import jpeg_quality
from bench.utils.errors import UserError
from support import suite_copies

TASK = Task("light", "Natural", 2)
ANEW = suite_copies.saved()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("subsampling", [0, 1, 2], ids=["4:4:4", "4:2:2", "4:2:0"])
def test_pillows_default_is_recognised(mode: str, subsampling: int) -> None:
    assert jpeg_quality.is_quality_75(suite_copies.saved(mode, subsampling=subsampling))
    assert jpeg_quality.is_quality_75(suite_copies.saved(mode, quality=75, progressive=True))
    assert jpeg_quality.is_quality_75(suite_copies.saved(mode, quality=75, optimize=True))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("quality", [10, 74, 76, 90, 95, 100])
def test_other_qualities_are_not(mode: str, quality: int) -> None:
    assert not jpeg_quality.is_quality_75(suite_copies.saved(mode, quality=quality))


def test_one_foreign_table_is_enough() -> None:
    ours, flat = jpeg_quality._quality_75_tables(), [1] * 64
    assert not jpeg_quality.is_quality_75(suite_copies.saved(qtables=[ours[0], flat]))
    assert not jpeg_quality.is_quality_75(suite_copies.saved(qtables=[flat, ours[1]]))


@pytest.mark.parametrize(
    "content",
    [
        suite_copies.saved(format="PNG"),
        suite_copies.saved(format="WEBP"),
        b"<html>",
        b"",
        b"\xff\xd8\xff\xe0",
    ],
    ids=["png", "webp", "page", "empty", "cut short"],
)
def test_what_is_no_jpeg_is_no_jpeg_of_quality_75(content: bytes) -> None:
    assert not jpeg_quality.is_quality_75(content)


@pytest.mark.parametrize(
    ("native", "contents", "told"),
    [
        ("png", [suite_copies.saved(format="PNG")] * 9, "lossless"),
        ("png", [suite_copies.saved(format="PNG")] * 9 + [ANEW], "jpeg75"),
        ("png", [suite_copies.saved(quality=100)], "jpeg75"),
        ("jpeg", [ANEW] * 9 + [suite_copies.saved(quality=90)], "jpeg75"),
        ("jpeg", [ANEW] * 8 + [suite_copies.saved(quality=90)] * 2, "lossless"),
        ("jpeg", [suite_copies.saved(format="PNG")], "lossless"),
        ("jpeg", [], "lossless"),
    ],
)
def test_a_copys_variant_is_that_of_nearly_all(
    native: str, contents: list[bytes], told: str
) -> None:
    """One JPEG file refutes lossless pixels; photographs may be published at quality 75."""
    assert jpeg_quality.guess_variant(contents, native) == told


def kept(folder: Path, contents: list[bytes]) -> dict:
    """Write images to a tar; return the rows of a split."""
    (folder / "images-000.tar").write_bytes(b"".join(contents))
    rows, offset = [], 0
    for i, content in enumerate(contents):
        rows.append(SplitEntry(0, "train", f"{i}.png", "images-000.tar", offset, len(content), ""))
        offset += len(content)
    return {"train": rows}


def test_pixels_without_loss_are_not_kept_as_jpeg(tmp_path: Path) -> None:
    png = suite_copies.saved(format="PNG")
    jpeg_quality.require_variant("png", "lossless", tmp_path, TASK, kept(tmp_path, [png] * 5))
    for content, kind in ((ANEW, "JPEG of quality 75"), (suite_copies.saved(quality=95), "JPEG")):
        rows = kept(tmp_path, [png, png, content, png])
        says = f"E-VARIANT light/train: {kind} found in variant 'lossless', .*: train/2.png"
        with pytest.raises(UserError, match=says):
            jpeg_quality.require_variant("png", "lossless", tmp_path, TASK, rows)
        jpeg_quality.require_variant("png", "jpeg75", tmp_path, TASK, rows)
        jpeg_quality.require_variant("jpeg", "lossless", tmp_path, TASK, rows)


def test_some_images_of_a_large_split_are_looked_at(tmp_path: Path) -> None:
    """Copies are homogeneous, and every image is only read by a deep check."""
    rows = kept(tmp_path, [ANEW] * 1000)
    with pytest.raises(UserError, match="E-VARIANT"):
        jpeg_quality.require_variant("png", "lossless", tmp_path, TASK, rows)
