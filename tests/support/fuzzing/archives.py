"""Archives whose tables of contents have something odd about them."""

import gzip
import io
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from support.fuzzing import odd, predictions

NAMES = (
    *("../../pwned", "/tmp/pwned", "C:\\pwned", "..\\..\\pwned", "a/../../pwned", "./x", "x/", "."),
    *("images/../../../outside/secret.png", "//x", "\\\\server\\x", "a" * 70_000, "d/" * 200 + "x"),
)
odd_names = st.one_of(st.sampled_from(NAMES), odd.names)


class Members(list[tuple[str, bytes]]):
    """Names and contents, which do not show in reports of failures."""

    def __repr__(self) -> str:
        return f"<{len(self)} members>"


@st.composite
def odd_members(draw: st.DrawFn, members: Members) -> Members:
    """Members with some dropped, repeated with other bytes, or renamed."""
    made = Members(members)
    for _ in range(draw(st.integers(0, 3))):
        where = draw(st.integers(0, max(len(made) - 1, 0)))
        name, content = made[where] if made else ("x", b"x")
        made[where : where + 1] = draw(_instead_of(name, content))
    return made


def _instead_of(name: str, content: bytes) -> st.SearchStrategy[list[tuple[str, bytes]]]:
    """No member, the same twice, one of another name, or of other bytes."""
    return st.one_of(
        st.just([]),
        st.just([(name, content), (name, b"other")]),
        odd_names.map(lambda other: [(other, content)]),
        odd_names.map(lambda other: [(name, content), (other, b"x")]),
        odd.damaged(odd.Content(content)).map(lambda other: [(name, other)]),
    )


def read_zip(path: Path) -> Members:
    with zipfile.ZipFile(path) as file:
        return Members((info.filename, file.read(info)) for info in file.infolist())


def read_tar(path: Path) -> Members:
    with tarfile.open(path) as file:
        every = [(info.name, file.extractfile(info)) for info in file if info.isfile()]
        return Members((name, stream.read()) for name, stream in every if stream)


# fields of a zip's headers: their offsets in the central directory and before the member, and form
ZIP_FIELDS: dict[str, tuple[int, int | None, str]] = {
    "flags": (8, 6, "<H"),  # 1: encrypted
    "method": (10, 8, "<H"),  # 9: Deflate64
    "crc": (16, 14, "<I"),
    "packed": (20, 18, "<I"),
    "size": (24, 22, "<I"),
    "name length": (28, 26, "<H"),
    "extra length": (30, 28, "<H"),
    "attributes": (38, None, "<I"),
    "offset": (42, None, "<I"),
}
ZIP_VALUES = (0, 1, 9, 12, 14, 93, 99, 0x800, 0x801, 0xFFFF, 2**31, 2**32 - 1, 0xA1FF0000)


@st.composite
def odd_zips(draw: st.DrawFn, members: Members) -> bytes:
    """A zip of odd members, some fields of whose headers lie."""
    content = bytearray(_zip(draw(odd_members(members))))
    for _ in range(draw(st.integers(0, 2))):
        field, value = draw(st.sampled_from(sorted(ZIP_FIELDS))), draw(st.sampled_from(ZIP_VALUES))
        _lie(draw, content, field, value)
    made = bytes(content)
    return draw(odd.damaged(made)) if draw(st.integers(0, 4)) == 0 else made


def _zip(members: Members) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of repeated names, which are meant
        for name, content in members:
            info = zipfile.ZipInfo("x")
            info.filename, info.compress_type = name.encode("utf-8", "replace").decode(), 8
            try:
                file.writestr(info, content)
            except (struct.error, ValueError):  # a name that no zip can have
                continue
    return stream.getvalue()


def _lie(draw: st.DrawFn, content: bytearray, field: str, value: int) -> None:
    """Write a value into a field of one member's headers, or of one of both."""
    places = _positions(content, b"PK\x01\x02"), _positions(content, b"PK\x03\x04")
    if not places[0]:
        return
    number = draw(st.integers(0, len(places[0]) - 1))
    both = draw(st.booleans())
    for starts, offset in zip(places, ZIP_FIELDS[field][:2], strict=True):
        if offset is not None and number < len(starts) and (both or starts is places[0]):
            form = ZIP_FIELDS[field][2]
            whole = value % 2 ** (8 * struct.calcsize(form))
            struct.pack_into(form, content, starts[number] + offset, whole)


