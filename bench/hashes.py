"""The sha256 of a folder's files: each read once, and remembered by its size and times."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import platformdirs

from bench import stores, threads
from bench.records import write_atomically

TICK = 0.02  # seconds that the clock of file times may stand still
FORMAT = 1  # raised when what is remembered changes its meaning
Stamp = list[int]  # size, times of change of the content and of the file, and inode


def of_files(folder: Path, files: Sequence[Path]) -> list[str]:
    """The sha256 of each file's bytes; what is known of them is remembered under `folder`.

    A file is read again where its size, one of its times or its inode has changed. Raises
    `OSError` for one that cannot be read. One that was written just now is read a moment later:
    written to again within the same tick of the clock, it would keep its times.
    """
    known = _remembered(folder)
    now = {str(file): _stamp(file) for file in dict.fromkeys(files)}
    _let_settle(now.values())
    stale = [name for name, stamp in now.items() if known.get(name, [None])[0] != stamp]
    if stale:
        with ThreadPoolExecutor(threads.cores()) as pool:  # hashing does not hold the GIL
            found = pool.map(stores.sha256_of, map(Path, stale))
            known |= {name: (now[name], sha) for name, sha in zip(stale, found, strict=True)}
        _remember(folder, known)
    return [known[str(file)][1] for file in files]


def stamps(files: Iterable[Path]) -> tuple[tuple[int, ...], ...]:
    """What changes with the bytes of files, in the order of their names; of absent ones nothing."""
    found = []
    for file in sorted(set(files)):
        with suppress(OSError):
            found.append(tuple(_stamp(file)))
    return tuple(found)


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


def _let_settle(stamps: Iterable[Stamp]) -> None:
    """Wait until what is written from now on gets another time than these files have."""
    newest = max((changed for _, _, changed, _ in stamps), default=0)
    left = TICK - (time.time() - newest / 1e9)
    if 0 < left <= TICK:  # times to come are another machine's
        time.sleep(left)


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
