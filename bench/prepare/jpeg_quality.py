"""JPEG files by way of OpenCV, where a source's published form was made with it."""

# MERGED bench.prepare.jpeg_quality: """Whether images are what their variant says: without loss, or compressed anew as JPEG.
#
# The field's shared copies of VTAB-1k were saved by Pillow at its default quality of 75, images of 32
# pixels as well; the tables by which a JPEG file was quantised give that away.
# """
import io
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

from bench.config.source import Source
from bench.config.suite import Split, Task
from bench.data import images, prepared, splits
from bench.data.prepared import SplitEntry
from bench.utils.errors import UserError


def import_opencv() -> ModuleType:
    """The package, which is optional."""
    try:
        import cv2
    except ImportError:
        raise UserError(
            "OpenCV makes these images as published, and it is not installed: "
            "pip install opencv-python-headless"
        ) from None
    return cv2


def decode_bgr(path: Path, member: str, content: bytes) -> np.ndarray:
    """The pixels of a member of the archive at `path`: uint8, blue first, (H, W, 3)."""
    cv2 = import_opencv()
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    image = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
    if image is None:
        raise UserError(f"{path}: its member {member} cannot be decoded as an image")
    return image


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """The file that OpenCV makes of such pixels; 95 is its own default."""
    cv2 = import_opencv()
    _, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(content)


SAMPLE_SIZE = 32  # images of a split that are looked at
RECOMPRESSED_SHARE = 0.9  # of them with the tables of a quality of 75: taken for compressed anew


def require_variant(
    kept: str, variant: str, folder: Path, task: Task, rows: Mapping[Split, Sequence[SplitEntry]]
) -> None:
    """Raise `UserError` where a lossless variant of pixels holds JPEG files."""
    if kept != "png" or variant != prepared.LOSSLESS:
        return
    for split, found in rows.items():
        examples = splits.from_prepared(folder, found[:: max(1, len(found) // SAMPLE_SIZE)])
        for index in range(len(examples)):
            if is_jpeg(content := splits.read_bytes(examples, index)):
                kind = "JPEG of quality 75" if is_quality_75(content) else "JPEG"
                raise UserError(
                    f"E-VARIANT {task.name}/{split}: {kind} found in variant {variant!r}, whose "
                    f"source has pixels without loss: {examples.origins[index]}"
                )


def native_encoding(source: Source | None) -> str:
    """How a source's images are kept; of no source, as files."""
    return source.native if source else "jpeg"


def guess_variant(contents: Iterable[bytes], kept: str) -> str:
    """The variant that some of a copy's images show it to be."""
    found = list(contents)
    if kept == "png":
        return prepared.JPEG75 if any(map(is_jpeg, found)) else prepared.LOSSLESS
    anew = sum(map(is_quality_75, found))
    return (
        prepared.JPEG75 if found and anew >= RECOMPRESSED_SHARE * len(found) else prepared.LOSSLESS
    )


def is_jpeg(content: bytes) -> bool:
    """Whether a file is JPEG, by its first bytes."""
    return content[:3] == b"\xff\xd8\xff"


def is_quality_75(content: bytes) -> bool:
    """Whether a file was quantised by the tables that Pillow takes by default."""
    if not is_jpeg(content):
        return False
    try:
        with Image.open(io.BytesIO(content)) as image:
            tables = image.quantization  # type: ignore[attr-defined]
    except images.DECODE_ERRORS:  # to be found by who decodes it
        return False
    return list(tables.values()) == _quality_75_tables()[: len(tables)]


@cache
def _quality_75_tables() -> list[list[int]]:
    """For brightness, then for colour."""
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "JPEG", quality=75)
    with Image.open(stream) as image:
        return list(image.quantization.values())  # type: ignore[attr-defined]
