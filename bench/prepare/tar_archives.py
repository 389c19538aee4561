"""Tar files, compressed or not: read from their beginning to their end, and never extracted."""

import bz2
import gzip
import lzma
import os
import tarfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from bench.prepare.archive_contents import (
    FILE,
    FOLDER,
    Contents,
    Member,
    archive_errors,
    max_unpacked_size,
    read_contents,
    require_max_size,
)
from bench.utils.errors import UserError
from bench.utils.files import file_stamps, open_regular_file

DECOMPRESSORS: dict[bytes, Callable[[BinaryIO], Any]] = {  # by how a file begins
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
    b"\x5d\0\0": lzma.LZMAFile,
}
ZSTANDARD = b"\x28\xb5\x2f\xfd"
EXTENSION_TYPES = (b"x", b"g", b"X", b"L", b"K")  # members that describe the next one
MAX_EXTENSION_BYTES = 2**20
SKIP_BYTES = 2**20  # read at a time
MAX_TAIL_BYTES = 2**20  # looked at behind the end of an archive
KINDS: dict[bytes, str] = {
    tarfile.DIRTYPE: FOLDER,
    tarfile.SYMTYPE: "a link to {}",
    tarfile.LNKTYPE: "a hard link to {}",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a FIFO",
}


class BoundedInfo(tarfile.TarInfo):
    """A member's header; refuses what would make the reader allocate or repeat without end."""

    def _proc_member(self, file: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0:
            raise tarfile.ReadError("a member has a negative size")
        if self.type in EXTENSION_TYPES and self.size > MAX_EXTENSION_BYTES:
            raise tarfile.ReadError(f"a member's name or header has {self.size:,} bytes")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(f"its member {self.name} is sparse: pack it without --sparse")
        return super()._proc_member(file)  # type: ignore[misc]


class TarStream:
    """A file as tarfile reads it.

    One with a `limit` decompresses as it is read, to at most so many bytes and forward only.
    """

    def __init__(self, file: BinaryIO, limit: int | None = None):
        self._file, self._limit = file, limit
        self._position, self.last_read = 0, b""

    def read(self, size: int = -1) -> bytes:
        self.last_read = self._file.read(size)
        self._position += len(self.last_read)
        if self._limit is not None and self._position > self._limit:
            raise tarfile.ReadError(f"it would expand to more than {self._limit:,} bytes")
        return self.last_read

    def seekable(self) -> bool:
        return self._limit is None

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int) -> None:
        if self._limit is None:
            try:
                self._position = self._file.seek(offset)
            except (OSError, OverflowError):
                raise tarfile.ReadError("a member ends where no file does") from None
            return
        if offset < self._position:
            raise tarfile.ReadError("a member lies before the one that it follows")
        while self._position < offset and self.read(min(SKIP_BYTES, offset - self._position)):
            pass


@dataclass(frozen=True)
class TarArchive:
    """A tar file, read from its beginning up to the last of the wanted members."""

    path: Path

    def contents(self) -> Contents:
        """Return the table of contents, which is read once."""
        return _read_contents(self.path, file_stamps([self.path]))

    def names(self) -> Iterator[str]:
        yield from self.contents().files

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        contents = self.contents()
        contents.require_files(wanted)
        for name, info, stream in self._members({contents.files[name]: name for name in wanted}):
            require_max_size(self.path, name, info.size, info.size)
            with archive_errors(self.path):
                content = stream.read()
            yield name, content

    def streams(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
        numbers = {number: name for name, number in self.contents().files.items() if wanted(name)}
        for name, _, stream in self._members(numbers):
            yield name, stream

    def _members(self, numbers: dict[int, str]) -> Iterator[tuple[str, tarfile.TarInfo, IO[bytes]]]:
        """Yield the members with those numbers."""
        if not numbers:
            return
        with archive_errors(self.path), open_tar(self.path) as file:
            left = len(numbers)
            for number, info in enumerate(members(file)):
                if number in numbers:
                    yield numbers[number], info, _content(file, info)
                    left -= 1
                if not left:
                    return


@lru_cache(maxsize=8)  # the archives of a source; decompressing one may take minutes
def _read_contents(path: Path, stamps: tuple[tuple[int, ...], ...]) -> Contents:
    with archive_errors(path), open_tar(path) as file:
        found = read_contents(path, map(describe, members(file)))
        found.notes += _tail_notes(cast(TarStream, file.fileobj))
        return found


@contextmanager
def open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar file of any compression as a stream."""
    with open_regular_file(path, follow_links=True) as raw:
        start = raw.peek(8)
        if start.startswith(ZSTANDARD):
            raise UserError(f"{path} is compressed with Zstandard: decompress it first (zstd -d)")
        packed = (opener for begins, opener in DECOMPRESSORS.items() if start.startswith(begins))
        if opener := next(packed, None):
            limit = max_unpacked_size(os.fstat(raw.fileno()).st_size)
            with opener(raw) as plain, tar_of(TarStream(plain, limit)) as file:
                yield file
        else:
            with tar_of(TarStream(raw)) as file:
                yield file


def files_of(path: Path, file: BinaryIO) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the files of an uncompressed tar file, which may be in another; `path` is the latter's.

    Each file must be read before the next.
    """
    with tar_of(TarStream(file)) as tar:
        found = read_contents(path, map(describe, members(tar)))
    numbers = {number: name for name, number in found.files.items()}
    file.seek(0)
    with tar_of(TarStream(file)) as tar:
        for number, info in enumerate(members(tar)):
            if number in numbers:
                yield numbers[number], _content(tar, info)


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(info)
    assert content is not None, "a file has content"
    return content


def tar_of(stream: TarStream) -> tarfile.TarFile:
    """Return the tar file that a stream holds."""
    return tarfile.open(
        fileobj=cast(IO[bytes], stream), mode="r:", encoding="utf-8", tarinfo=BoundedInfo
    )


def members(file: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of all members, in their order; raise `TarError` for a broken archive."""
    last = -1
    while info := file.next():
        file.members = []  # type: ignore[attr-defined]  # or all headers stay in memory
        if info.size < 0 or file.offset <= last:  # an extended header may say so
            raise tarfile.ReadError("a member lies before the one that it follows")
        last = file.offset
        yield info
    end = cast(TarStream, file.fileobj).last_read
    if end.strip(b"\0") or 0 < len(end) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("the header of a member is broken")


def describe(info: tarfile.TarInfo) -> Member:
    """Return a member as the table of contents has it."""
    if info.isreg():
        return Member(info.name, "a sparse file" if info.issparse() else FILE)
    kind = KINDS.get(info.type, f"of the unknown type {info.type!r}")
    return Member(info.name, kind.format(info.linkname))


def _tail_notes(stream: TarStream) -> Iterator[str]:
    """Yield sentences on the end of an archive that was read up to it."""
    if not stream.last_read:
        yield "it has no mark of its end, so it may be cut short"
        return
    try:
        left = stream.read(MAX_TAIL_BYTES)
    except gzip.BadGzipFile as error:
        if "Not a gzipped file" not in str(error):  # but a wrong checksum
            raise
        left = b"?"
    if left.strip(b"\0"):
        yield "data stand behind its end, a second archive perhaps, which extraction leaves out"
