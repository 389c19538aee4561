"""Whether a file is the one that its source's card names: its size, then its hash."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

from bench.config.source import SourceFile
from bench.utils.errors import UserError

ByteProgress = Callable[[str, int, int], None]  # name, bytes done, bytes in all (0: not known)
CHUNK_BYTES = 2**20
MIN_INTERVAL = 0.1  # seconds between two calls of a Progress
HEAD_BYTES = 512  # bytes that tell a page from an archive
PAGE_PATTERNS = {
    "html": ("text/html", re.compile(rb"<(!doctype html|html|head|title|body|script|meta|!--)")),
    "xml": ("application/xml", re.compile(rb"<(\?xml|error|rss|svg)")),
    "json": ("application/json", re.compile(rb"\{\s*[\"}]|\[\s*[\[{\"\]]")),
}


class FileMismatch(UserError):
    """A file is not the one that its card names."""


class ThrottledProgress:
    """Calls a `Progress` when it begins and ends, and between these not too often."""

    def __init__(self, progress: ByteProgress, name: str, done: int, total: int):
        self.progress, self.name, self.total, self.last = progress, name, total, monotonic()
        progress(name, done, total)

    def __call__(self, done: int) -> None:
        if done != self.total and monotonic() - self.last >= MIN_INTERVAL:
            self.last = monotonic()
            self.progress(self.name, done, self.total)

    def end(self, done: int) -> None:
        self.progress(self.name, done, done)


def verify(file: SourceFile, path: Path, progress: ByteProgress) -> None:
    """Raise `Wrong` unless `path` is `file`; what a folder there holds is not looked at.

    A file that passes is not hashed again until it changes: ``<name>.verified`` remembers it.
    """
    if not path.is_dir() and not is_verified(file, path):
        with disk_errors(path, "read"):
            state = path.stat()  # before it is read: a change meanwhile is not remembered as sound
        check_contents(file, path, progress)
        mark_verified(file, path, state)


def check_contents(file: SourceFile, path: Path, progress: ByteProgress) -> None:
    """Raise `Wrong` unless `path` has the size and the hash of `file`."""
    with disk_errors(path, "read"):
        require_size(file, path.stat().st_size, read_head(path))
        kind, _ = published_hash(file)
        if kind:
            require_hash(file, hash_file(kind, path, progress, file.name))


def require_size(file: SourceFile, size: int, begins: bytes) -> None:
    """Raise `Wrong` where a file of so many bytes, of which `begins` are the first, is not it."""
    page = error_page_type(file.name, begins)
    if size != file.bytes if file.bytes else page:
        given = f"{format_bytes(size)} of {page} (an error page?)" if page else f"{size:,} bytes"
        raise FileMismatch(f"E-HASH {file.name}: {given}, expected {describe_expected(file)}")


def require_hash(file: SourceFile, found: str) -> None:
    """Raise `Wrong` where `found` is not the published hash of `file`."""
    kind, wanted = published_hash(file)
    if found != wanted:
        size = f"{file.bytes:,} bytes" if file.bytes else "a file"
        raise FileMismatch(
            f"E-HASH {file.name}: {size} of {kind} {found}, expected {kind} {wanted}"
        )


def published_hash(file: SourceFile) -> tuple[str, str]:
    """The kind of the hash that the card gives, and the hash; both are empty where it gives none.

    >>> published(File("a.zip", md5="90015098", how="ask"))
    ('md5', '90015098')
    """
    kind = "sha256" if file.sha256 else "md5" if file.md5 else ""
    return kind, getattr(file, kind).lower() if kind else ""


def describe_expected(file: SourceFile) -> str:
    """What the card says of a file, in words."""
    kind, wanted = published_hash(file)
    size = f"{file.bytes:,} bytes" if file.bytes else ""
    return ", ".join(filter(None, (size, f"{kind} {wanted}".strip()))) or "an archive"


def error_page_type(name: str, begins: bytes) -> str:
    """The media type of a page that a server gave in place of the file `name`, or nothing.

    >>> page_type("images.zip", b"\\n<!DOCTYPE html><title>Quota exceeded")
    'text/html'
    """
    plain = begins.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for suffix, (media, pattern) in PAGE_PATTERNS.items():
        if pattern.match(plain) and not name.lower().endswith(f".{suffix}"):
            return media
    return ""


def read_head(path: Path) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as opened:
        return opened.read(HEAD_BYTES)


def new_hasher(kind: str) -> "hashlib._Hash":
    """A new hash of that kind; none of them guards a secret."""
    return hashlib.new(kind, usedforsecurity=False)


def hash_file(kind: str, path: Path, progress: ByteProgress, name: str) -> str:
    """The hash of a file, read once from its beginning to its end."""
    made, buffer, done = new_hasher(kind), memoryview(bytearray(CHUNK_BYTES)), 0
    with path.open("rb", buffering=0) as opened:
        meter = ThrottledProgress(
            progress, f"checking {name}", 0, os.fstat(opened.fileno()).st_size
        )
        while count := opened.readinto(buffer):
            made.update(buffer[:count])
            meter(done := done + count)
    meter.end(done)
    return made.hexdigest()


def is_verified(file: SourceFile, path: Path) -> bool:
    """Whether this very file was found to have the hash that the card gives."""
    with suppress(OSError, ValueError):
        return bool(
            json.loads(_verified_path(path).read_text()) == _verified_state(file, path.stat())
        )
    return False


def mark_verified(file: SourceFile, path: Path, state: os.stat_result) -> None:
    """Note that the file at `path`, when it was in `state`, had the hash that the card gives."""
    with suppress(OSError):  # a folder that is only read is hashed each time, and still of use
        _verified_path(path).write_text(json.dumps(_verified_state(file, state)) + "\n")


def _verified_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")


def _verified_state(file: SourceFile, state: os.stat_result) -> dict[str, int | str]:
    kind, wanted = published_hash(file)
    return {"size": state.st_size, "mtime_ns": state.st_mtime_ns, kind or "hash": wanted}


@contextmanager
def disk_errors(path: Path, what: str) -> Iterator[None]:
    """What the file system refuses, as one sentence: `path` cannot be read or written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be {what}: {error.strerror or error}") from None


def format_bytes(size: float) -> str:
    """Bytes in the unit that reads best.

    >>> amount(39_077_296_924)
    '39.1 GB'
    """
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} bytes"
