"""The sentence on seeds that count in no mean, since a task of their row lacks them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from bench.report.rows import MethodRow

ALL = "all methods"
Seeds = tuple[int, ...]


def unshared_sentence(rows: Sequence[MethodRow]) -> str:
    """Return the sentence, with methods and tasks that lack the same seeds together; or empty."""
    groups = _tasks_by_labels(_labels_by_task(rows))
    named = [
        f"{_names(labels, rows)} on {', '.join(tasks)} ({', '.join(map(str, seeds))})"
        for (seeds, labels), tasks in groups.items()
    ]
    return f"Seeds left out, as not all tasks have them: {'; '.join(named)}." if named else ""


def _labels_by_task(rows: Iterable[MethodRow]) -> dict[tuple[str, Seeds], list[str]]:
    """Return the rows of each task that have the same seeds to leave out."""
    found = defaultdict(list)
    for row in rows:
        for task, cell in row.cells.items():
            if cell.unshared:
                found[task, tuple(cell.unshared)].append(row.label)
    return found


def _tasks_by_labels(
    labels: Mapping[tuple[str, Seeds], Sequence[str]],
) -> dict[tuple[Seeds, tuple[str, ...]], list[str]]:
    """Return the tasks on which the same rows leave out the same seeds."""
    found = defaultdict(list)
    for (task, seeds), of_task in labels.items():
        found[seeds, tuple(of_task)].append(task)
    return found


def _names(labels: Sequence[str], rows: Sequence[MethodRow]) -> str:
    return ALL if 1 < len(rows) == len(labels) else ", ".join(labels)
