"""The record files at and below the paths that a user names."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench.records.store import RECORDS_DIR
from bench.utils.errors import UserError

MAX_DEPTH = 16  # of folders; records lie three deep in theirs


class FoundFile(NamedTuple):
    """A file that should be a record, or a folder that is not searched."""

    path: Path
    problem: str = ""  # why it is not read, as a clause after its path; empty: it is to be read


def find_record_files(paths: Iterable[Path]) -> Iterator[FoundFile]:
    """Yield every record file, without repetitions, in a fixed order.

    In a results folder, these are the files in its records; links to folders are not followed.
    Raises `UserError`, before anything is read, for a path that does not exist.
    """
    named = list(paths)
    for path in named:
        if not os.path.exists(path):
            raise UserError(f"no file or folder at {path}")
    seen: set[str] = set()
    for path in named:
        real = os.path.realpath(path)
        for found in _files_at(path):
            place = os.path.join(real, os.path.relpath(found.path, path))
            if os.path.normpath(place) not in seen:
                seen.add(os.path.normpath(place))
                yield found


def _files_at(path: Path) -> Iterator[FoundFile]:
    inside = path / RECORDS_DIR
    if not os.path.isdir(path):
        yield FoundFile(path)
    elif os.path.islink(inside):
        yield FoundFile(inside, "is a link, which is not followed")
    else:
        yield from _walk(inside if os.path.isdir(inside) else path)


def _walk(top: Path) -> Iterator[FoundFile]:
    """Yield the files of a folder, then those of the folders in it; without recursion."""
    waiting = [(top, 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            with os.scandir(folder) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            yield FoundFile(folder, f"cannot be searched: {error.strerror}")
            continue
        folders = []
        for entry in entries:
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append((path, depth + 1))
            elif entry.is_symlink() and os.path.isdir(path):
                yield FoundFile(path, "is a link to a folder, which is not followed")
            elif entry.name.endswith(".json"):
                yield FoundFile(path)
        if depth < MAX_DEPTH:
            waiting.extend(reversed(folders))
        else:
            deep = f"is {MAX_DEPTH + 1} folders deep; records are not searched for there"
            yield from (FoundFile(path, deep) for path, _ in folders)
