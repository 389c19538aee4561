"""The table of contents of an archive, and the errors of archives that are broken or made to harm.

A name counts for the last member that has it, as it does in extraction. A member whose path leads
out of its archive, whose name is not UTF-8, or that decompresses to an unreasonable size, is
refused.
"""

import csv
import lzma
import posixpath
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from bench.utils.errors import UserError, first_line

FILE, FOLDER = "a file", "a folder"  # kinds of members; others are links, devices and so on
MAX_MEMBERS = 5_000_000
MAX_MEMBER_BYTES = 512 * 2**20
MAX_COMPRESSION = 1000  # ratio beyond which a member of a zip counts as a decompression bomb
MAX_TOTAL_COMPRESSION = 200  # that of a whole file, if it decompresses to more than this:
FREE_BYTES = 2**30
MAX_NAMED = 3  # names in a sentence
ARCHIVE_EXCEPTIONS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    ArithmeticError,
    RuntimeError,
)
# raised by parsers for a file of another layout
PARSE_EXCEPTIONS = (*ARCHIVE_EXCEPTIONS, TypeError, AttributeError, MemoryError, csv.Error)


class Member(NamedTuple):
    """A member of an archive, as its table of contents has it."""

    name: str
    kind: str  # FILE, FOLDER, or what else it is


@dataclass
class Contents:
    """The files of an archive by name, each with the number of the member that counts."""

    path: Path  # of the archive
    files: dict[str, int] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)  # links, devices and so on: name -> kind
    repeated: dict[str, None] = field(default_factory=dict)  # names of several members
    notes: list[str] = field(default_factory=list)  # about the archive as a whole

    def require_files(self, wanted: Iterable[str]) -> None:
        """Raise `UserError` for names that are missing, or that are not files."""
        missing = set(wanted) - self.files.keys()
        for name in sorted(missing & self.others.keys()):
            raise UserError(
                f"{self.path}: its member {name} is {self.others[name]}; a file was expected: "
                "extract the archive and pack its files again, or give the folder"
            )
        require_all_found(self.path, missing)

    def warnings(self, prefix: str = "") -> Iterator[str]:
        """Yield sentences on what extraction would pass over; of members, those with a prefix."""
        again = [name for name in self.repeated if name.startswith(prefix)]
        if again:
            yield (
                f"{self.path}: {len(again):,} names stand for several members, of which the last "
                f"counts, as in extraction: {_some(again)}"
            )
        yield from (f"{self.path}: {note}" for note in self.notes)


def read_contents(path: Path, members: Iterable[Member]) -> Contents:
    """Read the table of contents of the archive at `path`; raise `UserError` for a harmful one."""
    found = Contents(path)
    folders: set[str] = set()
    for number, member in enumerate(members):
        if number >= MAX_MEMBERS:
            raise UserError(f"{path} holds more than {MAX_MEMBERS:,} members")
        name = clean_name(path, member.name)
        if member.kind == FOLDER:
            folders.add(name)
            continue
        if found.files.pop(name, None) is not None or found.others.pop(name, ""):
            found.repeated[name] = None
        if member.kind == FILE:
            found.files[name] = number
        else:
            found.others[name] = member.kind
    _require_no_clash(found, folders)
    return found


def _require_no_clash(found: Contents, folders: set[str]) -> None:
    """Raise `UserError` for a name that is that of a file and that of a folder."""
    parents = {posixpath.dirname(name) for name in found.files}
    for parent in parents - {""}:
        folders.update(accumulate(parent.split("/"), posixpath.join))
    for name in sorted(folders & found.files.keys()):
        raise UserError(f"{found.path} holds {name} both as a file and as a folder")


def clean_name(path: Path, name: str) -> str:
    """Return a member's name as files are called; raise `UserError` for one that none may have."""
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        raise UserError(f"{path}: the name of its member {shown} is not UTF-8; rename it") from None
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts:
        raise UserError(f"{path}: its member {name!r} lies outside the archive; nothing was read")
    return posixpath.normpath(name)


def require_max_size(path: Path, name: str, size: int, compressed: int) -> None:
    """Raise `UserError` for a member that is too large to be read into memory."""
    if size > MAX_MEMBER_BYTES or size > MAX_COMPRESSION * max(compressed, 1024):
        raise UserError(
            f"{path}: its member {name} would expand from {compressed:,} to {size:,} bytes; "
            f"at most {MAX_MEMBER_BYTES:,} are read"
        )


def max_unpacked_size(compressed: int) -> int:
    """Return to how many bytes a compressed file may decompress."""
    return max(FREE_BYTES, MAX_TOTAL_COMPRESSION * compressed)


def require_all_found(path: Path, missing: set[str], kind: str = "members") -> None:
    """Raise `UserError` if names are left that the archive at `path` does not have."""
    if missing:
        raise UserError(f"{path}: {len(missing)} of its {kind} are missing: {_some(missing)}")


def _some(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:MAX_NAMED])


@contextmanager
def archive_errors(path: Path) -> Iterator[None]:
    """Turn the exceptions of a broken archive into a `UserError`."""
    try:
        yield
    except ARCHIVE_EXCEPTIONS as error:
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"{path} cannot be read: {error.strerror}") from None
        raise UserError(f"{path} is corrupt or truncated: {first_line(error)}") from None


@contextmanager
def parse_errors(origin: object, member: str = "") -> Iterator[None]:
    """Turn a parser's exceptions for a file of another layout into a `UserError`."""
    try:
        yield
    except PARSE_EXCEPTIONS as error:
        where = f"{origin}: its member {member}" if member else str(origin)
        message = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{where} is not laid out as published ({message})") from None


@contextmanager
def library_errors(origin: object) -> Iterator[None]:
    """Convert any exception of a library that reads an untrusted file into a `UserError`.

    The readers of SciPy, HDF5 and pickle check little, and fail in ways that none of them
    documents, such as an unbound variable.
    """
    try:
        with parse_errors(origin):
            yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{origin} cannot be read: {first_line(error)}") from None
