"""Downloaded files: partial files, which survive failures and are resumed, and their checksums."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from types import TracebackType

from bench.config.suite import SourceFile
from bench.utils.errors import UserError
from bench.utils.files import open_regular_file, read_regular_file

ByteProgress = Callable[[str, int, int], None]  # name, bytes done, bytes in all (0: unknown)
CHUNK_BYTES = 2**20
MIN_INTERVAL = 0.1  # seconds between two calls of a `ByteProgress`
MAX_NOTE_BYTES = 2**16  # of what is noted about a file, in JSON
HEAD_BYTES = 512  # enough to distinguish a web page from an archive
PAGE_PATTERNS = {
    "html": ("text/html", re.compile(rb"<(!doctype html|html|head|title|body|script|meta|!--)")),
    "xml": ("application/xml", re.compile(rb"<(\?xml|error|rss|svg)")),
    "json": ("application/json", re.compile(rb"\{\s*[\"}]|\[\s*[\[{\"\]]")),
}


class FileMismatch(UserError):
    """A file differs from the card's size or hash, or is an error page."""


class ThrottledProgress:
    """Calls a `ByteProgress` at the start, at the end, and at limited frequency in between."""

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
    """Raise `FileMismatch` unless `path` is `file`; extracted folders are not checked.

    A file that passes is recorded in ``<name>.verified``, and not hashed again until it changes.
    """
    if not path.is_dir() and not is_verified(file, path):
        with disk_errors(path, "read"):
            state = path.stat()  # before reading, so that a later change invalidates the record
        check_contents(file, path, progress)
        mark_verified(file, path, state)


def check_contents(file: SourceFile, path: Path, progress: ByteProgress) -> None:
    """Raise `FileMismatch` unless `path` has the size and the hash of `file`."""
    with disk_errors(path, "read"):
        require_size(file, path.stat().st_size, read_head(path))
        kind, _ = published_hash(file)
        if kind:
            require_hash(file, hash_file(kind, path, progress, file.name))


def require_size(file: SourceFile, size: int, head: bytes) -> None:
    """Raise `FileMismatch` if a size or a file's first bytes, `head`, cannot be those of `file`."""
    page = error_page_type(file.name, head)
    if size != file.bytes if file.bytes else page:
        given = f"{format_bytes(size)} of {page} (an error page?)" if page else f"{size:,} bytes"
        raise FileMismatch(f"E-HASH {file.name}: {given}, expected {describe_expected(file)}")


def require_hash(file: SourceFile, given: str) -> None:
    """Raise `FileMismatch` if `given` is not the published hash of `file`."""
    kind, expected = published_hash(file)
    if given != expected:
        size = f"{file.bytes:,} bytes" if file.bytes else "a file"
        raise FileMismatch(
            f"E-HASH {file.name}: {size} of {kind} {given}, expected {kind} {expected}"
        )


def published_hash(file: SourceFile) -> tuple[str, str]:
    """Return the kind of the card's hash, and the hash; both are empty if it has none.

    >>> published_hash(SourceFile("a.zip", md5="90015098", how="ask"))
    ('md5', '90015098')
    """
    kind = "sha256" if file.sha256 else "md5" if file.md5 else ""
    return kind, getattr(file, kind).lower() if kind else ""


def describe_expected(file: SourceFile) -> str:
    """Describe the file that the card expects."""
    kind, expected = published_hash(file)
    size = f"{file.bytes:,} bytes" if file.bytes else ""
    return ", ".join(filter(None, (size, f"{kind} {expected}".strip()))) or "an archive"


def error_page_type(name: str, head: bytes) -> str:
    """Return the media type of a page that a server sent instead of the file `name`, or "".

    >>> error_page_type("images.zip", b"\\n<!DOCTYPE html><title>Quota exceeded")
    'text/html'
    """
    plain = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for suffix, (media, pattern) in PAGE_PATTERNS.items():
        if pattern.match(plain) and not name.lower().endswith(f".{suffix}"):
            return media
    return ""


def read_head(path: Path) -> bytes:
    """Read the first bytes of a file."""
    with open_regular_file(path, follow_links=True) as stream:
        return stream.read(HEAD_BYTES)


def new_hasher(kind: str) -> "hashlib._Hash":
    """Return a new hash object; used for integrity, not for security."""
    return hashlib.new(kind, usedforsecurity=False)


def hash_file(kind: str, path: Path, progress: ByteProgress, name: str) -> str:
    """Hash a file, and report progress."""
    hasher, buffer, done = new_hasher(kind), memoryview(bytearray(CHUNK_BYTES)), 0
    with open_regular_file(path, follow_links=True) as stream:
        size = os.fstat(stream.fileno()).st_size
        meter = ThrottledProgress(progress, f"checking {name}", 0, size)
        while count := stream.readinto(buffer):
            hasher.update(buffer[:count])
            meter(done := done + count)
    meter.end(done)
    return hasher.hexdigest()


