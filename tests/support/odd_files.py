"""Paths that are no regular files, and files that are not what their names say."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab\nsize 12345\n"
LFS_SENTENCE = "a Git LFS pointer, not the file; run git lfs pull"


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End what waits or reads for ever; far more than the work takes on a busy machine."""

    def stop(*_: object) -> NoReturn:
        raise AssertionError(f"it was not over after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fifo(path: Path) -> None:
    """A FIFO that nobody writes to: a plain open waits for ever."""
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def endless(path: Path) -> None:
    """A link to a device that never ends."""
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    """A link to itself."""
    path.symlink_to(path.name)


def sparse(path: Path) -> None:
    """A file that says that it has a terabyte."""
    with path.open("wb") as file:
        file.truncate(2**40)


def pointer(path: Path) -> None:
    """Write a pointer, as a checkout without Git LFS has it in a file's place."""
    path.write_bytes(LFS_POINTER)


def wide(path: Path) -> None:
    path.write_text('name = "x"', encoding="utf-16")


def binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)))


NOT_REGULAR = [fifo, folder, endless, loop]
ODD = [*NOT_REGULAR, sparse, pointer, wide, binary]
