"""The generated files of a results folder, and exports in other programs' formats.

Everything is made from the records alone, and is the same for the same records.
"""

import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config.loading import SUITES_DIR, card_names
from bench.config.suite import Suite, load_suite
from bench.papers.known import load_known
from bench.papers.published_orders import published_orders
from bench.records import interpolations
from bench.records.measurements import unreadable_measurements
from bench.records.schema import TRIALS_DIR, Record
from bench.records.store import RECORDS_DIR, FolderRecords, Store, read_folder, read_valid
from bench.report import (
    few_shots,
    figures,
    html,
    interpolation_page,
    known_page,
    ledger_files,
    ledgers,
    paper_tables,
    paper_values,
    shifts,
    tricks,
)
from bench.report.boards import Board, build_boards
from bench.report.frame import record_frame
from bench.report.leaderboard import complete_lines, render_leaderboard
from bench.report.records_csv import records_csv
from bench.report.statistics_page import render_statistics
from bench.utils.errors import UserError
from bench.utils.escaping import for_latex
from bench.utils.files import FileContents, read_regular_file, write_files

if TYPE_CHECKING:
    import pandas as pd


def as_csv(records: Sequence[Record], _: Sequence[Board]) -> bytes:
    """Return one line per record, as in ``leaderboard.csv``."""
    return records_csv(records).encode()


def as_parquet(records: Sequence[Record], _: Sequence[Board]) -> bytes:
    """Return the lines of the CSV as Parquet; needs the extra ``parquet``."""
    import pandas as pd  # slow to import, and no other format needs it

    stream = io.BytesIO()
    try:
        pd.read_csv(io.StringIO(records_csv(records))).to_parquet(stream, index=False)
    except ImportError:
        raise UserError("parquet needs pyarrow: pip install -e '.[parquet]'") from None
    return stream.getvalue()


def as_latex(_: Sequence[Record], boards: Sequence[Board]) -> bytes:
    """Return a ``booktabs`` table for each board's complete rows, with its name as a comment."""
    tables = [
        f"% {for_latex(board.name)}\n{_latex_table(complete_lines(board))}"
        for board in boards
        if board.rows
    ]
    return ("\n\n".join(tables) + "\n").encode()


def _latex_table(lines: Sequence[Mapping[str, str]]) -> str:
    table = [list(map(for_latex, row)) for row in (lines[0], *(line.values() for line in lines))]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    head, *rows = (
        " & ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + r" \\"
        for row in table
    )
    top = [rf"\begin{{tabular}}{{{'l' * len(widths)}}}", r"\toprule", head, r"\midrule"]
    return "\n".join([*top, *rows, r"\bottomrule", r"\end{tabular}"])


EXPORT_FORMATS: dict[str, tuple[str, Callable[[Sequence[Record], Sequence[Board]], bytes]]] = {
    "csv": ("csv", as_csv),
    "parquet": ("parquet", as_parquet),
    "latex": ("tex", as_latex),
}

LEADERBOARD_FILE, PAGE_FILE, CLAIMS_FILE = "leaderboard.md", "index.html", "claims.md"


@dataclass(frozen=True)
class RegeneratedFiles:
    """The files that were written, and a sentence for each record file that was skipped."""

    written: list[Path]
    problems: list[str]
    boards: list[Board]


def regenerate(results: Path | str) -> RegeneratedFiles:
    """Write all that records give; remove pictures that have nothing to draw.

    That is the leaderboard, the statistics, the ledgers, the papers' known results, pictures and a
    page; of papers' tables and claims, of studies, of tricks and of interpolated scores, those that
    are there already.
    """
    results = Path(results)
    found = read_folder(Store(results))
    scores = interpolations.unreadable(results)
    problems = [*found.problems, *unreadable_measurements(results), *scores]
    boards, frame = _boards_and_frame(found.records, results)
    files = _render_all(found, results, boards, frame)
    return RegeneratedFiles(write_files(results, files), problems, boards)


def current_files(results: Path) -> list[Path]:
    """Return the files whose times tell whether the tables are current."""
    return [results / name for name in (LEADERBOARD_FILE, PAGE_FILE)]


def is_current(results: Path) -> bool:
    """Return whether leaderboard and page were written after the last record came or went."""
    files = current_files(results)
    folders = [
        results / RECORDS_DIR,
        *(p for p in (results / RECORDS_DIR).rglob("*") if p.is_dir()),
    ]
    try:
        written = min(path.stat().st_mtime_ns for path in files)
        return all(folder.stat().st_mtime_ns < written for folder in folders)
    except OSError:
        return False


def refresh_page(results: Path) -> None:
    """Rewrite the page, if there is one: it has claims as soon as the folder has a claims page."""
    if (results / PAGE_FILE).is_file():
        found = read_folder(Store(results))
        files = _render_all(found, results, *_boards_and_frame(found.records, results))
        write_files(results, {PAGE_FILE: files[PAGE_FILE]})


