"""Whether a file is the one that its source's card names: its size, then its hash."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

from bench.errors import UserError
from bench.sources import File

Progress = Callable[[str, int, int], None]  # name, bytes done, bytes in all (0: not known)
CHUNK = 2**20
OFTEN = 0.1  # seconds between two calls of a Progress
HEAD = 512  # bytes that tell a page from an archive
PAGES = {
    "html": ("text/html", re.compile(rb"<(!doctype html|html|head|title|body|script|meta|!--)")),
    "xml": ("application/xml", re.compile(rb"<(\?xml|error|rss|svg)")),
    "json": ("application/json", re.compile(rb"\{\s*[\"}]|\[\s*[\[{\"\]]")),
}


class Wrong(UserError):
    """A file is not the one that its card names."""


class Meter:
    """Calls a `Progress` when it begins and ends, and between these not too often."""

    def __init__(self, progress: Progress, name: str, done: int, total: int):
        self.progress, self.name, self.total, self.last = progress, name, total, monotonic()
        progress(name, done, total)

    def __call__(self, done: int) -> None:
        if done != self.total and monotonic() - self.last >= OFTEN:
            self.last = monotonic()
            self.progress(self.name, done, self.total)

    def end(self, done: int) -> None:
        self.progress(self.name, done, done)


def verify(file: File, path: Path, progress: Progress) -> None:
    """Raise `Wrong` unless `path` is `file`; what a folder there holds is not looked at.

    A file that passes is not hashed again until it changes: ``<name>.verified`` remembers it.
    """
    if not path.is_dir() and not remembered(file, path):
        with on_disk(path, "read"):
            state = path.stat()  # before it is read: a change meanwhile is not remembered as sound
        inspect(file, path, progress)
        remember(file, path, state)


def inspect(file: File, path: Path, progress: Progress) -> None:
    """Raise `Wrong` unless `path` has the size and the hash of `file`."""
    with on_disk(path, "read"):
        require_size(file, path.stat().st_size, head(path))
        kind, _ = published(file)
        if kind:
            require_hash(file, digest(kind, path, progress, file.name))


def require_size(file: File, size: int, begins: bytes) -> None:
    """Raise `Wrong` where a file of so many bytes, of which `begins` are the first, is not it."""
    page = page_type(file.name, begins)
    if size != file.bytes if file.bytes else page:
        given = f"{amount(size)} of {page} (an error page?)" if page else f"{size:,} bytes"
        raise Wrong(f"E-HASH {file.name}: {given}, expected {expected(file)}")


def require_hash(file: File, found: str) -> None:
    """Raise `Wrong` where `found` is not the published hash of `file`."""
    kind, wanted = published(file)
    if found != wanted:
        size = f"{file.bytes:,} bytes" if file.bytes else "a file"
        raise Wrong(f"E-HASH {file.name}: {size} of {kind} {found}, expected {kind} {wanted}")


def published(file: File) -> tuple[str, str]:
    """The kind of the hash that the card gives, and the hash; both are empty where it gives none.

    >>> published(File("a.zip", md5="90015098", how="ask"))
    ('md5', '90015098')
    """
    kind = "sha256" if file.sha256 else "md5" if file.md5 else ""
    return kind, getattr(file, kind).lower() if kind else ""


def expected(file: File) -> str:
    """What the card says of a file, in words."""
    kind, wanted = published(file)
    size = f"{file.bytes:,} bytes" if file.bytes else ""
    return ", ".join(filter(None, (size, f"{kind} {wanted}".strip()))) or "an archive"


def page_type(name: str, begins: bytes) -> str:
    """The media type of a page that a server gave in place of the file `name`, or nothing.

    >>> page_type("images.zip", b"\\n<!DOCTYPE html><title>Quota exceeded")
    'text/html'
    """
    plain = begins.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for suffix, (media, pattern) in PAGES.items():
        if pattern.match(plain) and not name.lower().endswith(f".{suffix}"):
            return media
    return ""


def head(path: Path) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as opened:
        return opened.read(HEAD)


def hasher(kind: str) -> "hashlib._Hash":
    """A new hash of that kind; none of them guards a secret."""
    return hashlib.new(kind, usedforsecurity=False)


def digest(kind: str, path: Path, progress: Progress, name: str) -> str:
    """The hash of a file, read once from its beginning to its end."""
    made, buffer, done = hasher(kind), memoryview(bytearray(CHUNK)), 0
    with path.open("rb", buffering=0) as opened:
        meter = Meter(progress, f"checking {name}", 0, os.fstat(opened.fileno()).st_size)
        while count := opened.readinto(buffer):
            made.update(buffer[:count])
            meter(done := done + count)
    meter.end(done)
    return made.hexdigest()


def remembered(file: File, path: Path) -> bool:
    """Whether this very file was found to have the hash that the card gives."""
    with suppress(OSError, ValueError):
        return bool(json.loads(_note(path).read_text()) == _facts(file, path.stat()))
    return False


def remember(file: File, path: Path, state: os.stat_result) -> None:
    """Note that the file at `path`, when it was in `state`, had the hash that the card gives."""
    with suppress(OSError):  # a folder that is only read is hashed each time, and still of use
        _note(path).write_text(json.dumps(_facts(file, state)) + "\n")


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")


def _facts(file: File, state: os.stat_result) -> dict[str, int | str]:
    kind, wanted = published(file)
    return {"size": state.st_size, "mtime_ns": state.st_mtime_ns, kind or "hash": wanted}


@contextmanager
def on_disk(path: Path, what: str) -> Iterator[None]:
    """What the file system refuses, as one sentence: `path` cannot be read or written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be {what}: {error.strerror or error}") from None


def amount(size: float) -> str:
    """Bytes in the unit that reads best.

    >>> amount(39_077_296_924)
    '39.1 GB'
    """
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} bytes"
