"""Detection of variants by JPEG quality: images as published, or recompressed.

The field's shared copies of VTAB-1k were saved by Pillow at its default quality of 75, images of 32
pixels included. The quantisation tables of a JPEG file show that.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from PIL import Image

from bench.config.suite import Source, Split, Task
from bench.data import image_files, prepared, splits
from bench.data.prepared import SplitEntry
from bench.utils.errors import UserError

SAMPLE_SIZE = 32  # images of a split that are inspected
RECOMPRESSED_SHARE = 0.9  # of images of quality 75, from which a JPEG source counts as recompressed


def require_variant(
    native: str, variant: str, folder: Path, task: Task, rows: Mapping[Split, Sequence[SplitEntry]]
) -> None:
    """Raise `UserError` if a lossless variant of a PNG source contains JPEG files."""
    if native != "png" or variant != prepared.LOSSLESS:
        return
    for split, listed in rows.items():
        step = max(1, len(listed) // SAMPLE_SIZE)
        examples = splits.from_prepared(folder, listed[::step])
        for index in range(len(examples)):
            if is_jpeg(content := splits.read_bytes(examples, index)):
                kind = "JPEG of quality 75" if is_quality_75(content) else "JPEG"
                raise UserError(
                    f"E-VARIANT {task.name}/{split}: {kind} found in variant {variant!r}, whose "
                    f"source has pixels without loss: {examples.origins[index]}"
                )


def native_encoding(source: Source | None) -> str:
    """Return the encoding of a source's images; without a source, files of any kind: jpeg."""
    return source.native if source else "jpeg"


def guess_variant(contents: Iterable[bytes], native: str) -> str:
    """Infer the variant of a copy from a sample of its images."""
    sample = list(contents)
    if native == "png":
        return prepared.JPEG75 if any(map(is_jpeg, sample)) else prepared.LOSSLESS
    count = sum(map(is_quality_75, sample))
    recompressed = sample and count >= RECOMPRESSED_SHARE * len(sample)
    return prepared.JPEG75 if recompressed else prepared.LOSSLESS


def is_jpeg(content: bytes) -> bool:
    """Return whether a file is JPEG, by its first bytes."""
    return content[:3] == b"\xff\xd8\xff"


def is_quality_75(content: bytes) -> bool:
    """Return whether a JPEG file has the quantisation tables of Pillow's default quality."""
    if not is_jpeg(content):
        return False
    try:
        with image_files.open_image(content) as image:
            tables = image.quantization  # type: ignore[attr-defined]
    except image_files.DECODE_ERRORS:  # reported when it is decoded
        return False
    return list(tables.values()) == _quality_75_tables()[: len(tables)]


@cache
def _quality_75_tables() -> list[list[int]]:
    """Return the tables for luminance, then for chrominance."""
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "JPEG", quality=75)
    with Image.open(stream) as image:
        return list(image.quantization.values())  # type: ignore[attr-defined]
