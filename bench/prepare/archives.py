"""Archives of sources: folders, zip and tar files, read alike and never extracted.

An archive's members are found by name, and some of them read. A member whose path leads out of its
archive, or that decompresses to an unreasonable size, is refused.
"""

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

MAX_MEMBER_BYTES = 512 * 2**20
MAX_COMPRESSION = 1000  # ratio beyond which a member of a zip counts as a decompression bomb
ARCHIVE_EXCEPTIONS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
)
# raised by parsers for a file of another layout
PARSE_EXCEPTIONS = (
    *ARCHIVE_EXCEPTIONS,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
)
K = TypeVar("K")  # keys of records


class Archive(Protocol):
    """Files by name, with slashes as separators, in the archive's own order."""

    def names(self) -> Iterator[str]:
        """Yield the names of all files, without folders."""
        ...

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield files with their contents; raise `UserError` for missing ones."""
        ...

    def streams(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
        """Yield files whose names are `wanted`, of any size; each must be read before the next.

        Reading them may raise `ARCHIVE_EXCEPTIONS`: use `archive_errors`.
        """
        ...


def open_archive(path: Path) -> Archive:
    """Open the folder, zip or tar file (compressed or not) at `path`."""
    if path.is_dir():
        return FolderArchive(path)
    return ZipArchive(path) if zipfile.is_zipfile(path) else TarArchive(path)


@dataclass(frozen=True)
class FolderArchive:
    """An archive that was extracted to a folder."""

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
    """A zip file: members are read without reading those before them."""

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
        require_all_found(self.path, left)

    def streams(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
        with archive_errors(self.path), zipfile.ZipFile(self.path) as file:
            for name in filter(wanted, self.names()):
                with file.open(name) as stream:
                    yield name, stream


@dataclass(frozen=True)
class TarArchive:
    """A tar file, read from its beginning up to the last of the wanted members."""

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
        require_all_found(self.path, left)

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
                file.members = []  # type: ignore[attr-defined]  # or all headers stay in memory


@contextmanager
def archive_errors(path: Path) -> Iterator[None]:
    """Turn the exceptions of a broken archive into a `UserError`."""
    try:
        yield
    except ARCHIVE_EXCEPTIONS as error:
        message = str(error) or type(error).__name__
        raise UserError(f"{path} is broken or cut short: {message}") from None


def _strip_dot_slash(name: str) -> str:
    return name.removeprefix("./")


def _require_safe_path(path: Path, name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts:
        raise UserError(f"{path}: its member {name!r} lies outside the archive; nothing was read")


def _require_max_size(path: Path, name: str, size: int, compressed: int) -> None:
    if size > MAX_MEMBER_BYTES or size > MAX_COMPRESSION * max(compressed, 1024):
        raise UserError(
            f"{path}: its member {name} would swell from {compressed:,} to {size:,} bytes; "
            f"at most {MAX_MEMBER_BYTES:,} are read"
        )


def require_all_found(path: Path, missing: set[str], kind: str = "members") -> None:
    """Raise `UserError` if names are left that the archive at `path` does not have."""
    if missing:
        some = ", ".join(sorted(missing)[:3])
        raise UserError(f"{path}: {len(missing)} of its {kind} are missing: {some}")


@contextmanager
def open_gzip(path: Path) -> Iterator[gzip.GzipFile]:
    """Open a gzip file as a stream."""
    with archive_errors(path), gzip.open(path) as file:
        yield file


def find_file(files: Mapping[str, Path], *names: str) -> Path:
    """Return the first of those files that exists; raise `UserError` if none does."""
    for name in names:
        if name in files:
            return files[name]
    raise UserError(f"{' or '.join(names)} is not there; there is {', '.join(files) or 'nothing'}")


def folder_prefix(archive: Archive, top: str) -> str:
    """Return the prefix of names: the folder `top`, unless it was dropped in extraction."""
    if isinstance(archive, FolderArchive) and not (archive.path / top).is_dir():
        return ""
    return f"{top}/"


def read_text(path: Path, member: str, top: str = "") -> str:
    """Read a member of the archive at `path` as UTF-8."""
    archive = open_archive(path)
    full = folder_prefix(archive, top) + member if top else member
    [(_, content)] = archive.read([full])
    with parse_errors(path, full):
        return content.decode()


def read_images(path: Path, members: Mapping[str, K]) -> Iterator[tuple[K, bytes]]:
    """Yield the images of records; `members` maps names in the archive at `path` to keys."""
    for member, content in open_archive(path).read(members):
        yield members[member], content


def read_images_by_path_end(path: Path, ends: Mapping[str, K]) -> Iterator[tuple[K, bytes]]:
    """Yield the images of records; `ends` maps the ends of their paths in the archive to keys.

    They may be in any folder. Raises `UserError` for images that are missing or there twice.
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
    missing = sorted(ends.keys() - seen.keys())
    if missing:
        some = ", ".join(missing[:3])
        raise UserError(f"{path}: {len(missing):,} of {len(ends):,} images are missing: {some}")


def read_member(path: Path, name: str) -> bytes:
    """Read one file of the archive at `path`."""
    return dict(open_archive(path).read([name]))[name]


@contextmanager
def parse_errors(origin: object, member: str = "") -> Iterator[None]:
    """Turn a parser's exceptions for a file of another layout into a `UserError`."""
    try:
        yield
    except PARSE_EXCEPTIONS as error:
        where = f"{origin}: its member {member}" if member else str(origin)
        message = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{where} is not laid out as published ({message})") from None
