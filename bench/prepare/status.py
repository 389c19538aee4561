"""Which tasks are prepared, and what is to be done for the others."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tabulate import tabulate

from bench import places, stores
from bench.cards import Suite, load_suite
from bench.prepare.downloads import fetching
from bench.prepare.downloads.verifying import amount
from bench.sources import File, Source, beside, load_source
from bench.tasks import Task

COLUMNS = ("suite", "task", "state", "source", "archives", "to do", "on disk", "licence")


def lines(suites: Sequence[str], root: Path) -> Iterator[str]:
    """A table of the suites' tasks, and what a person must fetch; names are checked first."""
    cards_ = [(load_suite(name), beside(name)) for name in suites]
    table = [
        _line(suite, task, root, place)
        for suite, place in cards_
        for task in suite.task
        if not task.embedded
    ]
    if table:
        yield tabulate(table, headers=COLUMNS, tablefmt="simple")
    for suite, _ in cards_:
        if all(task.embedded for task in suite.task):
            yield f"{suite.name}: its tasks come with the program; there is nothing to prepare"
    hand = dict.fromkeys(line for suite, place in cards_ for line in _by_hand(suite, root, place))
    if hand:
        yield "\nTo be fetched by hand:"
        yield from hand


def _by_hand(suite: Suite, root: Path, place: Path) -> Iterator[str]:
    for task in suite.task:
        if not task.source or stores.find(root, suite.name, task, stores.LOSSLESS):
            continue
        source = load_source(task.source, place)
        folder = fetching.folder_of(source, root)
        hand = [file for file in _absent(source, folder) if fetching.is_by_hand(file)]
        yield from (f"  {folder / file.name}: {file.how}" for file in hand)


def _line(suite: Suite, task: Task, root: Path, place: Path) -> tuple[str, ...]:
    state = _state(suite, task, root)
    if not task.source:
        return suite.name, task.name, state, "", "", "", "", ""
    source = load_source(task.source, place)
    folder = fetching.folder_of(source, root)
    files, absent = fetching.needed(source, folder), _absent(source, folder)
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
    here = fetching.present(source, folder)
    return [file for file in fetching.needed(source, folder) if file.name not in here]


def _to_do(source: Source, absent: list[File]) -> str:
    hand = [file for file in absent if fetching.is_by_hand(file)]
    rest = [file for file in absent if not fetching.is_by_hand(file)]
    steps = []
    if hand:
        steps.append(f"put {', '.join(file.name for file in hand)} there")
    if rest and source.access == "terms":
        steps.append("accept its terms")
    if rest:
        steps.append(f"download {_size(rest)}")
    return ", ".join([*steps, "prepare"])


def _size(files: list[File]) -> str:
    known = sum(file.bytes for file in files)
    if all(file.bytes for file in files):
        return amount(known)
    return f"{amount(known)} or more" if known else "(its size is not published)"
