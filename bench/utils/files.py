"""Files: bounded reads of regular files, atomic writes, and cached SHA-256 hashes."""

import errno
import hashlib
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

import platformdirs

from bench.utils import folders, parallel

REPO_ROOT = Path(__file__).parent.parent.parent
CLOCK_TICK = 0.02  # seconds: the coarsest resolution of file times to reckon with
HASH, MAX_CACHE_BYTES = re.compile("[0-9a-f]{64}"), 2**28
HASH_CACHE_FORMAT = 1  # raised when the meaning of the cached hashes changes
LFS_MARK = b"version https://git-lfs.github.com/spec/"  # begins a pointer of Git LFS
LFS_PROBLEM = "it is a Git LFS pointer, not the file; run git lfs pull"
FileStamp = list[int]  # size, mtime and ctime in ns, inode
# by name below a folder; None: there should be no such file
FileContents = dict[str, bytes | None]


def sha256_of_file(path: Path) -> str:
    """Hash a regular file's bytes, read in chunks; links to it are followed."""
    with open_regular_file(path, follow_links=True) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class UnsafeFile(OSError):
    """A path that is no regular file, or a file beyond the limit of its kind."""

    def __init__(self, message: str, path: str | None = None):
        super().__init__(errno.EINVAL, message, path)  # so that `strerror` is the message


def open_regular_file(path: Path, follow_links: bool = False) -> BufferedReader:
    """Open a regular file for reading.

    Opening never waits (that of a FIFO does, when opened plainly). Raises `UnsafeFile` for anything
    else, a link included unless `follow_links`, and `OSError` for a file that cannot be opened.
    """
    try:
        return open(path, "rb", opener=_regular_file_opener(follow_links))
    except ValueError:  # a zero byte, or half of a character
        raise UnsafeFile("this is not a valid file name", str(path)) from None


def read_regular_file(path: Path, limit: int, follow_links: bool = False) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Reading never goes beyond the limit, whatever size the file claims. Raises as
    `open_regular_file` does, and `UnsafeFile` for a larger file and for the pointer that stands for
    a file of Git LFS.
    """
    with open_regular_file(path, follow_links) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(min(size, limit) + 1)  # no more: it is allocated before it is read
        if size < len(content) <= limit:  # it grows, or says no size
            content += file.read(limit + 1 - len(content))
    if max(size, len(content)) > limit:
        raise UnsafeFile(f"it is larger than {limit:,} bytes", str(path))
    if content.startswith(LFS_MARK):
        raise UnsafeFile(LFS_PROBLEM, str(path))
    return content


def _regular_file_opener(follow_links: bool) -> Callable[[str, int], int]:
    flags = os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow_links else os.O_NOFOLLOW)

    def opener(path: str, mode: int) -> int:
        try:
            file = os.open(path, mode | flags)
        except OSError as error:
            if error.errno == errno.ELOOP and not follow_links:
                raise UnsafeFile("it is a link", path) from None
            if error.errno == errno.ENXIO:  # a socket
                raise UnsafeFile("it is not a regular file", path) from None
            raise
        mode = os.fstat(file).st_mode
        if stat.S_ISREG(mode):
            return file
        os.close(file)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        raise UnsafeFile("it is not a regular file", path)

    return opener


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary file in the same folder, flush it to disk, and rename it to `path`."""
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


def write_files(folder: Path, contents: FileContents) -> list[Path]:
    """Write files atomically, and remove those that should not be there; return the written.

    Raises `UserError` where a name leads out of the folder, before anything is written.
    """
    written = []
    for name in contents:
        folders.require_inside(folder, folder / name)
    for name, content in contents.items():
        if content is None:
            (folder / name).unlink(missing_ok=True)
        else:
            write_atomically(folder / name, content)
            written.append(folder / name)
    return written


def sha256_of_files(folder: Path, files: Sequence[Path], limit: int | None = None) -> list[str]:
    """Return the SHA-256 of each file, from the cache of `folder` where the file is unchanged.

    A file is hashed again when its size, one of its times or its inode has changed. A file that
    was written a moment ago is hashed a clock tick later: a second write within the same tick
    would not change its times. Raises `OSError` for a file that cannot be read, and `UnsafeFile`
    for one of more than `limit` bytes.
    """
    known = _read_hash_cache(folder)
    now = {str(file): _file_stamp(file) for file in dict.fromkeys(files)}
    for name, (size, *_) in now.items():
        if limit is not None and size > limit:
            raise UnsafeFile(f"it is larger than {limit:,} bytes", name)
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
    """Return the stamps of the files that exist, sorted by name; they change with the content."""
    found = []
    for file in sorted(set(files)):
        with suppress(OSError):
            found.append(tuple(_file_stamp(file)))
    return tuple(found)


def run_once(check: str, content: str, work: Callable[[], None]) -> None:
    """Run a check of content with this hash, unless it has already passed."""
    place = cache_dir() / check / content
    if not os.path.exists(place):  # False also where the cache cannot be looked into
        work()
        with suppress(OSError):
            write_atomically(place, b"")


def cache_dir() -> Path:
    """Return the project's folder in the user's cache; its content can be deleted at any time."""
    return platformdirs.user_cache_path("vit-peft-bench")


def _file_stamp(file: Path) -> FileStamp:
    found = os.stat(file)
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _wait_for_clock_tick(stamps: Iterable[FileStamp]) -> None:
    """Wait until a later write would get a later time than these files have."""
    newest = max((changed for _, _, changed, _ in stamps), default=0)
    left = CLOCK_TICK - (time.time() - newest / 1e9)
    if 0 < left <= CLOCK_TICK:  # a time in the future is another machine's
        time.sleep(left)


def _hash_cache_file(folder: Path) -> Path:
    """Return the file that caches the hashes of a folder's files."""
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return cache_dir() / f"sha256-{HASH_CACHE_FORMAT}" / f"{name}.json"


def _read_hash_cache(folder: Path) -> dict[str, tuple[FileStamp, str]]:
    """Read the cached stamps and hashes by path; an unreadable cache is an empty one."""
    with suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
        found = json.loads(read_regular_file(_hash_cache_file(folder), MAX_CACHE_BYTES))
        return {
            name: (list(stamp), sha) for name, (stamp, sha) in found.items() if HASH.fullmatch(sha)
        }
    return {}


def _write_hash_cache(folder: Path, known: dict[str, tuple[FileStamp, str]]) -> None:
    """Write the cache; where it cannot be written, the hashes are computed again next time."""
    with suppress(OSError):
        write_atomically(_hash_cache_file(folder), json.dumps(known).encode())
