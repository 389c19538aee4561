"""Standard output and error: text that a terminal cannot show, and readers that have gone."""

import os
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TextIO

from bench.utils.escaping import for_terminal

format_warning = warnings.formatwarning  # Python's own


class ReaderGone(Exception):
    """Nobody reads standard output any more: the reader of a pipe, say `head`, has seen enough."""


def run_program(main: Callable[[], int]) -> int:
    """Run the program in streams that take every text; return its exit status."""
    _open_closed_descriptors()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    warnings.formatwarning = _format_warning
    sys.excepthook = _print_exception
    try:
        return main()
    finally:
        for stream in (sys.stdout, sys.stderr):
            _flush(stream)


def silence(stream: TextIO) -> None:
    """Redirect a stream to the null device, so that flushing what it still buffers cannot fail."""
    with suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)


def _flush(stream: TextIO) -> None:
    try:
        stream.flush()
    except (OSError, ValueError):
        silence(stream)


def _open_closed_descriptors() -> None:
    """Open the standard streams that are closed: a file that took their place would be written to.

    Python gives a closed one no stream at all.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the least number that is free
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _format_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    place = for_terminal(filename)
    lines = format_warning(for_terminal(message), category, place, lineno, line).split("\n")
    return "\n".join(map(for_terminal, lines))


def _print_exception(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print a traceback without what a message in it could do to the terminal."""
    lines = "".join(traceback.format_exception(kind, error, trace)).split("\n")
    with suppress(OSError, ValueError):
        sys.stderr.write("\n".join(map(for_terminal, lines)))
