"""Leases on cells, so that concurrent runs that share a results folder never run a cell twice.

A lease is a small file that its holder renews. It expires `EXPIRY_SECONDS` after the last renewal,
or at once if its holder was a process of this machine that has ended. What cannot be read as a
lease, or is stamped with a time to come, counts as expired: nobody would ever renew or release it.
"""

import os
import platform
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, time, time_ns
from typing import Annotated, Any

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from bench.records import entries, parsing, serialising
from bench.records.markers import Table, Whole
from bench.utils import folders, strict_json
from bench.utils.errors import UserError, reason
from bench.utils.files import read_regular_file, write_atomically
from bench.utils.text import format_duration

LEASES_DIR = ".leases"  # not "claims", which are the papers' (results/claims.csv)
EXPIRY_SECONDS, RENEWAL_SECONDS = 300.0, 20.0  # seconds
# Files that share a server are stamped by its clock, but for some file systems (Lustre), where the
# writer's clock counts. Kerberos takes clocks to differ by as much at most.
MAX_CLOCK_SKEW = 300.0  # seconds
LOCK_SECONDS = 300.0  # a lock is held for milliseconds
MAX_LEASE_BYTES = 2**16
CELL_NAME = re.compile("[0-9a-f]{16}")
LeaseInfo = Annotated[
    dict[str, Any],
    Table(
        {"host": entries.Line, "pid": Annotated[int, Whole(1, 2**31 - 1)]},
        {
            "cell": entries.Line,
            "bundle": entries.Line,  # of a Slurm job
            "epoch": entries.EpochsOrNone,
            "epochs": entries.EpochsOrNone,
        },
        others="ignore",  # of a later version
    ),
]
_info_adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(LeaseInfo)


@dataclass
class Leases:
    """The leases of a results folder, and those held by this process."""

    results: Path
    held: dict[str, dict[str, Any]] = field(default_factory=dict)  # cell -> content of its file
    last_renewal: float = 0.0
    _odd: set[Path] = field(default_factory=set)  # files in the place of leases
    _problems: list[str] = field(default_factory=list)  # a sentence for each, until it is taken

    @property
    def folder(self) -> Path:
        return self.results / LEASES_DIR

    def acquire(self, cell: str, info: dict[str, Any]) -> bool:
        """Acquire the lease on a cell; return False if another process holds it.

        Raises `UserError` if the folder's lock is no file, or is held for minutes.
        """
        with self._lock():
            if self._live_info(self._path(cell), self._now()) is not None:
                return False
            self.held[cell] = _this_process() | info
            self._set_folder_aside(self._path(cell))
            self._write(cell)
            return True

    def take_problems(self) -> list[str]:
        """Return a sentence for each file found in the place of a lease, once in all."""
        new, self._problems = self._problems, []
        return new

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
        path = self._path(cell)
        with suppress(OSError, ValueError):
            if info.items() <= _read_info(path).items():
                path.unlink(missing_ok=True)

    def active(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the cells that have a live lease, with the information in it."""
        folders.require_inside(self.results, self.folder / "any")
        if self.folder.is_dir():
            now = self._now()
            for path in sorted(self.folder.glob("*.json")):
                if not CELL_NAME.fullmatch(path.stem):
                    self._note(path, "its name is not that of a cell")
                elif (info := self._live_info(path, now)) is not None:
                    yield path.stem, info

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the lock of the folder; raises `UserError` where that cannot be."""
        path = self.folder / ".lock"
        folders.require_inside(self.results, path)
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
            raise UserError(f"{path} is not a regular file: remove it, and start again")
        lock = FileLock(path)
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise UserError(
                f"{path} has been locked by another process for "
                f"{format_duration(LOCK_SECONDS)}: find out which (`fuser {path}`), and end it"
            ) from None
        except NotImplementedError:
            raise UserError(f"{path} is on a file system without locks: results need one") from None
        try:
            yield
        finally:
            lock.release()

    def _live_info(self, path: Path, now: float) -> dict[str, Any] | None:
        """Return the content of a live lease, or None; note why where the file is no lease."""
        try:
            info, age = _read_info(path), now - path.stat().st_mtime
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._note(path, reason(error))
            return None
        if age < -MAX_CLOCK_SKEW:
            self._note(path, f"it was written {format_duration(-age)} from now")
        is_fresh = -MAX_CLOCK_SKEW <= age < EXPIRY_SECONDS
        is_here = info["host"] == platform.node()
        return info if is_fresh and not (is_here and not _is_alive(info["pid"])) else None

    def _note(self, path: Path, why: str) -> None:
        if path not in self._odd:
            self._odd.add(path)
            self._problems.append(f"{path} is taken for an expired lease: {why}")

    def _path(self, cell: str) -> Path:
        return self.folder / f"{cell}.json"

    def _set_folder_aside(self, path: Path) -> None:
        """Rename a folder in the place of a lease, which no file could replace."""
        if path.is_dir() and not path.is_symlink():
            path.rename(path.with_name(f".{path.stem}-{time_ns()}"))

    def _write(self, cell: str) -> None:
        write_atomically(self._path(cell), serialising.lease_to_json(self.held[cell]))

    def _now(self) -> float:
        """Return the time of the clock that stamps these files; it may be a file server's."""
        with suppress(OSError), tempfile.NamedTemporaryFile(dir=self.folder, prefix=".now-") as new:
            return os.fstat(new.fileno()).st_mtime
        return time()


def _this_process() -> dict[str, Any]:
    return {"host": platform.node(), "pid": os.getpid()}


def _read_info(path: Path) -> dict[str, Any]:
    """Read a lease; raises `OSError` or `ValueError` if it is not one."""
    content = read_regular_file(path, MAX_LEASE_BYTES)
    strict_json.parse(content)
    return parsing.validate_json(_info_adapter, content)


def _is_alive(pid: int) -> bool:
    """Return whether a process of this machine is alive; `pid` is above 0: others mean groups."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
