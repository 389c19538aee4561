"""The door for image files: regular files of the listed formats, within limits.

Pillow reads dozens of formats. One of them runs a program (PostScript), and for others a small file
can ask for endless work. So the formats are listed, and limited is what a file may ask for: its
bytes, its pixels, the reads that find them, and the passes over them.
"""

import io
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from bench.utils.errors import first_line
from bench.utils.files import open_regular_file, read_regular_file

DECODE_ERRORS = OSError, SyntaxError, ValueError, Image.DecompressionBombError  # Pillow's
FORMATS = {  # Pillow's name of each format that is read -> how its files begin
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]|II\0\*|MM\*\0"),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "PPM": re.compile(rb"P[0-6fy]"),  # PBM and PGM, too
    "JPEG2000": re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n"),
}
OTHER_KINDS = {  # of what else is called .jpg or .png, for messages
    "PostScript": re.compile(rb"%!PS|\xc5\xd0\xd3\xc6"),
    "PDF": re.compile(rb"%PDF"),
    "AVIF or HEIC": re.compile(rb"....ftyp(avi|hei|hev|mif|msf)", re.DOTALL),
    "SVG": re.compile(rb"\s*<svg", re.IGNORECASE),
    "a web page": re.compile(rb"\s*<(!doctype|html|\?xml)", re.IGNORECASE),
    "a Git LFS pointer": re.compile(rb"version https://git-lfs"),
    "FITS": re.compile(rb"SIMPLE  ="),
    "a Photoshop file": re.compile(rb"8BPS"),
    "a zip file": re.compile(rb"PK\x03\x04"),
    "a gzip file": re.compile(rb"\x1f\x8b"),
}
MAX_BYTES = 512 * 2**20  # of a file
MAX_PIXELS = 178_956_970  # of an image; beyond them, Pillow refuses, too
MAX_ASPECT_RATIO = 1000  # what its short side is resized to makes the long one as much longer
MAX_HEADER_READS = 20_000  # by which Pillow finds an image's size; hundreds are usual
MAX_READS, FREE_READS, READS_PER_PIXEL = 20_000_000, 2**20, 2  # by which it finds all pixels
MAX_SCANNED_PIXELS = 2**34  # of all scans of a JPEG; each is a pass over the whole image
MIN_SCAN_BYTES = 10
TILE_WIDTH, TILE_HEIGHT = 322, 323  # TIFF tags
SCAN_START = b"\xff\xda"
SCAN_HEADER = re.compile(rb"\xff\xda\0[\x06\x08\x0a\x0c][\x01-\x04]")

# Pillow warns from half of MAX_PIXELS on
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read_image_file(path: Path) -> bytes:
    """Read an image file, which may be a link to one; raises one of `DECODE_ERRORS`."""
    with _file_errors():
        return read_regular_file(path, MAX_BYTES, follow_links=True)


@contextmanager
def open_image(source: Path | bytes) -> Iterator[ImageFile.ImageFile]:
    """Open an image file or its content; its pixels are not decoded yet.

    Pillow's decoders raise errors of any kind on broken files: in this context they become one of
    `DECODE_ERRORS`.
    """
    with _opened(source) as file, _decoder_errors(file):
        reader = _MeteredReader(file)
        with Image.open(cast(IO[bytes], reader), formats=tuple(FORMATS)) as image:
            pixels = image.width * image.height
            _require_bounded_size(image.width, image.height)
            if image.format == "TIFF":
                _require_bounded_tiles(image.tag_v2)  # type: ignore[attr-defined]
            if isinstance(source, bytes) and image.format in ("JPEG", "MPO"):
                _require_few_scans(source, pixels)
            reader.reads_left = min(MAX_READS, FREE_READS + READS_PER_PIXEL * pixels)
            yield image


def require_known_format(content: bytes) -> None:
    """Raise `ValueError` for a file that begins as none of the formats that are read."""
    if not any(begins.match(content) for begins in FORMATS.values()):
        raise ValueError(_describe_unread(content))


class _MeteredReader:
    """A file as Pillow reads it; the number of reads is limited."""

    def __init__(self, file: BinaryIO):
        self._file, self.reads_left = file, MAX_HEADER_READS
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise ValueError("it consists of too many parts")
        return self._file.read(size)


@contextmanager
def _opened(source: Path | bytes) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    with _file_errors():
        file = open_regular_file(source, follow_links=True)
    with file:
        if os.fstat(file.fileno()).st_size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES:,} bytes")
        yield file


@contextmanager
def _file_errors() -> Iterator[None]:
    """Leave out the number and the path of an `OSError`: those who report it name the file."""
    try:
        yield
    except OSError as error:
        raise ValueError(error.strerror or first_line(error)) from None


@contextmanager
def _decoder_errors(file: BinaryIO) -> Iterator[None]:
    try:
        yield
    except UnidentifiedImageError:  # its message has the address of an object
        file.seek(0)
        raise ValueError(_describe_unread(file.read(64))) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(f"it has more than {MAX_PIXELS:,} pixels") from None
    except (*DECODE_ERRORS, MemoryError):
        raise
    except Exception as error:
        raise ValueError(str(error)) from None


def _describe_unread(start: bytes) -> str:
    """Describe why a file that begins so is read as none of the formats."""
    if broken := _kind(FORMATS, start):
        return f"the header of this {broken} file is broken"
    kind = _kind(OTHER_KINDS, start)
    given = f"it is {kind}" if kind else f"it begins with {start[:8]!r}" if start else "it is empty"
    return f"{given}; expected one of {', '.join(FORMATS)}"


def _kind(kinds: dict[str, re.Pattern[bytes]], start: bytes) -> str:
    return next((kind for kind, begins in kinds.items() if begins.match(start)), "")


def _require_bounded_size(width: int, height: int) -> None:
    """Enforce limits on pixels and proportions, whatever the process-wide setting of Pillow."""
    if width * height > MAX_PIXELS:
        raise ValueError(f"it is {width:,} x {height:,}; at most {MAX_PIXELS:,} pixels are decoded")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise ValueError(
            f"it is {width:,} x {height:,}; expected a side of at most {MAX_ASPECT_RATIO:,} times "
            "the other"
        )


def _require_bounded_tiles(tags: Mapping[int, Any]) -> None:
    """Refuse a TIFF whose tiles are larger than any image: each is decoded whole."""
    width, height = (np.max(tags.get(tag, 1)) for tag in (TILE_WIDTH, TILE_HEIGHT))
    if width * height > MAX_PIXELS:
        raise ValueError(f"its tiles have more than {MAX_PIXELS:,} pixels")


def _require_few_scans(content: bytes, pixels: int) -> None:
    """Refuse a progressive JPEG of many scans, whose decoding may take hours."""
    if len(content) // MIN_SCAN_BYTES * pixels <= MAX_SCANNED_PIXELS:
        return
    if content.count(SCAN_START) * pixels > MAX_SCANNED_PIXELS:
        scans = len(SCAN_HEADER.findall(content))  # a thumbnail or a film behind it may count above
        if scans * pixels > MAX_SCANNED_PIXELS:
            raise ValueError(f"it has {scans:,} scans of {pixels:,} pixels")
