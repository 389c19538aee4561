"""Partial downloads, which survive failures and are resumed."""

import json
import os
from pathlib import Path
from types import TracebackType

from bench.config.source import SourceFile
from bench.prepare.downloads.checksums import (
    ByteProgress,
    check_contents,
    disk_errors,
    mark_verified,
    new_hasher,
    published_hash,
    read_head,
    require_hash,
    require_size,
)


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
            origin = json.loads(self.origin_path.read_text())
        except (OSError, ValueError):
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
            self.origin_path.write_text(json.dumps(origin) + "\n")
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
