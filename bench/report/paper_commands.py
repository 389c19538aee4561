"""The commands that run the cells of a paper's table."""

import shlex
from collections.abc import Iterable, Mapping

from bench.papers.claims import PaperEntry, cached_suite
from bench.utils.escaping import for_terminal

Cells = tuple[str, str, tuple[str, ...]]  # suite, fields, tasks; none: all of the suite's


def run_commands(entries: Iterable[PaperEntry], recipe: str) -> list[str]:
    """Return the fewest commands that run what `entries` need, in the table's order."""
    backbones_of: dict[tuple[Cells, tuple[str, ...]], list[str]] = {}
    for (cells, backbone), methods in _methods_by_cells(entries).items():
        backbones_of.setdefault((cells, tuple(methods)), []).append(backbone)
    return [
        _command(cells, methods, backbones, recipe)
        for (cells, methods), backbones in backbones_of.items()
    ]


def _methods_by_cells(entries: Iterable[PaperEntry]) -> Mapping[tuple[Cells, str], list[str]]:
    """Return the methods of each backbone, by what else their cells have in common."""
    found: dict[tuple[Cells, str], list[str]] = {}
    for (suite, fields, backbone, method), tasks in _tasks_by_row(entries).items():
        every = [task.name for task in cached_suite(suite).task]
        named = () if len(tasks) == len(every) else tuple(name for name in every if name in tasks)
        found.setdefault(((suite, fields, named), backbone), []).append(method)
    return found


def _tasks_by_row(entries: Iterable[PaperEntry]) -> Mapping[tuple[str, str, str, str], set[str]]:
    """Return the tasks of each suite, fields, backbone and method, over all columns."""
    found: dict[tuple[str, str, str, str], set[str]] = {}
    for entry in entries:
        for suite, tasks in entry.tasks.items():
            row = suite, entry.fields, entry.backbone, entry.method
            found.setdefault(row, set()).update(task.name for task in tasks)
    return found


def _command(cells: Cells, methods: Iterable[str], backbones: Iterable[str], recipe: str) -> str:
    suite, fields, tasks = cells
    words = ["python", "-m", "bench", "run", "--suite", suite, "--recipe", recipe]
    words += ["--backbones", ",".join(backbones), "--methods", ",".join(methods)]
    words += ["--tasks", ",".join(tasks)] if tasks else []
    for field in filter(None, fields.split("; ")):
        words += ["--set", field.replace("'", '"')]
    return shlex.join(words)


def commands_section(entries: Iterable[PaperEntry], recipe: str) -> str:
    """Return the commands as a section of a table's page, in Markdown."""
    lines = map(for_terminal, run_commands(entries, recipe))
    intro = "Its cells are run by (`--dry-run` lists them):"
    return "\n".join([intro, "", "```bash", *lines, "```"])
