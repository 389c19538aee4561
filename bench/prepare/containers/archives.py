"""Folders, zip and tar files read alike: names, and the bytes of chosen members; none is unpacked.

A member that names a place outside its archive, or that would swell beyond reason, is refused.
"""

import gzip
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from bench.errors import UserError

LARGEST = 512 * 2**20  # bytes of one member
SWELLS = 1000  # times its packed size: beyond, a zip's member is a bomb
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError)


class Archive(Protocol):
    """Files by name, with slashes, in the archive's own order."""

    def names(self) -> Iterator[str]:
        """Of all files; folders are left out."""
        ...

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Those files, in the archive's order; raises `UserError` for one that is not there."""
        ...

    def streams(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
        """The files whose names are `wanted`, however large, each to be read before the next.

        Reading them may raise what `sound` makes a sentence of.
        """
        ...


def opened(path: Path) -> Archive:
    """The folder, zip or tar file (packed or not) at `path`."""
    if path.is_dir():
        return Folder(path)
    return Zip(path) if zipfile.is_zipfile(path) else Tar(path)


@dataclass(frozen=True)
class Folder:
    """What was unpacked already."""

    path: Path

    def names(self) -> Iterator[str]:
        for folder, below, files in os.walk(self.path):
            below.sort()
            for file in sorted(files):
                yield (Path(folder) / file).relative_to(self.path).as_posix()

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for name in sorted(wanted):
            _require_inside(self.path, name)
            try:
                yield name, (self.path / name).read_bytes()
            except OSError as error:
                raise UserError(f"{self.path}: {name} cannot be read: {error.strerror}") from None

    def streams(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
        for name in filter(wanted, self.names()):
            with sound(self.path), (self.path / name).open("rb") as stream:
                yield name, stream


@dataclass(frozen=True)
class Zip:
    """A zip file, whose members are found without reading the others."""

    path: Path

    def names(self) -> Iterator[str]:
        with sound(self.path), zipfile.ZipFile(self.path) as file:
            for info in file.infolist():
                _require_inside(self.path, info.filename)
                if not info.is_dir():
                    yield info.filename

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        left = set(wanted)
        with sound(self.path), zipfile.ZipFile(self.path) as file:
            for info in file.infolist():
                if info.filename in left:
                    left.remove(info.filename)
                    _require_small(self.path, info.filename, info.file_size, info.compress_size)
                    yield info.filename, file.read(info)
        _require_none_left(self.path, left)

    def streams(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
        with sound(self.path), zipfile.ZipFile(self.path) as file:
            for name in filter(wanted, self.names()):
                with file.open(name) as stream:
                    yield name, stream


@dataclass(frozen=True)
class Tar:
    """A tar file, read from its beginning to its end or to the last of the wanted members."""

    path: Path

    def names(self) -> Iterator[str]:
        for info, _ in self._members():
            yield _plain(info.name)

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        left = set(wanted)
        for info, file in self._members():
            name = _plain(info.name)
            if name in left:
                left.remove(name)
                _require_small(self.path, name, info.size, info.size)
                yield name, self._content(info, file)
            if not left:
                return
        _require_none_left(self.path, left)

    def streams(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
        for info, file in self._members():
            if wanted(_plain(info.name)):
                stream = file.extractfile(info)
                assert stream is not None
                yield _plain(info.name), stream

    def _content(self, info: tarfile.TarInfo, file: tarfile.TarFile) -> bytes:
        with sound(self.path):
            content = file.extractfile(info)
            assert content is not None
            return content.read()

    def _members(self) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
        with sound(self.path), tarfile.open(self.path, "r|*") as file:
            for info in file:
                _require_inside(self.path, info.name)
                if info.isfile():
                    yield info, file
                file.members = []  # type: ignore[attr-defined]  # it would keep every header


@contextmanager
def sound(path: Path) -> Iterator[None]:
    """What a broken archive raises, as one sentence."""
    try:
        yield
    except BROKEN as error:
        said = str(error) or type(error).__name__
        raise UserError(f"{path} is broken or cut short: {said}") from None


def _plain(name: str) -> str:
    return name.removeprefix("./")


def _require_inside(path: Path, name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts:
        raise UserError(f"{path}: its member {name!r} lies outside the archive; nothing was read")


def _require_small(path: Path, name: str, size: int, packed: int) -> None:
    if size > LARGEST or size > SWELLS * max(packed, 1024):
        raise UserError(
            f"{path}: its member {name} would swell from {packed:,} to {size:,} bytes; "
            f"at most {LARGEST:,} are read"
        )


def _require_none_left(path: Path, left: set[str]) -> None:
    if left:
        some = ", ".join(sorted(left)[:3])
        raise UserError(f"{path}: {len(left)} of its members are missing: {some}")


@contextmanager
def gunzipped(path: Path) -> Iterator[gzip.GzipFile]:
    """A file that is packed by itself, as a stream."""
    with sound(path), gzip.open(path) as file:
        yield file
