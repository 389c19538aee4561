"""Which tasks are prepared, and what is to be done for the others."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tabulate import tabulate

from bench.config.source import Source, SourceFile, card_folder, load_source
from bench.config.suite import Suite, Task, load_suite
from bench.data import locations
from bench.data.prepared import LOSSLESS, available_variants, find_prepared
from bench.prepare import downloads
from bench.prepare.downloads.checksums import format_bytes

COLUMNS = ("suite", "task", "state", "source", "archives", "to do", "on disk", "licence")


def status_lines(suites: Sequence[str], root: Path) -> Iterator[str]:
    """A table of the suites' tasks, and what a person must fetch; names are checked first."""
    cards_ = [(load_suite(name), card_folder(name)) for name in suites]
    table = [
        _task_line(suite, task, root, place)
        for suite, place in cards_
        for task in suite.task
        if not task.embedded
    ]
    if table:
        yield tabulate(table, headers=COLUMNS, tablefmt="simple")
    for suite, _ in cards_:
        if all(task.embedded for task in suite.task):
            yield f"{suite.name}: its tasks come with the program; there is nothing to prepare"
    hand = dict.fromkeys(
        line for suite, place in cards_ for line in _manual_downloads(suite, root, place)
    )
    if hand:
        yield "\nTo be fetched by hand:"
        yield from hand


def _manual_downloads(suite: Suite, root: Path, place: Path) -> Iterator[str]:
    for task in suite.task:
        if not task.source or find_prepared(root, suite.name, task, LOSSLESS):
            continue
        source = load_source(task.source, place)
        folder = downloads.archives_folder(source, root)
        hand = [file for file in _missing_files(source, folder) if downloads.is_manual(file)]
        yield from (f"  {folder / file.name}: {file.how}" for file in hand)


def _task_line(suite: Suite, task: Task, root: Path, place: Path) -> tuple[str, ...]:
    state = _task_state(suite, task, root)
    if not task.source:
        return suite.name, task.name, state, "", "", "", "", ""
    source = load_source(task.source, place)
    folder = downloads.archives_folder(source, root)
    files, absent = downloads.required_files(source, folder), _missing_files(source, folder)
    return (
        suite.name,
        task.name,
        state,
        source.name,
        f"{len(files) - len(absent)} of {len(files)}",
        "" if LOSSLESS in state else _next_steps(source, absent),
        format_bytes(source.prepared_bytes),
        source.licence,
    )


def _task_state(suite: Suite, task: Task, root: Path) -> str:
    prepared = available_variants(root, suite.name, task)
    if prepared:
        return f"prepared: {', '.join(prepared)}"
    return "folder as found" if locations.is_present(suite, task, root) else "absent"


def _missing_files(source: Source, folder: Path) -> list[SourceFile]:
    here = downloads.present_files(source, folder)
    return [file for file in downloads.required_files(source, folder) if file.name not in here]


def _next_steps(source: Source, absent: list[SourceFile]) -> str:
    hand = [file for file in absent if downloads.is_manual(file)]
    rest = [file for file in absent if not downloads.is_manual(file)]
    steps = []
    if hand:
        steps.append(f"put {', '.join(file.name for file in hand)} there")
    if rest and source.access == "terms":
        steps.append("accept its terms")
    if rest:
        steps.append(f"download {_download_size(rest)}")
    return ", ".join([*steps, "prepare"])


def _download_size(files: list[SourceFile]) -> str:
    known = sum(file.bytes for file in files)
    if all(file.bytes for file in files):
        return format_bytes(known)
    return f"{format_bytes(known)} or more" if known else "(its size is not published)"