def _positions(content: bytearray, mark: bytes) -> list[int]:
    found, start = [], content.find(mark)
    while start >= 0:
        found.append(start)
        start = content.find(mark, start + 1)
    return [place for place in found if place + 46 <= len(content)]


TAR_TYPES = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE)
TAR_TYPES = (*TAR_TYPES, tarfile.GNUTYPE_SPARSE, b"Z", tarfile.CONTTYPE, tarfile.XHDTYPE, b"L")
PAX = (
    {"size": "-1"},
    {"size": str(2**63)},
    {"size": "x"},
    {"path": "../../pwned"},
    {"path": "a\0b"},
    {"linkpath": "/etc/passwd"},
    {"GNU.sparse.map": "0,99999999999999", "GNU.sparse.size": "99999999999999"},
    {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "x"},
    {"mtime": "nan"},
    {"x" * 300: "y" * 70_000},
)
PACKS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda content: content,
    "gzip": lambda content: gzip.compress(content, 1, mtime=0),
    "gzip twice": lambda content: gzip.compress(gzip.compress(content, 1, mtime=0), 1, mtime=0),
    "gzip, cut short": lambda content: gzip.compress(content, 1, mtime=0)[:-9],
    "gzip, more behind": lambda content: gzip.compress(content, 1, mtime=0) + b"more",
}


@st.composite
def odd_tars(draw: st.DrawFn, members: Members) -> bytes:
    """A tar of odd members, one of which may be of another type, or lie about its size."""
    stream = io.BytesIO()
    kind = draw(st.sampled_from((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)))
    made = draw(odd_members(members))
    strange = draw(st.integers(0, max(len(made) - 1, 0)))
    for number, (name, content) in enumerate(made):
        info = tarfile.TarInfo(name)
        info.size = len(content)
        if number == strange:
            _make_strange(draw, info)
        try:
            stream.write(info.tobuf(kind, "utf-8", "surrogateescape"))
        except (ValueError, UnicodeError, struct.error):  # a header that no tar can have
            continue
        stream.write(content + bytes(-len(content) % 512))
    if draw(st.booleans()):
        stream.write(bytes(1024))
    packed = PACKS[draw(st.sampled_from(sorted(PACKS)))](stream.getvalue())
    return draw(odd.damaged(packed)) if draw(st.integers(0, 4)) == 0 else packed


def _make_strange(draw: st.DrawFn, info: tarfile.TarInfo) -> None:
    how = draw(st.integers(0, 3))
    if how == 1:
        info.type = draw(st.sampled_from(TAR_TYPES))
        info.linkname = draw(st.one_of(odd_names, st.just("images/train/000000.jpg")))
    elif how == 2:
        info.size = draw(st.sampled_from((0, 1, 511, 10**6, 2**33, 2**62)))
    elif how == 3:
        info.pax_headers = draw(st.sampled_from(PAX))


def odd_bombs() -> st.SearchStrategy[bytes]:
    """Archives of a few MB that unpack to some GB."""
    return st.sampled_from(("zip", "gzip")).map(_bomb)


def _bomb(kind: str) -> bytes:
    if kind == "zip":
        return predictions.zip_with_bomb("vtab-1k/cifar/train800.txt")
    info = tarfile.TarInfo("vtab-1k/cifar/train800.txt")
    info.size = 4 * 1024 * predictions.MIB
    head = gzip.compress(info.tobuf(), mtime=0)
    return head + b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + predictions.bomb() + bytes(8)


def odd_archive(kind: str, members: Members) -> st.SearchStrategy[Any]:
    """An archive of the kind, zip or tar, or something else in its place."""
    strategy = odd_zips(members) if kind == "zip" else odd_tars(members)
    return st.one_of(strategy, strategy, strategy, odd.file_kinds)
