"""Archives of sources: folders, zip and tar files, read alike and never extracted.

An archive's members are found by name, and some of them read.
"""

import gzip
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TypeVar

from bench.prepare.archive_contents import (
    FILE,
    MAX_MEMBER_BYTES,
    MAX_NAMED,
    Contents,
    Member,
    archive_errors,
    clean_name,
    parse_errors,
    read_contents,
    require_max_size,
)
from bench.prepare.tar_archives import TarArchive
from bench.prepare.zip_archives import ZipArchive, is_zip
from bench.utils.errors import UserError
from bench.utils.files import open_regular_file, read_regular_file

K = TypeVar("K")  # keys of records


class Archive(Protocol):
    """Files by name, with slashes as separators, in the archive's own order.

    Of several members with one name, the last counts. All methods raise `UserError` for an archive
    that is broken, or made to harm.
    """

    def contents(self) -> Contents:
        """Return the table of contents."""
        ...

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
    return ZipArchive(path) if is_zip(path) else TarArchive(path)


def member_warnings(task: str, archive: Archive, prefix: str = "") -> list[str]:
    """Return warnings about the members of an archive that a task comes from.

    Of members that are there several times, those whose names have the `prefix`.
    """
    if isinstance(archive, FolderArchive):
        return []
    return [f"W-MEMBERS {task}: {said}" for said in archive.contents().warnings(prefix)]


@dataclass(frozen=True)
class FolderArchive:
    """An archive that was extracted to a folder."""

    path: Path

    def contents(self) -> Contents:
        """Return the files below the folder, in the order of their paths."""
        with archive_errors(self.path):
            return read_contents(self.path, self._members())

    def names(self) -> Iterator[str]:
        yield from self.contents().files

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for name in sorted(wanted):
            yield name, self._read(clean_name(self.path, name))

    def streams(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
        for name in filter(wanted, self.names()):
            with (
                archive_errors(self.path / name),
                open_regular_file(self.path / name, follow_links=True) as stream,
            ):
                yield name, stream

    def _read(self, name: str) -> bytes:
        try:
            return read_regular_file(self.path / name, MAX_MEMBER_BYTES, follow_links=True)
        except OSError as error:
            raise UserError(f"{self.path}: {name} cannot be read: {error.strerror}") from None

    def _members(self) -> Iterator[Member]:
        for folder, below, files in os.walk(self.path, onerror=_raise):
            below.sort()
            for file in sorted(files):
                yield Member((Path(folder) / file).relative_to(self.path).as_posix(), FILE)


def _raise(error: OSError) -> None:
    raise error


@contextmanager
def open_gzip(path: Path) -> Iterator[gzip.GzipFile]:
    """Open a gzip file as a stream."""
    with (
        archive_errors(path),
        open_regular_file(path, follow_links=True) as raw,
        gzip.GzipFile(fileobj=raw) as file,
    ):
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
            content = stream.read(MAX_MEMBER_BYTES + 1)
            require_max_size(path, name, len(content), len(content))
            yield ends[end_of(name)], content
    missing = sorted(ends.keys() - seen.keys())
    if missing:
        some = ", ".join(missing[:MAX_NAMED])
        raise UserError(f"{path}: {len(missing):,} of {len(ends):,} images are missing: {some}")


def read_member(path: Path, name: str) -> bytes:
    """Read one file of the archive at `path`."""
    return dict(open_archive(path).read([name]))[name]
