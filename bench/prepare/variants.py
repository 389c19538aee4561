"""Whether images are what their variant says: without loss, or compressed anew as JPEG.

The field's shared copies of VTAB-1k were saved by Pillow at its default quality of 75, images of 32
pixels as well; the tables by which a JPEG file was quantised give that away.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from PIL import Image

from bench import data, images, stores
from bench.errors import UserError
from bench.sources import Source
from bench.stores import Row
from bench.tasks import Split, Task

SEEN = 32  # images of a split that are looked at
MOST = 0.9  # of them with the tables of a quality of 75: taken for compressed anew


def require(
    kept: str, variant: str, folder: Path, task: Task, rows: Mapping[Split, Sequence[Row]]
) -> None:
    """Raise `UserError` where a lossless variant of pixels holds JPEG files."""
    if kept != "png" or variant != stores.LOSSLESS:
        return
    for split, found in rows.items():
        examples = data.in_store(folder, found[:: max(1, len(found) // SEEN)])
        for index in range(len(examples)):
            if is_jpeg(content := data.content(examples, index)):
                kind = "JPEG of quality 75" if is_quality_75(content) else "JPEG"
                raise UserError(
                    f"E-VARIANT {task.name}/{split}: {kind} found in variant {variant!r}, whose "
                    f"source has pixels without loss: {examples.origins[index]}"
                )


def native(source: Source | None) -> str:
    """How a source's images are kept; of no source, as files."""
    return source.native if source else "jpeg"


def guessed(contents: Iterable[bytes], kept: str) -> str:
    """The variant that some of a copy's images show it to be."""
    found = list(contents)
    if kept == "png":
        return stores.JPEG75 if any(map(is_jpeg, found)) else stores.LOSSLESS
    anew = sum(map(is_quality_75, found))
    return stores.JPEG75 if found and anew >= MOST * len(found) else stores.LOSSLESS


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
    except images.UNREADABLE:  # to be found by who decodes it
        return False
    return list(tables.values()) == _default_tables()[: len(tables)]


@cache
def _default_tables() -> list[list[int]]:
    """For brightness, then for colour."""
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "JPEG", quality=75)
    with Image.open(stream) as image:
        return list(image.quantization.values())  # type: ignore[attr-defined]
