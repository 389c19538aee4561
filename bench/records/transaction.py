"""Transactions: many files of a results folder are written, or none of them.

    <results>/.merge/         there only while files are being written, and after a crash
        new/<path>            what is to be <results>/<path>
        old/<path>            what it replaces
        journal.json          there while files are being moved: the paths, and the folders made
        lock                  held by the process that writes

Files are staged first. With the journal, they begin to move in the order in which they were added;
when all have, the journal is removed, and that commits them. After an error the moved files are
taken back at once; after a crash, by the next command on this results folder. Each file is complete
at every moment.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from bench.utils import folders
from bench.utils.errors import UserError
from bench.utils.files import read_regular_file, write_atomically

STAGING_DIR, JOURNAL_FILE, LOCK_FILE = ".merge", "journal.json", "lock"
MAX_JOURNAL_BYTES = 1 << 30
Stamp = tuple[int, int, int] | None  # mtime in ns, size and inode; None: there is no file


@dataclass
class Transaction:
    """Files to be written below a results folder, in the order in which they are added."""

    root: Path
    stamps: dict[str, Stamp] = field(default_factory=dict)  # of the files there, by their paths

    @property
    def folder(self) -> Path:
        """The folder to write files to, at the paths that they will have below the root."""
        return self.root / STAGING_DIR / "new"

    def add(self, written: Path) -> None:
        """Add a file of `folder`; one added before at the same path is written in its place."""
        name = written.relative_to(self.folder).as_posix()
        folders.require_inside(self.root, self.root / name)
        self.stamps.setdefault(name, _stamp(self.root / name))

    def commit(self) -> None:
        """Move the staged files to their places."""
        for name in (name for name, stamp in self.stamps.items() if stamp):
            kept = _kept(self.root, name)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.root / name, kept, follow_symlinks=False)
        journal = self.root / STAGING_DIR / JOURNAL_FILE
        staged = {name: _stamp(self.folder / name) for name in self.stamps}
        content = {"files": staged, "folders": self._missing_folders()}
        write_atomically(journal, json.dumps(content).encode())
        for name in self.stamps:
            self._move(name)
        journal.unlink()

    def _move(self, name: str) -> None:
        target = self.root / name
        if _stamp(target) != self.stamps[name]:
            raise UserError(f"{target} was written meanwhile, by a run perhaps; try it again")
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self.folder / name, target)

    def _missing_folders(self) -> list[str]:
        """List the folders that the files need and that are not there, outermost first."""
        parents = {parent for name in self.stamps for parent in PurePosixPath(name).parents}
        return sorted(str(parent) for parent in parents if not (self.root / parent).exists())


@contextmanager
def open_transaction(root: Path) -> Iterator[Transaction]:
    """Commit the files staged within the context at its end; none of them after any error.

    Raises `UserError` where another process has a transaction in this folder.
    """
    staging = root / STAGING_DIR
    if staging.is_symlink():
        raise UserError(f"{staging} is a link; remove it")
    staging.mkdir(exist_ok=True)
    try:
        with FileLock(staging / LOCK_FILE, timeout=0):
            _take_back(root)
            _remove_staged(staging)
            transaction = Transaction(root)
            try:
                yield transaction
                transaction.commit()
            finally:
                _take_back(root)
                _remove(staging)
    except Timeout:
        raise UserError(f"another merge into {root} is running; wait for its end") from None


def undo_interrupted(root: Path) -> None:
    """Undo the writes of an interrupted transaction; a running one is left alone."""
    staging = root / STAGING_DIR
    if not staging.is_dir() or staging.is_symlink():
        return
    try:
        with suppress(Timeout), FileLock(staging / LOCK_FILE, timeout=0):
            _take_back(root)
            _remove(staging)
    except OSError as error:
        raise UserError(
            f"a merge into {root} was cut short and cannot be undone: {error.strerror}"
        ) from None


def _take_back(root: Path) -> None:
    """Undo the steps in the journal, if there is one."""
    journal = root / STAGING_DIR / JOURNAL_FILE
    if journal.is_file():
        begun = _read_journal(journal)
        for name, staged in begun["files"].items():
            _restore(root, name, staged)
        for name in reversed(begun["folders"]):
            with suppress(OSError):  # not empty: another process has written there
                (root / name).rmdir()
        journal.unlink()


def _remove(staging: Path) -> None:
    """Remove the folder, unless another process has begun to use it."""
    _remove_staged(staging)
    (staging / LOCK_FILE).unlink(missing_ok=True)
    with suppress(OSError):
        staging.rmdir()


def _remove_staged(staging: Path) -> None:
    for folder in ("new", "old"):
        shutil.rmtree(staging / folder, ignore_errors=True)
    for unfinished in staging.glob(".*.part"):
        unfinished.unlink(missing_ok=True)


def _restore(root: Path, name: str, staged: list[int]) -> None:
    """Put a file back as it was, if it is the one that was moved there."""
    target, kept = root / name, _kept(root, name)
    if _stamp(target) != tuple(staged):
        return
    if os.path.lexists(kept):
        os.rename(kept, target)
    else:
        target.unlink()


def _read_journal(path: Path) -> dict[str, Any]:
    """Read the journal; raise `UserError` for one that this module did not write."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(read_regular_file(path, MAX_JOURNAL_BYTES))
        if all(map(_is_below, [*found["files"], *found["folders"]])):
            return dict(found)
    raise UserError(f"{path} is not the journal of a merge; remove {path.parent}")


def _kept(root: Path, name: str) -> Path:
    return root / STAGING_DIR / "old" / name


def _is_below(name: str) -> bool:
    """Return whether a path stays below the folder that it is relative to."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _stamp(path: Path) -> Stamp:
    with suppress(FileNotFoundError):
        found = os.lstat(path)
        return found.st_mtime_ns, found.st_size, found.st_ino
    return None
