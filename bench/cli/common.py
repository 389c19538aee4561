"""Exit statuses, and what several commands print or ask of the results folder."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.records import store
from bench.report import generate
from bench.utils.errors import UserError

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def print_error(sentence: str, status: int) -> int:
    """Print on standard error what is wrong; return the status."""
    print(f"bench: {sentence}", file=sys.stderr)
    return status


def print_lines(lines: Iterable[object]) -> int:
    """Print lines as they come; return the status of success."""
    for line in lines:
        print(line, flush=True)
    return 0


def print_refused(refused: Sequence[str]) -> int:
    """Print on standard error what was refused, and why; return the status."""
    for problem in refused:
        print_error(f"refused: {problem}", FAILED)
    return FAILED if refused else 0


def require_results(results: Path) -> None:
    """Raise `UserError` where there is no results folder of the current version."""
    if not results.is_dir():
        raise UserError(f"no results folder at {results}; name another with --results")
    store.Store(results).require_current_schema()


def write_tables(results: Path) -> list[Path]:
    """Regenerate the tables, and print on standard error which records were skipped."""
    files = generate.regenerate(results)
    for problem in files.problems:
        print_error(f"skipped: {problem}", FAILED)
    return files.written