def is_verified(file: SourceFile, path: Path) -> bool:
    """Return whether this file, unchanged since, was verified against the card's hash."""
    with suppress(OSError, ValueError, RecursionError):
        return bool(
            json.loads(read_regular_file(_verified_path(path), MAX_NOTE_BYTES))
            == _verified_state(file, path.stat())
        )
    return False


def mark_verified(file: SourceFile, path: Path, state: os.stat_result) -> None:
    """Record that the file at `path`, in this `state`, has the card's hash."""
    with suppress(OSError):  # in a read-only folder, files are hashed each time
        _verified_path(path).write_text(
            json.dumps(_verified_state(file, state)) + "\n", encoding="utf-8"
        )


def _verified_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")


def _verified_state(file: SourceFile, state: os.stat_result) -> dict[str, int | str]:
    kind, expected = published_hash(file)
    return {"size": state.st_size, "mtime_ns": state.st_mtime_ns, kind or "hash": expected}


@contextmanager
def disk_errors(path: Path, what: str) -> Iterator[None]:
    """Turn an `OSError` into a `UserError`: `path` cannot be read or written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be {what}: {error.strerror or error}") from None


def format_bytes(size: float) -> str:
    """Format a number of bytes in the largest suitable unit.

    >>> format_bytes(39_077_296_924)
    '39.1 GB'
    """
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} bytes"


class PartialFile:
    """The bytes so far, ``<name>.part``, and their origin, ``<name>.part.json``.

    Writes are unbuffered, so that a killed process loses no byte.
    """

    def __init__(self, file: SourceFile, path: Path):
        self.file, self.final = file, path
        self.path = path.with_name(f"{path.name}.part")
        self.origin_path = path.with_name(f"{path.name}.part.json")
        with disk_errors(self.path, "written"):
            self.stream = self.path.open("a+b", buffering=0)
            self.size = os.fstat(self.stream.fileno()).st_size
        self.recorded_origin = self.origin()
        self._reset_hash()

    def __enter__(self) -> "PartialFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stream.close()
        if not self.size:
            self.path.unlink(missing_ok=True)
            self.origin_path.unlink(missing_ok=True)

    def origin(self) -> dict[str, str]:
        """Return the url, etag and modification date of the bytes' origin; empty if unknown."""
        try:
            origin = json.loads(read_regular_file(self.origin_path, MAX_NOTE_BYTES))
        except (OSError, ValueError, RecursionError):
            return {}
        return origin if isinstance(origin, dict) else {}

    def write(self, at: int, chunk: bytes, origin: dict[str, str]) -> None:
        """Write `chunk`, from `origin`, at offset `at`, which must not be beyond the end.

        Bytes already there are compared and only dropped from a difference on. So a file that is
        sent from its beginning again loses no progress until it exceeds it.
        """
        with disk_errors(self.path, "written"):
            old = os.pread(self.stream.fileno(), len(chunk), at) if at < self.size else b""
            if not chunk.startswith(old):
                self.truncate(at)
                old = b""
            if len(old) < len(chunk):
                self._append(memoryview(chunk)[len(old) :], origin)
        self._update_hash(at, chunk)

    def truncate(self, size: int) -> None:
        """Drop the bytes from offset `size` on."""
        if size < self.size:
            with disk_errors(self.path, "written"):
                self.stream.truncate(size)
            self.size = size
        if size < self.hashed:
            self._reset_hash()

    def check(self, progress: ByteProgress) -> None:
        """Raise `FileMismatch` unless the file is complete; a resumed file is read for its hash."""
        if self.hash is None or self.hashed < self.size:
            return check_contents(self.file, self.path, progress)
        require_size(self.file, self.size, read_head(self.path))
        return require_hash(self.file, self.hash.hexdigest())

    def finish(self) -> None:
        """Rename the checked file to its final name."""
        with disk_errors(self.final, "written"):
            os.fsync(self.stream.fileno())
            os.replace(self.path, self.final)
            self.origin_path.unlink(missing_ok=True)
            mark_verified(self.file, self.final, self.final.stat())

    def _append(self, rest: memoryview, origin: dict[str, str]) -> None:
        if self.recorded_origin != origin:
            self.origin_path.write_text(json.dumps(origin) + "\n", encoding="utf-8")
            self.recorded_origin = origin
        while rest:
            count = self.stream.write(rest)
            self.size += count
            rest = rest[count:]

    def _reset_hash(self) -> None:
        kind, _ = published_hash(self.file)
        self.hash, self.hashed = new_hasher(kind) if kind else None, 0

    def _update_hash(self, at: int, chunk: bytes) -> None:
        """Hash a chunk as it is written, unless bytes before it were written by another process."""
        if self.hash is not None and at <= self.hashed < at + len(chunk):
            self.hash.update(memoryview(chunk)[self.hashed - at :])
            self.hashed = at + len(chunk)
