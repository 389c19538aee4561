"""Image files of a few bytes or megabytes that ask a decoder for endless work or memory."""

import io
import struct
import zlib

from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"
GIF_PIXELS = bytes.fromhex("08090001081c48b020808000")  # 4 x 4 of one colour
BYTE_STRIP = [(256, 3, 4), (257, 3, 4), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8)]
BYTE_STRIP += [(277, 3, 1), (278, 3, 4), (279, 4, 16)]  # TIFF tags: number, type, value


def png(width: int, height: int, *more: bytes, pixels: bytes = bytes(4)) -> bytes:
    """An RGB image; `more` chunks stand before its pixels."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = png_chunk(b"IDAT", zlib.compress(pixels)) + png_chunk(b"IEND")
    return PNG_START + head + b"".join(more) + data


def png_chunk(kind: bytes, content: bytes = b"") -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def gif(*blocks: bytes, place: tuple[int, int] = (0, 0), size: tuple[int, int] = (4, 4)) -> bytes:
    """An image of 4 x 4 with one frame; `blocks` stand before it."""
    frame = b"\x2c" + struct.pack("<HHHHB", *place, *size, 0)
    screen = b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0, 0, 0)
    return screen + b"".join(blocks) + frame + GIF_PIXELS + b";"


def gif_comment(blocks: int) -> bytes:
    return b"\x21\xfe" + (b"\xff" + b"x" * 255) * blocks + b"\0"


def animation(frames: int) -> bytes:
    """A GIF of many frames."""
    plain = gif()
    return plain[:-1] + plain[plain.index(b"\x2c") : -1] * (frames - 1) + b";"


def tiff(tags: list[tuple[int, int, int]], content: bytes = b"", directories: int = 1) -> bytes:
    """A TIFF with so many directories of the same tags; `content` follows them."""
    size = 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    following = [8 + number * size for number in range(1, directories)] + [0]
    start, count = b"II*\0" + struct.pack("<I", 8), struct.pack("<H", len(tags))
    return start + b"".join(count + entries + struct.pack("<I", at) for at in following) + content


def looping_tiff() -> bytes:
    """A TIFF whose directory says that it comes after itself."""
    plain = tiff(BYTE_STRIP)
    return plain[:-4] + struct.pack("<I", 8)


def tiled_tiff(side: int) -> bytes:
    """A TIFF of 4 x 4 pixels in a tile of side x side."""
    tags = [tag for tag in BYTE_STRIP if tag[0] < 273 and tag[0] != 259]
    tags += [(259, 3, 8), (277, 3, 1), (322, 4, side), (323, 4, side)]
    content = zlib.compress(bytes(1000))
    tags += [(324, 4, 8 + 2 + 12 * (len(tags) + 2) + 4), (325, 4, len(content))]
    return tiff(sorted(tags), content)


def bigtiff(entries: int) -> bytes:
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16)
    return head + struct.pack("<Q", 2**40) + struct.pack("<HHQQ", 256, 3, 1, 4) * entries


def scanned_jpeg(scans: int, side: int = 2000) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    stream = io.BytesIO()
    Image.new("L", (side, side)).save(stream, "JPEG", progressive=True)
    plain = stream.getvalue()
    last = plain[plain.rindex(b"\xff\xda") : -2]
    return plain[:-2] + last * scans + b"\xff\xd9"
