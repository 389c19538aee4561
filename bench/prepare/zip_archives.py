"""Zip files: members are read without reading those before them, and never extracted."""

import stat
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from bench.prepare.archive_contents import (
    FILE,
    FOLDER,
    Contents,
    Member,
    archive_errors,
    read_contents,
    require_max_size,
)
from bench.utils.errors import UserError
from bench.utils.files import file_stamps, open_regular_file

READABLE_METHODS = {
    zipfile.ZIP_STORED,
    zipfile.ZIP_DEFLATED,
    zipfile.ZIP_BZIP2,
    zipfile.ZIP_LZMA,
}
OTHER_METHODS = {  # of compression, by their numbers, for messages
    1: "Shrunk",
    6: "Imploded",
    9: "Deflate64",
    93: "Zstandard",
    95: "XZ",
    98: "PPMd",
    99: "AES encryption",
}
ENCRYPTED = 0x1  # flag
UNIX = 3  # a system whose zip files have file modes


def is_zip(path: Path) -> bool:
    """Return whether a file is a zip file."""
    with archive_errors(path), open_regular_file(path, follow_links=True) as file:
        return zipfile.is_zipfile(file)


@dataclass(frozen=True)
class ZipArchive:
    """A zip file."""

    path: Path

    def contents(self) -> Contents:
        """Return the table of contents."""
        return _read_contents(self.path, file_stamps([self.path]))

    def names(self) -> Iterator[str]:
        yield from self.contents().files

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        contents = self.contents()
        contents.require_files(wanted)
        chosen = {contents.files[name]: name for name in wanted}
        with _opened(self.path) as file:
            for name, info in _chosen(file, chosen):
                _require_readable(self.path, name, info)
                require_max_size(self.path, name, info.file_size, info.compress_size)
                content = file.read(info)
                if len(content) != info.file_size:
                    raise zipfile.BadZipFile(f"{name} has other bytes than its header says")
                yield name, content

    def streams(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
        chosen = {number: name for name, number in self.contents().files.items() if wanted(name)}
        with _opened(self.path) as file:
            for name, info in _chosen(file, chosen):
                _require_readable(self.path, name, info)
                with file.open(info) as stream:
                    yield name, stream


@lru_cache(maxsize=8)  # the archives of a source
def _read_contents(path: Path, stamps: tuple[tuple[int, ...], ...]) -> Contents:
    with _opened(path) as file:
        return read_contents(path, map(_describe, file.infolist()))


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    with (
        archive_errors(path),
        open_regular_file(path, follow_links=True) as raw,
        zipfile.ZipFile(raw) as file,
    ):
        yield file


def _chosen(
    file: zipfile.ZipFile, numbers: dict[int, str]
) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """Yield the members with those numbers, in the archive's order."""
    for number, info in enumerate(file.infolist()):
        if number in numbers:
            yield numbers[number], info


def _describe(info: zipfile.ZipInfo) -> Member:
    if info.is_dir():
        return Member(info.filename, FOLDER)
    is_link = info.create_system == UNIX and stat.S_ISLNK(info.external_attr >> 16)
    return Member(info.filename, "a link" if is_link else FILE)


def _require_readable(path: Path, name: str, info: zipfile.ZipInfo) -> None:
    """Raise `UserError` for a member that Python cannot decompress, with the way out."""
    method = info.compress_type
    problem = ""
    if info.volume:
        problem = "lies in another part of a split archive"
    elif info.flag_bits & ENCRYPTED:
        problem = "is encrypted with a password"
    elif method not in READABLE_METHODS:
        named = OTHER_METHODS.get(method, f"method {method}")
        problem = f"is compressed by {named}, which is not read here"
    if problem:
        raise UserError(
            f"{path}: its member {name} {problem}: extract the archive, with 7-Zip for example, "
            "and give the folder in its place"
        )
