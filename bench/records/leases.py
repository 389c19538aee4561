"""Leases on cells, so that concurrent runs that share a results folder never run a cell twice.

A lease is a small file that its holder renews. It expires `EXPIRY_SECONDS` after the last renewal,
or at once if its holder was a process of this machine that has ended.
"""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, time
from typing import Any

from filelock import FileLock

from bench.utils.files import write_atomically

LEASES_DIR = ".leases"  # not "claims", which are the papers' (results/claims.csv)
EXPIRY_SECONDS, RENEWAL_SECONDS = 300.0, 20.0  # seconds


@dataclass
class Leases:
    """The leases of a results folder, and those held by this process."""

    results: Path
    held: dict[str, dict[str, Any]] = field(default_factory=dict)  # cell -> content of its file
    last_renewal: float = 0.0

    @property
    def folder(self) -> Path:
        return self.results / LEASES_DIR

    def acquire(self, cell: str, info: dict[str, Any]) -> bool:
        """Acquire the lease on a cell; return False if another process holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            if _is_held(self._path(cell), self._now()):
                return False
            self.held[cell] = _this_process() | info
            self._write(cell)
            return True

    def update(self, cell: str, **more: Any) -> None:
        """Add information to a held lease; it is written at the next renewal."""
        if cell in self.held:
            self.held[cell] |= more

    def renew(self) -> None:
        """Renew all held leases, at most every `RENEWAL_SECONDS`."""
        if self.held and monotonic() - self.last_renewal > RENEWAL_SECONDS:
            self.last_renewal = monotonic()
            for cell in self.held:
                self._write(cell)

    def release(self, cell: str) -> None:
        """Release a held lease."""
        if self.held.pop(cell, None) is not None:
            self._path(cell).unlink(missing_ok=True)

    def revoke(self, cell: str, **info: Any) -> None:
        """Remove another process's lease with this information: its holder is known to be gone."""
        found = _read_lease(self._path(cell)) or {}
        if info.items() <= found.items():
            self._path(cell).unlink(missing_ok=True)

    def active(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the cells that have a live lease, with the information in it."""
        if self.folder.is_dir():
            now = self._now()
            for path in sorted(self.folder.glob("*.json")):
                info = _read_lease(path)
                if info is not None and _is_held(path, now):
                    yield path.stem, info

    def _path(self, cell: str) -> Path:
        return self.folder / f"{cell}.json"

    def _write(self, cell: str) -> None:
        write_atomically(self._path(cell), json.dumps(self.held[cell]).encode())

    def _now(self) -> float:
        """Return the time of the clock that stamps these files; it may be a file server's."""
        mark = self.folder / f".{platform.node()}-{os.getpid()}"
        with suppress(OSError):
            mark.touch()
            now = mark.stat().st_mtime
            mark.unlink(missing_ok=True)
            return now
        return time()


def _this_process() -> dict[str, Any]:
    return {"host": platform.node(), "pid": os.getpid()}


def _is_held(path: Path, now: float) -> bool:
    """Return whether the lease at `path` is live."""
    try:
        fresh = now - path.stat().st_mtime < EXPIRY_SECONDS
    except OSError:
        return False
    info = _read_lease(path)
    if info is None or not fresh:
        return False
    return info.get("host") != platform.node() or _is_alive(int(info.get("pid", 0)))


def _read_lease(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
