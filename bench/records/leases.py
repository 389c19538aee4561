"""Claims on cells, so that several runs share one results folder without doing a cell twice.

A claim is a small file that its holder renews; one that is not renewed for `EXPIRES` seconds, or
whose holder on this very machine is no more, is nobody's.
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
    """The claims in a results folder, and those among them that this process holds."""

    results: Path
    held: dict[str, dict[str, Any]] = field(default_factory=dict)  # what is told of each
    last_renewal: float = 0.0

    @property
    def folder(self) -> Path:
        return self.results / LEASES_DIR

    def acquire(self, cell: str, told: dict[str, Any]) -> bool:
        """Claim a cell; False where another holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            if _is_held(self._path(cell), self._now()):
                return False
            self.held[cell] = _this_process() | told
            self._write(cell)
            return True

    def update(self, cell: str, **more: Any) -> None:
        """Say more of a held claim, when it is renewed next."""
        if cell in self.held:
            self.held[cell] |= more

    def renew(self) -> None:
        """Keep what is held; does nothing where that was done a moment ago."""
        if self.held and monotonic() - self.last_renewal > RENEWAL_SECONDS:
            self.last_renewal = monotonic()
            for cell in self.held:
                self._write(cell)

    def release(self, cell: str) -> None:
        """Give a held claim up."""
        if self.held.pop(cell, None) is not None:
            self._path(cell).unlink(missing_ok=True)

    def revoke(self, cell: str, **told: Any) -> None:
        """Remove another's claim that tells this, because its holder is known to be no more."""
        found = _read_lease(self._path(cell)) or {}
        if told.items() <= found.items():
            self._path(cell).unlink(missing_ok=True)

    def active(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every claim that somebody holds, by cell, with what its holder tells."""
        if self.folder.is_dir():
            now = self._now()
            for path in sorted(self.folder.glob("*.json")):
                told = _read_lease(path)
                if told is not None and _is_held(path, now):
                    yield path.stem, told

    def _path(self, cell: str) -> Path:
        return self.folder / f"{cell}.json"

    def _write(self, cell: str) -> None:
        write_atomically(self._path(cell), json.dumps(self.held[cell]).encode())

    def _now(self) -> float:
        """The time by the clock that stamps these files, which may be another machine's."""
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
    """Whether somebody holds the claim at `path`."""
    try:
        fresh = now - path.stat().st_mtime < EXPIRY_SECONDS
    except OSError:
        return False
    told = _read_lease(path)
    if told is None or not fresh:
        return False
    return told.get("host") != platform.node() or _is_alive(int(told.get("pid", 0)))


def _read_lease(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
