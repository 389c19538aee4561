"""The sha256 of a folder's files: each read once, and remembered by its size and times."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import platformdirs

from bench import stores, threads
from bench.records import write_atomically

FORMAT = 1  # raised when what is remembered changes its meaning
Stamp = list[int]  # size, times of change of the content and of the file, and inode


def of_files(folder: Path, files: Sequence[Path]) -> list[str]:
    """The sha256 of each file's bytes; what is known of them is remembered under `folder`.

    A file is read again where its size, one of its times or its inode has changed. Raises
    `OSError` for one that cannot be read.
    """
    known = _remembered(folder)
    stamps = {str(file): _stamp(file) for file in dict.fromkeys(files)}
    stale = [name for name, stamp in stamps.items() if known.get(name, [None])[0] != stamp]
    if stale:
        with ThreadPoolExecutor(threads.cores()) as pool:  # hashing does not hold the GIL
            found = pool.map(stores.sha256_of, map(Path, stale))
            known |= {name: (stamps[name], sha) for name, sha in zip(stale, found, strict=True)}
        _remember(folder, known)
    return [known[str(file)][1] for file in files]


def once(check: str, content: str, work: Callable[[], None]) -> None:
    """Do a check of a content, named by a hash, unless it has passed before."""
    place = _cache() / check / content
    if not place.exists():
        work()
        with suppress(OSError):
            write_atomically(place, b"")


def _cache() -> Path:
    return platformdirs.user_cache_path("vit-peft-bench")


def _stamp(file: Path) -> Stamp:
    found = os.stat(file)
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _place(folder: Path) -> Path:
    """The file that remembers the hashes of what lies in a folder."""
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return _cache() / f"sha256-{FORMAT}" / f"{name}.json"


def _remembered(folder: Path) -> dict[str, tuple[Stamp, str]]:
    """What is known of files by their paths; nothing where that cannot be read."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        found = json.loads(_place(folder).read_text())
        return {str(name): (list(stamp), str(sha)) for name, (stamp, sha) in found.items()}
    return {}


def _remember(folder: Path, known: dict[str, tuple[Stamp, str]]) -> None:
    """Keep what is known; without a place to write to, it is computed again another time."""
    with suppress(OSError):
        write_atomically(_place(folder), json.dumps(known).encode())
