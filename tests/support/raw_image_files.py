"""Encoders of image files that Pillow does not write."""

import struct
import zlib
from collections.abc import Mapping

import numpy as np

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS = 256, 257, 258, 259, 262, 273
SAMPLES, ROWS, COUNTS = 277, 278, 279


def png(pixels: np.ndarray) -> bytes:
    """PNG of 16 bits a channel: grey (H, W), or RGB (H, W, 3)."""
    height, width = pixels.shape[:2]
    kind = {2: 0, 3: 2}[pixels.ndim]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + _crc(name + content)


def _crc(content: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(content))


def tiff(
    pixels: np.ndarray, more: Mapping[int, int], order: str = "<", bits: int | None = None
) -> bytes:
    """TIFF without compression: grey (H, W), or RGB (H, W, 3); `more` are tags and their values.

    `order` is that of the bytes; of 12 `bits`, two values share three bytes.
    """
    kind = pixels.dtype.newbyteorder(order)
    content = _of_12_bits(pixels) if bits == 12 else pixels.astype(kind).tobytes()
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    tags = {
        WIDTH: pixels.shape[1],
        HEIGHT: pixels.shape[0],
        BITS: bits or 8 * kind.itemsize,
        COMPRESSION: 1,
        PHOTOMETRIC: 2 if channels == 3 else 1,
        OFFSETS: 8,
        SAMPLES: channels,
        ROWS: pixels.shape[0],
        COUNTS: len(content),
        **more,
    }
    start = {"<": b"II*\0", ">": b"MM\0*"}[order]
    at = 8 + len(content)
    entries = [struct.pack(f"{order}HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags)]
    if channels == 3:  # as many numbers of bits, which lie behind
        behind = at + 2 + 12 * len(entries) + 4
        where = sorted(tags).index(BITS)
        entries[where] = struct.pack(f"{order}HHII", BITS, 4, 3, behind)
    tail = struct.pack(f"{order}I", 0) + struct.pack(f"{order}3I", *[tags[BITS]] * 3)
    listed = struct.pack(f"{order}H", len(entries)) + b"".join(entries)
    return start + struct.pack(f"{order}I", at) + content + listed + tail


def _of_12_bits(pixels: np.ndarray) -> bytes:
    text = "".join(f"{value:03x}" for value in pixels.flatten().tolist())
    return bytes.fromhex(text)


def pgm(pixels: np.ndarray, most: int) -> bytes:
    """PGM of grey, (H, W), whose white is `most`."""
    height, width = pixels.shape
    kind = ">u2" if most > 255 else "u1"
    return f"P5 {width} {height} {most}\n".encode() + pixels.astype(kind).tobytes()


def fits(pixels: np.ndarray) -> bytes:
    """FITS of 16 bits with a sign, (H, W)."""
    facts = {"SIMPLE": "T", "BITPIX": 16, "NAXIS": 2}
    facts |= {"NAXIS1": pixels.shape[1], "NAXIS2": pixels.shape[0]}
    cards = [f"{name:8}= {value!s:>20}".ljust(80) for name, value in facts.items()]
    header = "".join([*cards, "END".ljust(80)]).ljust(2880).encode()
    return header + pixels.astype(">i2").tobytes().ljust(2880, b"\0")
