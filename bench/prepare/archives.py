"""Folders, zip and tar files read alike: names, and the bytes of chosen members; none is unpacked.

A member that names a place outside its archive, or that would swell beyond reason, is refused.
"""

# MERGED bench.prepare.archives: """What formats do with their archives' members: find them, and understand what they say."""
# MERGED bench.prepare.archives: """What sources come in: folders, archives, tables of numbers; each read a few images at a time."""
import gzip
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, TypeVar

from bench.utils.errors import UserError, first_line

MAX_MEMBER_BYTES = 512 * 2**20  # bytes of one member
MAX_COMPRESSION = 1000  # times its packed size: beyond, a zip's member is a bomb
ARCHIVE_EXCEPTIONS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
)


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


def open_archive(path: Path) -> Archive:
    """The folder, zip or tar file (packed or not) at `path`."""
    if path.is_dir():
        return FolderArchive(path)
    return ZipArchive(path) if zipfile.is_zipfile(path) else TarArchive(path)


@dataclass(frozen=True)
class FolderArchive:
    """What was unpacked already."""

    path: Path

    def names(self) -> Iterator[str]:
        for folder, below, files in os.walk(self.path):
            below.sort()
            for file in sorted(files):
                yield (Path(folder) / file).relative_to(self.path).as_posix()

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for name in sorted(wanted):
            _require_safe_path(self.path, name)
            try:
                yield name, (self.path / name).read_bytes()
            except OSError as error:
                raise UserError(f"{self.path}: {name} cannot be read: {error.strerror}") from None

    def streams(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
        for name in filter(wanted, self.names()):
            with archive_errors(self.path), (self.path / name).open("rb") as stream:
                yield name, stream


@dataclass(frozen=True)
class ZipArchive:
    """A zip file, whose members are found without reading the others."""

    path: Path

    def names(self) -> Iterator[str]:
        with archive_errors(self.path), zipfile.ZipFile(self.path) as file:
            for info in file.infolist():
                _require_safe_path(self.path, info.filename)
                if not info.is_dir():
                    yield info.filename

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        left = set(wanted)
        with archive_errors(self.path), zipfile.ZipFile(self.path) as file:
            for info in file.infolist():
                if info.filename in left:
                    left.remove(info.filename)
                    _require_max_size(self.path, info.filename, info.file_size, info.compress_size)
                    yield info.filename, file.read(info)
        _require_all_found(self.path, left)

    def streams(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
        with archive_errors(self.path), zipfile.ZipFile(self.path) as file:
            for name in filter(wanted, self.names()):
                with file.open(name) as stream:
                    yield name, stream


@dataclass(frozen=True)
class TarArchive:
    """A tar file, read from its beginning to its end or to the last of the wanted members."""

    path: Path

    def names(self) -> Iterator[str]:
        for info, _ in self._members():
            yield _strip_dot_slash(info.name)

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        left = set(wanted)
        for info, file in self._members():
            name = _strip_dot_slash(info.name)
            if name in left:
                left.remove(name)
                _require_max_size(self.path, name, info.size, info.size)
                yield name, self._content(info, file)
            if not left:
                return
        _require_all_found(self.path, left)

    def streams(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
        for info, file in self._members():
            if wanted(_strip_dot_slash(info.name)):
                stream = file.extractfile(info)
                assert stream is not None
                yield _strip_dot_slash(info.name), stream

    def _content(self, info: tarfile.TarInfo, file: tarfile.TarFile) -> bytes:
        with archive_errors(self.path):
            content = file.extractfile(info)
            assert content is not None
            return content.read()

    def _members(self) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
        with archive_errors(self.path), tarfile.open(self.path, "r|*") as file:
            for info in file:
                _require_safe_path(self.path, info.name)
                if info.isfile():
                    yield info, file
                file.members = []  # type: ignore[attr-defined]  # it would keep every header


@contextmanager
def archive_errors(path: Path) -> Iterator[None]:
    """What a broken archive raises, as one sentence."""
    try:
        yield
    except ARCHIVE_EXCEPTIONS as error:
        said = str(error) or type(error).__name__
        raise UserError(f"{path} is broken or cut short: {said}") from None


def _strip_dot_slash(name: str) -> str:
    return name.removeprefix("./")


def _require_safe_path(path: Path, name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts:
        raise UserError(f"{path}: its member {name!r} lies outside the archive; nothing was read")


def _require_max_size(path: Path, name: str, size: int, packed: int) -> None:
    if size > MAX_MEMBER_BYTES or size > MAX_COMPRESSION * max(packed, 1024):
        raise UserError(
            f"{path}: its member {name} would swell from {packed:,} to {size:,} bytes; "
            f"at most {MAX_MEMBER_BYTES:,} are read"
        )


def _require_all_found(path: Path, left: set[str]) -> None:
    if left:
        some = ", ".join(sorted(left)[:3])
        raise UserError(f"{path}: {len(left)} of its members are missing: {some}")


@contextmanager
def open_gzip(path: Path) -> Iterator[gzip.GzipFile]:
    """A file that is packed by itself, as a stream."""
    with archive_errors(path), gzip.open(path) as file:
        yield file


# what a parser raises for a file of another layout
PARSE_EXCEPTIONS = (
    *ARCHIVE_EXCEPTIONS,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
)
N = TypeVar("N")  # how the records are told apart


def find_file(files: Mapping[str, Path], *names: str) -> Path:
    """The first of those files that is there."""
    for name in names:
        if name in files:
            return files[name]
    raise UserError(f"{' or '.join(names)} is not there; there is {', '.join(files) or 'nothing'}")


def folder_prefix(archive: Archive, top: str) -> str:
    """How names in `archive` begin: with the folder `top`, unless it was unpacked without it."""
    if isinstance(archive, FolderArchive) and not (archive.path / top).is_dir():
        return ""
    return f"{top}/"


def read_text(path: Path, member: str, top: str = "") -> str:
    """What a member of the archive at `path` says."""
    archive = open_archive(path)
    full = folder_prefix(archive, top) + member if top else member
    [(_, content)] = archive.read([full])
    with parse_errors(path, full):
        return content.decode()


def read_images(path: Path, members: Mapping[str, N]) -> Iterator[tuple[N, bytes]]:
    """The images of records, by the members of the archive at `path` that hold them."""
    for member, content in open_archive(path).read(members):
        yield members[member], content


def read_images_by_path_end(path: Path, ends: Mapping[str, N]) -> Iterator[tuple[N, bytes]]:
    """The images of records, by how their members' paths end, below whatever folders.

    Raises `UserError` for what is not there, and for what is there twice.
    """
    depths = {end.count("/") + 1 for end in ends}

    def end_of(name: str) -> str:
        steps = name.split("/")
        return next((end for d in depths if (end := "/".join(steps[-d:])) in ends), "")

    seen: dict[str, str] = {}
    with archive_errors(path):
        for name, stream in open_archive(path).streams(lambda name: bool(end_of(name))):
            first = seen.setdefault(end_of(name), name)
            if first != name:
                raise UserError(f"{path}: one image is there as {first} and as {name}")
            yield ends[end_of(name)], stream.read()
    lost = sorted(ends.keys() - seen.keys())
    if lost:
        some = ", ".join(lost[:3])
        raise UserError(f"{path}: {len(lost):,} of {len(ends):,} images are missing: {some}")


def read_member(path: Path, name: str) -> bytes:
    """One file of the archive at `path`."""
    return dict(open_archive(path).read([name]))[name]


@contextmanager
def parse_errors(origin: object, member: str = "") -> Iterator[None]:
    """What libraries raise for a file of another layout, as one sentence that names `origin`."""
    try:
        yield
    except PARSE_EXCEPTIONS as error:
        where = f"{origin}: its member {member}" if member else str(origin)
        said = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{where} is not laid out as published ({said})") from None
