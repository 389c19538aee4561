"""Status of a suite's data: which tasks are prepared, and what is to be done for the others."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.config.suite import Source, SourceFile, Suite, Task, card_folder, load_source, load_suite
from bench.data import locations
from bench.data.prepared import LOSSLESS, available_variants, find_prepared
from bench.prepare import downloads
from bench.prepare.downloads.checksums import format_bytes
from bench.utils.tables import terminal_lines

COLUMNS = ("suite", "task", "state", "source", "archives", "to do", "on disk", "licence")


def status_lines(suites: Sequence[str], root: Path) -> Iterator[str]:
    """Yield a table of the suites' tasks and the manual downloads; unknown names fail first."""
    cards = [(load_suite(name), card_folder(name)) for name in suites]
    table = [
        _task_line(suite, task, root, place)
        for suite, place in cards
        for task in suite.prepared_tasks()
        if not task.embedded
    ]
    if table:
        yield from terminal_lines(table, COLUMNS)
    for suite, _ in cards:
        if all(task.embedded for task in suite.task):
            yield f"{suite.name}: its tasks come with the program; there is nothing to prepare"
    manual = dict.fromkeys(
        line for suite, place in cards for line in _manual_downloads(suite, root, place)
    )
    if manual:
        yield ""
        yield "To be fetched by hand:"
        yield from manual


def _manual_downloads(suite: Suite, root: Path, place: Path) -> Iterator[str]:
    for task in suite.prepared_tasks():
        if not task.source or find_prepared(root, suite.name, task, LOSSLESS):
            continue
        source = load_source(task.source, place)
        folder = downloads.archives_folder(source, root)
        manual = [file for file in _missing_files(source, folder) if downloads.is_manual(file)]
        yield from (f"  {folder / file.name}: {file.how}" for file in manual)


def _task_line(suite: Suite, task: Task, root: Path, place: Path) -> tuple[str, ...]:
    state = _task_state(suite, task, root)
    if not task.source:
        return suite.name, task.name, state, "", "", "", "", ""
    source = load_source(task.source, place)
    folder = downloads.archives_folder(source, root)
    files, missing = downloads.required_files(source, folder), _missing_files(source, folder)
    return (
        suite.name,
        task.name,
        state,
        source.name,
        f"{len(files) - len(missing)} of {len(files)}",
        "" if LOSSLESS in state else _next_steps(source, missing),
        format_bytes(source.prepared_bytes),
        source.licence,
    )


def _task_state(suite: Suite, task: Task, root: Path) -> str:
    variants = available_variants(root, suite.name, task)
    if variants:
        return f"prepared: {', '.join(variants)}"
    return "folder as found" if locations.is_present(suite, task, root) else "absent"


def _missing_files(source: Source, folder: Path) -> list[SourceFile]:
    present = downloads.present_files(source, folder)
    return [file for file in downloads.required_files(source, folder) if file.name not in present]


def _next_steps(source: Source, missing: list[SourceFile]) -> str:
    manual = [file for file in missing if downloads.is_manual(file)]
    rest = [file for file in missing if not downloads.is_manual(file)]
    steps = []
    if manual:
        steps.append(f"put {', '.join(file.name for file in manual)} there")
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
