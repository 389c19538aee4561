"""Watches what a command does: files written, network, processes, time, and memory."""

import ctypes
import os
import resource
import signal
import struct
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

SECONDS = 30  # that a command may take, on a busy machine
EXTRA_MEMORY = 3 * 2**29  # bytes that a command may take beyond what the tests' process has
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# events that change a path -> the positions of paths among their arguments, and of their folders'
CHANGES = {
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.link": ((1, 3),),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.utime": ((0, 3),),
}
FORBIDDEN = ("os.exec", "os.posix_spawn", "os.system", "socket.bind", "socket.connect")
READ_ONLY_PROGRAMS = {"git", "uname", "nvidia-smi"}  # that say where a cell was run
IN_OPEN = 0x20  # of inotify


class Hang(BaseException):
    """A command that takes longer than `SECONDS`."""


class _Watch:
    """The state of the audit hook, which cannot be removed; with `allowed` None it does nothing."""

    allowed: tuple[Path, ...] | None = None
    closed: Path  # a folder of which no more than `allowed` may be changed
    seen: list[str]


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _Watch.allowed is None:
        return
    if event == "open" and isinstance(args[2], int) and args[2] & WRITING:
        _require_allowed(event, args[0], None)
    for path, folder in CHANGES.get(event, ()):
        _require_allowed(event, args[path], None if folder is None else args[folder])
    if event in FORBIDDEN or (
        event == "subprocess.Popen" and Path(os.fsdecode(args[0])).name not in READ_ONLY_PROGRAMS
    ):
        _refuse(f"{event} {args[:2]!r}")


def _require_allowed(event: str, given: Any, folder: int | None) -> None:
    if isinstance(given, int):  # an open file
        return
    assert _Watch.allowed is not None
    base = os.readlink(f"/proc/self/fd/{folder}") if folder not in (None, -1) else os.getcwd()
    path = Path(os.path.normpath(os.path.join(base, os.fsdecode(given))))
    inside = any(path.is_relative_to(place) for place in _Watch.allowed)
    free = not path.is_relative_to(_Watch.closed) and (
        path.is_relative_to(tempfile.gettempdir())
        or "__pycache__" in path.parts
        or str(path) == os.devnull
    )
    if not inside and not free:
        _refuse(f"{event} {path}")


def _refuse(what: str) -> NoReturn:
    _Watch.seen.append(what)
    raise PermissionError(f"a fuzzed command must not do this: {what}")


sys.addaudithook(_audit)


@contextmanager
def watched_changes(closed: Path, named: Iterable[Path]) -> Iterator[list[str]]:
    """Refuse and list what is changed outside `named`, the temporary folder and the cache.

    Of the folder `closed`, only what is `named` may be changed.
    """
    _Watch.seen, _Watch.closed = [], closed
    _Watch.allowed = (*named, Path(os.environ["XDG_CACHE_HOME"]))
    try:
        yield _Watch.seen
    finally:
        _Watch.allowed = None


@contextmanager
def watched_reads(folder: Path) -> Iterator[list[str]]:
    """List the files of `folder` that are opened, by whatever path: a link to one, say."""
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert libc.inotify_add_watch(queue, os.fsencode(folder), IN_OPEN) >= 0
    opened: list[str] = []
    try:
        yield opened
        opened += _opened_names(queue)
    finally:
        os.close(queue)


def _opened_names(queue: int) -> Iterator[str]:
    try:
        events = os.read(queue, 65536)
    except BlockingIOError:  # there are none
        return
    while events:
        _, _, _, size = struct.unpack_from("iIII", events)
        yield os.fsdecode(events[16 : 16 + size].rstrip(b"\0"))
        events = events[16 + size :]


@contextmanager
def bounded_time() -> Iterator[None]:
    """Raise `Hang` within a block that takes too long."""

    def stop(*_: object) -> NoReturn:
        raise Hang(f"it took longer than {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Let the process take at most `EXTRA_MEMORY` more than it has; more is a `MemoryError`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm", encoding="ascii") as file:
        has = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + EXTRA_MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
