"""The sha256 of a folder's files: each read once, and remembered by its size and times."""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import platformdirs

from bench.utils import parallel


def sha256_of_file(path: Path) -> str:
    """Of a file's bytes, read a piece at a time."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


REPO_ROOT = Path(__file__).parent.parent.parent


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary file beside `path`, flush it to disk, and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=".", suffix=".part", delete=False
    ) as f:
        try:
            f.write(content)
            f.flush()
            os.fsync(f.fileno())
            os.chmod(f.name, 0o644)
            os.replace(f.name, path)
        except BaseException:
            Path(f.name).unlink(missing_ok=True)
            raise


CLOCK_TICK = 0.02  # seconds that the clock of file times may stand still
HASH_CACHE_FORMAT = 1  # raised when what is remembered changes its meaning
FileStamp = list[int]  # size, times of change of the content and of the file, and inode


def sha256_of_files(folder: Path, files: Sequence[Path]) -> list[str]:
    """The sha256 of each file's bytes; what is known of them is remembered under `folder`.

    A file is read again where its size, one of its times or its inode has changed. Raises
    `OSError` for one that cannot be read. One that was written just now is read a moment later:
    written to again within the same tick of the clock, it would keep its times.
    """
    known = _read_hash_cache(folder)
    now = {str(file): _file_stamp(file) for file in dict.fromkeys(files)}
    _wait_for_clock_tick(now.values())
    stale = [name for name, stamp in now.items() if known.get(name, [None])[0] != stamp]
    if stale:
        with ThreadPoolExecutor(
            parallel.available_cores()
        ) as pool:  # hashing does not hold the GIL
            found = pool.map(sha256_of_file, map(Path, stale))
            known |= {name: (now[name], sha) for name, sha in zip(stale, found, strict=True)}
        _write_hash_cache(folder, known)
    return [known[str(file)][1] for file in files]


def file_stamps(files: Iterable[Path]) -> tuple[tuple[int, ...], ...]:
    """What changes with the bytes of files, in the order of their names; of absent ones nothing."""
    found = []
    for file in sorted(set(files)):
        with suppress(OSError):
            found.append(tuple(_file_stamp(file)))
    return tuple(found)


def run_once(check: str, content: str, work: Callable[[], None]) -> None:
    """Do a check of a content, named by a hash, unless it has passed before."""
    place = _cache_dir() / check / content
    if not place.exists():
        work()
        with suppress(OSError):
            write_atomically(place, b"")


def _cache_dir() -> Path:
    return platformdirs.user_cache_path("vit-peft-bench")


def _file_stamp(file: Path) -> FileStamp:
    found = os.stat(file)
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _wait_for_clock_tick(stamps: Iterable[FileStamp]) -> None:
    """Wait until what is written from now on gets another time than these files have."""
    newest = max((changed for _, _, changed, _ in stamps), default=0)
    left = CLOCK_TICK - (time.time() - newest / 1e9)
    if 0 < left <= CLOCK_TICK:  # times to come are another machine's
        time.sleep(left)


def _hash_cache_file(folder: Path) -> Path:
    """The file that remembers the hashes of what lies in a folder."""
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return _cache_dir() / f"sha256-{HASH_CACHE_FORMAT}" / f"{name}.json"


def _read_hash_cache(folder: Path) -> dict[str, tuple[FileStamp, str]]:
    """What is known of files by their paths; nothing where that cannot be read."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        found = json.loads(_hash_cache_file(folder).read_text())
        return {str(name): (list(stamp), str(sha)) for name, (stamp, sha) in found.items()}
    return {}


def _write_hash_cache(folder: Path, known: dict[str, tuple[FileStamp, str]]) -> None:
    """Keep what is known; without a place to write to, it is computed again another time."""
    with suppress(OSError):
        write_atomically(_hash_cache_file(folder), json.dumps(known).encode())
