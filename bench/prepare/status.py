"""Which tasks are prepared, and what is to be done for the others."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tabulate import tabulate

from bench import places, stores
from bench.cards import Suite
from bench.prepare import downloads
from bench.prepare.verifying import amount
from bench.sources import File, Source, load_source
from bench.tasks import Task

COLUMNS = ("suite", "task", "state", "source", "archives", "to do", "on disk", "licence")


def table(suites: Iterable[Suite], root: Path, beside: Path) -> str:
    """A line a task that does not come with the project."""
    lines = [
        _line(suite, task, root, beside)
        for suite in suites
        for task in suite.task
        if not task.embedded
    ]
    return tabulate(lines, headers=COLUMNS, tablefmt="simple")


def by_hand(suites: Iterable[Suite], root: Path, beside: Path) -> Iterator[str]:
    """What a person must fetch, a line a source."""
    names = {task.source: None for suite in suites for task in suite.task if task.source}
    for source in (load_source(name, beside) for name in names):
        folder = downloads.folder_of(source, root)
        for file in _absent(source, folder):
            if downloads.is_by_hand(file):
                yield f"{source.name}: {folder / file.name}: {file.how}"


def _line(suite: Suite, task: Task, root: Path, beside: Path) -> tuple[str, ...]:
    state = _state(suite, task, root)
    if not task.source:
        return suite.name, task.name, state, "", "", "", "", ""
    source = load_source(task.source, beside)
    folder = downloads.folder_of(source, root)
    files, absent = downloads.needed(source, folder), _absent(source, folder)
    return (
        suite.name,
        task.name,
        state,
        source.name,
        f"{len(files) - len(absent)} of {len(files)}",
        "" if stores.LOSSLESS in state else _to_do(source, absent),
        amount(source.prepared_bytes),
        source.licence,
    )


def _state(suite: Suite, task: Task, root: Path) -> str:
    prepared = stores.variants(root, suite.name, task)
    if prepared:
        return f"prepared: {', '.join(prepared)}"
    return "folder as found" if places.is_present(suite, task, root) else "absent"


def _absent(source: Source, folder: Path) -> list[File]:
    here = downloads.present(source, folder)
    return [file for file in downloads.needed(source, folder) if file.name not in here]


def _to_do(source: Source, absent: list[File]) -> str:
    hand = [file for file in absent if downloads.is_by_hand(file)]
    rest = [file for file in absent if not downloads.is_by_hand(file)]
    steps = []
    if hand:
        steps.append(f"put {', '.join(file.name for file in hand)} there")
    if rest and source.access == "terms":
        steps.append("accept its terms")
    if rest:
        steps.append(f"download {amount(sum(file.bytes for file in rest))}")
    return ", ".join([*steps, "prepare"])
