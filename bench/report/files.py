"""The files of a results folder: written from the records alone, the same for the same records."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.cards import SUITES, Suite, load_suite, names
from bench.errors import UserError
from bench.records import Record, Store, oddity, write_atomically
from bench.report import gallery, ledgers, page, statistics_page
from bench.report.leaderboard import build
from bench.report.papers import claims_page, paper_tables
from bench.report.tables import long_csv, markdown

Contents = dict[str, bytes | None]  # by name below the folder; None: there should be no such file
PAGE, CLAIMS = "index.html", "claims.md"


@dataclass(frozen=True)
class Regenerated:
    """The files that were written, and a sentence for each record file that was skipped."""

    written: list[Path]
    problems: list[str]


def regenerate(results: Path) -> Regenerated:
    """Write all that records give; remove pictures that have nothing to draw.

    That is the leaderboard, the statistics, the ledgers, pictures and a page; of papers' tables and
    claims, and of studies, those that are there already.
    """
    records, problems = sound(Store(results))
    written = []
    for name, content in _contents(records, results).items():
        if content is None:
            (results / name).unlink(missing_ok=True)
        else:
            write_atomically(results / name, content)
            written.append(results / name)
    return Regenerated(written, problems)


def stale(results: Path) -> list[Path]:
    """The files that are not what `regenerate` would leave, missing ones among them.

    Pictures and the page are the same bytes only from the same versions of their libraries; the
    page, which is large, may be missing.
    """
    records, _ = sound(Store(results))
    due = {results / name: content for name, content in _contents(records, results).items()}
    may_miss = results / PAGE
    return [
        path
        for path, content in due.items()
        if _bytes(path) != content and not (path == may_miss and not path.exists())
    ]


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
    place = store.path(record.settings, record.cell)  # whose hash was checked in reading
    if path != place:
        return f"{path} is the record of a cell whose place is {place}"
    odd = oddity(record)
    return f"{path} {odd}" if odd else ""


def _contents(records: list[Record], results: Path) -> Contents:
    boards = build(records, suites(records))
    pictures = gallery.hang(boards)
    found = claims_page.judged(records)
    texts = {
        "leaderboard.md": markdown(boards, pictures.markdown()),
        "leaderboard.csv": long_csv(records),
        "statistics.md": statistics_page.markdown(boards),
        "ledgers.md": ledgers.markdown(boards, records, results),
        **(claims_page.write_all(found) if (results / CLAIMS).is_file() else {}),
        **paper_tables.present(results, records),
        PAGE: page.render(boards, records, [v.lines() for v in found], pictures.inline()),
    }
    written = {name: text.encode() for name, text in texts.items()}
    return {**written, **pictures.files(), **_studies(results, records)}


def _studies(results: Path, records: list[Record]) -> Contents:
    """The pages of studies that are there; what makes them takes long to import."""
    if not (results / "studies").is_dir():
        return {}
    from bench.studies import pages

    return pages.present(results, records)


def suites(records: Iterable[Record]) -> dict[str, Suite]:
    """The cards of the records' suites, of those that have one in `datasets/`."""
    used = {record.settings.suite for record in records}
    return {name: load_suite(name) for name in names(SUITES) if name in used}


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
