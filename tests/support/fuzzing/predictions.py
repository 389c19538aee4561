"""Files of predictions: archives of arrays that lie, swell, or hold something else."""

import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import numpy as np
from hypothesis import strategies as st

from support.fuzzing import odd

MIB = 2**20


class WithPredictions(Protocol):
    """Something with the bytes of a valid file."""

    predictions: Any


def array_file(header: str, body: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """A .npy file with this header, whatever its body."""
    text = header.encode("utf-8", "surrogatepass") + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text) % 2**16)
    return b"\x93NUMPY" + bytes(version) + size + text + body


def header(shape: object = (797,), descr: str = "<i2", order: object = False) -> str:
    return f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape}, }}"


HEADERS = (
    *map(header, ((10**12,), (2**40, 2), (-1,), (2**63,), (), (0,), (797, 1), "(1.5,)", "None")),
    *map(header, ("(True,)", "(797,)*3", "(10**5000,)", "(" * 90 + ")" * 90, "x", (2**31, 2**33))),
    *(header(descr=kind) for kind in ("|O", "<f8", "<U9", "|V2", "<M8[s]", ">i2", "|b1", "<i8")),
    *(header(descr=kind) for kind in ("<c16", "|S0", "x", "<i3", "<f2", "|u1", "<u8", "<m8")),
    *("", "{}", "[" * 3_000, "{" * 200, "1", "__import__('os')", header(order="1"), "\0", "\ud800"),
    *(header() + " " * 70_000, header()[:-3], f"{{'descr': [('a', '<i2')], {header()[17:]}"),
)


@cache
def bomb(size: int = 4 * 1024 * MIB) -> bytes:
    """A raw Deflate stream of that many zeros, 4 MB for 4 GB."""
    press = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = press.compress(bytes(16 * MIB)) + press.flush(zlib.Z_FULL_FLUSH)
    return block * (size // (16 * MIB)) + press.flush(zlib.Z_FINISH)


def zip_of(members: list[tuple[str, bytes]], pack: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", pack) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of repeated names, which are meant
        for name, content in members:
            info = zipfile.ZipInfo("x")
            info.filename, info.compress_type = name, pack
            file.writestr(info, content)
    return stream.getvalue()


def zip_with_bomb(name: str, size: int = 4 * 1024 * MIB) -> bytes:
    """A zip whose member swells: its sizes are told as they are, its checksum is not."""
    packed, raw = bomb(size), name.encode()
    told = struct.pack("<HHHHHIII", 20, 0, 8, 0, 0, 0, len(packed), min(size, 2**32 - 1))
    local = b"PK\x03\x04" + told + struct.pack("<HH", len(raw), 0) + raw
    central = b"PK\x01\x02\x14\x00" + told + struct.pack("<HHHHHII", len(raw), 0, 0, 0, 0, 0, 0)
    start = len(local) + len(packed)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central + raw), start, 0)
    return local + packed + central + raw + end


def _arrays_of(content: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(content)) as kept:
        return {name: kept[name] for name in kept.files}


def _saved(arrays: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


Change = Callable[[np.ndarray], Any]
ARRAY_CHANGES: tuple[Change, ...] = (
    lambda a: a[:-1],
    lambda a: a[:0],
    lambda a: np.concatenate([a, a]),
    lambda a: a[None],
    lambda a: a.astype(np.int64),
    lambda a: a.astype(np.float64),
    lambda a: a.astype(np.float64) * np.nan,
    lambda a: a.astype(object),
    lambda a: a.astype(str),
    lambda a: a.astype(">i2"),
    lambda a: a.astype(np.uint8),
    lambda a: a * 0,
    lambda a: a * 0 - 1,
    lambda a: a * 0 + 32_767,
    lambda a: a[::-1],
    lambda a: a == 0,
    lambda a: np.int16(3),
    lambda a: np.array({"a": 1}),
    lambda a: a.astype([("x", "<i2")]),
)


@st.composite
def odd_files(draw: st.DrawFn, valid: WithPredictions) -> bytes:
    """A file with something odd about it."""
    kind = draw(st.sampled_from(sorted(_KINDS)))
    return _KINDS[kind](draw, valid.predictions)


def _other_arrays(draw: st.DrawFn, content: bytes) -> bytes:
    arrays: dict[str, Any] = _arrays_of(content)
    for name in draw(st.sampled_from((["classes"], ["labels"], ["classes", "labels"]))):
        arrays[name] = draw(st.sampled_from(ARRAY_CHANGES))(arrays[name])
    return _saved(arrays)


def _other_names(draw: st.DrawFn, content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        members = [(name, file.read(name)) for name in file.namelist()]
    names = st.sampled_from(("classes.npy", "labels.npy", "classes", "../../pwned.npy", "/x", "é"))
    return zip_of([(draw(names), body) for _, body in members])


def _other_headers(draw: st.DrawFn, content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    name = draw(st.sampled_from(sorted(members)))
    version = draw(st.sampled_from(((1, 0), (2, 0), (3, 0), (9, 9))))
    body = members[name][-2 * 797 :]
    members[name] = array_file(draw(st.sampled_from(HEADERS)), body, version)
    pack = draw(st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)))
    return zip_of(list(members.items()), pack)


def _bombs(draw: st.DrawFn, content: bytes) -> bytes:
    return zip_with_bomb(draw(st.sampled_from(("classes.npy", "labels.npy"))))


def _other_kinds(draw: st.DrawFn, content: bytes) -> bytes:
    arrays = _arrays_of(content)
    stream = io.BytesIO()
    np.save(stream, arrays["classes"])
    return draw(
        st.sampled_from((b"", b"PK", stream.getvalue(), b"\x80\x04K\x01.", zip_of([]), b"x" * 99))
    )


_KINDS: dict[str, Callable[[st.DrawFn, bytes], bytes]] = {
    "arrays": _other_arrays,
    "bombs": _bombs,
    "damaged": lambda draw, content: draw(odd.damaged(content)),
    "headers": _other_headers,
    "kinds": _other_kinds,
    "names": _other_names,
}
