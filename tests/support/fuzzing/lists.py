"""Lists of images, and image files, with something odd about them."""

import io
import json
import struct
import zlib
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from support.fuzzing import odd
from support.fuzzing.trees import mutated, to_json, tree_of

LABELS = ("-1", "2", "99999999999999999999", "1.0", "", "a", "٣", "²", "0x1", "1" * 5_000, "nan")
OUTSIDE = ("../../../outside/secret.png", "../../../../outside/secret.png", "/etc/hostname")
odd_paths = st.one_of(odd.names, st.sampled_from(OUTSIDE))


@st.composite
def odd_lines(draw: st.DrawFn, lines: list[str]) -> bytes:
    """A text list with some lines dropped, repeated or replaced; then perhaps damaged."""
    made = list(lines)
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.integers(0, len(made)))
        made[where : where + draw(st.integers(0, 1))] = draw(_odd_lines(*lines[0].rsplit(" ", 1)))
    content = "\n".join([*made, ""]).encode("utf-8", "surrogatepass")
    return draw(odd.damaged(content)) if draw(st.booleans()) else content


def _odd_lines(path: str, label: str) -> st.SearchStrategy[list[str]]:
    """No line, one that is there already, or one that is odd in a part."""
    return st.one_of(
        st.just([]),
        st.just([f"{path} {label}"]),
        odd_paths.map(lambda other: [f"{other} {label}"]),
        st.sampled_from(LABELS).map(lambda other: [f"{path} {other}"]),
        odd.names.map(lambda text: [text]),
    )


@st.composite
def odd_json(draw: st.DrawFn, lines: list[str]) -> bytes:
    """A JSON list with some entries changed; then perhaps damaged."""
    entries = {path: int(label) for path, label in (line.rsplit(" ", 1) for line in lines)}
    tree = draw(mutated(tree_of(entries), odd.json_values, st.one_of(odd.json_names, odd_paths)))
    content = to_json(tree).encode("utf-8", "surrogatepass")
    return draw(odd.damaged(content)) if draw(st.booleans()) else content


def as_json(lines: list[str]) -> bytes:
    """The same images as JSON."""
    pairs = (line.rsplit(" ", 1) for line in lines)
    return json.dumps({path: int(label) for path, label in pairs}).encode()


def _png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG whose header says a size, whatever follows."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    every = ((b"IHDR", head), *chunks, (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in every)


def _saved(mode: str, kind: str, **how: Any) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (32, 32)).save(stream, kind, **how)
    return stream.getvalue()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n{} loop\nshowpage\n"
IMAGES = (
    *(
        EPS,
        b"",
        b"x",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"GIF89a",
        b"BM",
        b"RIFF0000WEBP",
    ),
    *(_png(10**6, 10**6), _png(2**31 - 1, 1), _png(0, 0), _png(32, 32, (b"IDAT", b"x"))),
    _png(20_000, 20_000, (b"IDAT", zlib.compress(bytes(10**6)))),
    _png(32, 32, (b"zTXt", b"k\0\0" + zlib.compress(bytes(10**8))), (b"IDAT", b"")),
    *(_saved(mode, "PNG") for mode in ("1", "L", "LA", "P", "RGBA", "I;16")),
    *(_saved("CMYK", "JPEG"), _saved("L", "JPEG"), _saved("RGB", "TIFF"), _saved("RGB", "BMP")),
    *(_saved("RGB", kind) for kind in ("GIF", "PPM", "ICO", "SGI", "TGA", "PCX", "WEBP", "PDF")),
    b"%PDF-1.4\n",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
)


@st.composite
def odd_images(draw: st.DrawFn, valid: odd.Content) -> bytes | str:
    """The content of an image's file: bytes, or one of `odd.FILE_KINDS`."""
    return draw(st.one_of(st.sampled_from(IMAGES), odd.file_kinds, odd.damaged(valid)))