def stale_files(results: Path) -> list[Path]:
    """Return the files that differ from what `regenerate` would write, including missing ones.

    Pictures and the page are reproducible only with the same library versions. The page, which is
    large, may be missing.
    """
    found = read_folder(Store(results))
    files = _render_all(found, results, *_boards_and_frame(found.records, results))
    due = {results / name: content for name, content in files.items()}
    may_miss = results / PAGE_FILE
    return [
        path
        for path, content in due.items()
        if not _holds(path, content) and not (path == may_miss and not path.exists())
    ]


def _render_all(
    found: FolderRecords, results: Path, boards: Sequence[Board], frame: "pd.DataFrame"
) -> FileContents:
    records = found.records
    pictures = figures.draw_all(boards)
    shows_claims = (results / CLAIMS_FILE).is_file()
    checks = paper_values.check_papers(frame) if shows_claims else []
    known = load_known()
    known_rows = known_page.known_rows(known, boards)
    texts = {
        LEADERBOARD_FILE: render_leaderboard(
            boards, pictures.markdown(), found.stated, published_orders(known)
        ),
        "leaderboard.csv": records_csv(records),
        "statistics.md": render_statistics(boards),
        "ledgers.md": ledgers.render_ledgers(boards, frame, results),
        "known.md": known_page.render_known(known_rows),
        **(paper_tables.claims_files(checks) if shows_claims else {}),
        **_tricks_page(results, boards, frame),
        **paper_tables.render_existing(results, frame),
        PAGE_FILE: html.render(
            boards,
            records,
            [check.to_row() for check in checks],
            pictures.svg_by_caption(),
            found.stated,
            known_rows,
        ),
    }
    written = {name: text.encode() for name, text in texts.items()}
    return {
        **written,
        **pictures.files(),
        **_few_shot_files(boards),
        **_shift_files(boards, records),
        **interpolation_page.render_all(results),
        **_study_files(results, frame),
    }


def _few_shot_files(boards: Sequence[Board]) -> FileContents:
    """Return page, table and curves of few-shot boards; empty if there are none."""
    found = few_shots.few_shot_boards(boards)
    names = [few_shots.PAGE, few_shots.TABLE, *few_shots.PICTURES.values()]
    if not found:
        return dict.fromkeys(names)
    texts = few_shots.render_few_shots(found), few_shots.few_shots_csv(found)
    return {
        **{name: text.encode() for name, text in zip(names, texts, strict=False)},
        **figures.draw_few_shots(found[0]),
    }


def _shift_files(boards: Sequence[Board], records: Sequence[Record]) -> FileContents:
    """Return the page of further test sets; None, for no file, where no record has a score."""
    names = shifts.PAGE, shifts.CSV, f"{shifts.PICTURE}.svg"
    tables = shifts.shift_tables(boards, records)
    if not tables:
        return dict.fromkeys(names)
    drawn = figures.draw_shifts(tables)
    page = shifts.render_page(tables).encode()
    return dict(zip(names, (page, shifts.render_csv(records).encode(), drawn), strict=True))


def _tricks_page(results: Path, boards: Sequence[Board], frame: "pd.DataFrame") -> dict[str, str]:
    """Return the page of tricks, if there is one."""
    if not (results / tricks.PAGE).is_file():
        return {}
    nested = map(read_boards, _nested_results(results))
    return {tricks.PAGE: tricks.render_tricks([(boards, frame), *nested])}


def render_tricks_page(results: Path) -> str:
    """Return the page of tricks of a results folder and of those inside it, such as ``grid``."""
    return tricks.render_tricks(
        [read_boards(folder) for folder in (results, *_nested_results(results))]
    )


def _nested_results(results: Path) -> list[Path]:
    """Return the folders inside a results folder that have records of their own, of final runs."""
    return sorted(
        folder.parent
        for folder in results.glob(f"*/{RECORDS_DIR}")
        if folder.is_dir() and folder.parent.name != TRIALS_DIR
    )


def read_boards(results: Path) -> tuple[list[Board], "pd.DataFrame"]:
    """Return the boards of a results folder, and its records as a frame."""
    records, _ = read_valid(Store(results))
    return _boards_and_frame(records, results)


def _boards_and_frame(
    records: Sequence[Record], results: Path
) -> tuple[list[Board], "pd.DataFrame"]:
    """Return the boards of the records in a results folder, and the records as a frame."""
    frame = record_frame(records)
    return build_boards(frame, load_suites(records), ledger_files.read_costs(results)), frame


def _study_files(results: Path, frame: "pd.DataFrame") -> FileContents:
    """Return the pages of studies that are there; what makes them takes long to import."""
    if not (results / "studies").is_dir():
        return {}
    from bench.report import study_page

    return study_page.render_existing(results, frame)


def load_suites(records: Iterable[Record]) -> dict[str, Suite]:
    """Return the cards of the records' suites, of those that have one in `datasets/`."""
    used = {record.settings.suite for record in records}
    return {name: load_suite(name) for name in card_names(SUITES_DIR) if name in used}


def _holds(path: Path, content: bytes | None) -> bool:
    """Return whether a regular file has this content; None: whether there is none at all."""
    if content is None:
        return not os.path.lexists(path)
    try:
        return read_regular_file(path, len(content)) == content
    except OSError:  # among them a larger file
        return False
