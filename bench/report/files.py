"""The leaderboard's files: written from the records alone, the same bytes for the same records."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.cards import SUITES, Suite, load_suite, names
from bench.errors import UserError
from bench.records import Record, Store, write_atomically
from bench.report.leaderboard import Board, build
from bench.report.tables import long_csv, markdown

PNG, SVG = "leaderboard.png", "leaderboard.svg"
PICTURE = f"[![Accuracy against trainable parameters]({PNG})]({SVG})"
CUT = "\n\nThe picture shows the first {} of {} tables."


@dataclass(frozen=True)
class Regenerated:
    """The files that were written, and a sentence for each record file that was skipped."""

    written: list[Path]
    problems: list[str]


def regenerate(results: Path) -> Regenerated:
    """Write leaderboard.md, .csv, .svg and .png; with nothing to draw, remove the pictures."""
    records, problems = sound(Store(results))
    written = []
    for name, content in _contents(records).items():
        if content is None:
            (results / name).unlink(missing_ok=True)
        else:
            write_atomically(results / name, content)
            written.append(results / name)
    return Regenerated(written, problems)


def stale(results: Path) -> list[Path]:
    """The files that are not what `regenerate` would leave, missing ones among them.

    Pictures are the same bytes only from the same version of matplotlib.
    """
    records, _ = sound(Store(results))
    due = {results / name: content for name, content in _contents(records).items()}
    return [path for path, content in due.items() if _bytes(path) != content]


def sound(store: Store) -> tuple[list[Record], list[str]]:
    """The records that can be trusted, and a sentence for each file that cannot."""
    records, problems = [], []
    for path, record in store.read():
        problem = str(record) if isinstance(record, UserError) else _problem(path, record, store)
        if problem:
            problems.append(problem)
        elif isinstance(record, Record):
            records.append(record)
    return records, problems


def _problem(path: Path, record: Record, store: Store) -> str:
    """What is wrong with a readable record, or nothing; a copy would count as one more seed."""
    if path != store.path(record.settings):
        return f"{path} is the record of a cell whose place is {store.path(record.settings)}"
    if record.ok == (record.failure is not None):
        return f"{path} should have either an outcome or a failure"
    if record.outcome and not 0 <= record.outcome.accuracy <= 100:
        return f"{path} has accuracy {record.outcome.accuracy}; from 0 to 100 was expected"
    return ""


def _contents(records: list[Record]) -> dict[str, bytes | None]:
    """Each file's name and bytes; None: there should be no such file."""
    boards = build(records, _suites(records))
    caption, drawn = _picture([board for board in boards if board.rows])
    return {
        "leaderboard.md": markdown(boards, caption).encode(),
        "leaderboard.csv": long_csv(records).encode(),
        **drawn,
    }


def _picture(boards: list[Board]) -> tuple[str, dict[str, bytes | None]]:
    """The Markdown that shows the picture of boards with complete rows, and its files."""
    if not boards:
        return "", {SVG: None, PNG: None}
    from bench.report import picture  # here, since matplotlib is slow to import

    svg, png = picture.draw(boards)
    cut = CUT.format(picture.PANELS, len(boards)) if len(boards) > picture.PANELS else ""
    return PICTURE + cut, {SVG: svg, PNG: png}


def _suites(records: Iterable[Record]) -> dict[str, Suite]:
    """The cards of the records' suites, of those that have one in `datasets/`."""
    used = {record.settings.suite for record in records}
    return {name: load_suite(name) for name in names(SUITES) if name in used}


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
