"""Exit statuses, printing, and what several commands do with a results folder."""

import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import rich.console

from bench.cli import streams
from bench.records import store
from bench.report import generate
from bench.utils import escaping, progress_bars

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def print_error(sentence: str, status: int) -> int:
    """Print on standard error what is wrong, on one line; return the status."""
    print_note(f"bench: {sentence}")
    return status


def print_note(sentence: str) -> int:
    """Print a message that is not an error on standard error; return the status of success."""
    with suppress(OSError, ValueError):  # nobody reads it
        print(escaping.for_terminal(sentence), file=sys.stderr, flush=True)
    return 0


def print_lines(lines: Iterable[object]) -> int:
    """Print lines as they come, each on one line; return the status of success."""
    for line in lines:
        _print_line(line)
    return 0


def _print_line(line: object) -> None:
    try:
        print(escaping.for_terminal(line), flush=True)
    except BrokenPipeError:
        raise streams.ReaderGone from None


def print_result(lines: Iterable[object]) -> None:
    """Print lines of a command whose status says more: it does not depend on who reads them."""
    try:
        print_lines(lines)
    except streams.ReaderGone:
        streams.silence(sys.stdout)


def output_width() -> int | None:
    """Return the width of the terminal on standard output; None if it is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_refused(refused: Sequence[str]) -> int:
    """Print on standard error what was refused, and why; return the status."""
    for problem in refused:
        print_error(f"refused: {problem}", FAILED)
    return FAILED if refused else 0


def require_results(results: Path) -> None:
    """Raise `UserError` where there is no results folder of the current version."""
    store.Store(results).require_existing("; name another with --results")


def write_tables(results: Path) -> "generate.RegeneratedFiles":
    """Regenerate the tables, and print on standard error which records were skipped."""
    with progress_bars.working(rich.console.Console(stderr=True), "writing the tables"):
        files = generate.regenerate(results)
    for problem in files.problems:
        print_error(f"skipped: {problem}", FAILED)
    return files
