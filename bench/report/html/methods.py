"""A row of a board in full: its facts, each task with an interval, and its place on the board."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bench.papers.method_sources import source_of
from bench.records.schema import Record
from bench.report import statistics
from bench.report.boards import SIGNIFICANCE_LEVEL, Board, format_rank
from bench.report.frame import format_settings
from bench.report.html.leaderboard import Rank
from bench.report.html.table import decimal_cell
from bench.report.method_colours import FAMILIES, OTHER_FAMILY, method_family
from bench.report.rows import TUNED_PER_TASK, MethodRow, TaskResult

OVER_SEEDS, OF_IMAGES = "seeds", "images"  # what an interval is over
Json = dict[str, Any]


def row_data(board: Board, row: MethodRow, rank: Rank, records: Mapping[str, Record]) -> Json:
    """Return what the page shows of a row beside its line of the table, as JSON."""
    return {
        "label": row.label,
        "method": row.method,
        "family": [*FAMILIES, OTHER_FAMILY].index(method_family(row.method)),
        "facts": [[name, text] for name, text in _facts(board, row, rank).items() if text],
        "tasks": [_task(cell, records) for cell in row.cells.values()],
        "x": [row.params_in_millions, row.init_seconds, row.train_seconds if row.machine else None],
        **_standing(board, row),
    }


def sources_data(boards: list[Board]) -> Json:
    """Return what each method's file says that it implements: a text, and papers by address."""
    names = {row.method for board in boards for row in board.all_rows}
    found = {name: source_of(name) for name in sorted(names)}
    return {
        name: [source.text, list(source.papers.items())] for name, source in found.items() if source
    }


def families_data() -> list[list[str]]:
    """Return the name and the colour of each family of methods."""
    return [[family.name, family.colour] for family in (*FAMILIES, OTHER_FAMILY)]


def _facts(board: Board, row: MethodRow, rank: Rank) -> dict[str, str]:
    return {
        "rank": "none: the row is incomplete" if rank is None else format_rank(rank),
        "params (M)": decimal_cell(row.params_in_millions, 3).text,
        "stored (kB)": "" if row.stored_bytes is None else f"{row.stored_bytes / 1000:.1f}",
        **board.costs.columns(row.label),
        "init (s)": decimal_cell(row.init_seconds, 2).text,
        "train (s)": decimal_cell(row.train_seconds, 1).text if row.machine else "",
        "trials": row.search.words,
        "rates": format_settings(row.rates) or TUNED_PER_TASK,
        "fields": format_settings(row.fields),
        "data": board.variant,
        "splits": format_settings(board.splits),
        "remark": row.remark,
    }


def _task(cell: TaskResult, records: Mapping[str, Record]) -> list[Any]:
    """Return the interval of a task, what it is over, and the result of each seed."""
    measured = {**cell.accuracies, **cell.unshared}
    seeds = [
        [seed, f"{measured[seed]:.2f}" if seed in measured else _ending(name, records), name]
        for seed, name in cell.cell_names.items()
    ]
    return [*_interval(cell, records), seeds]


def _ending(name: str, records: Mapping[str, Record]) -> str:
    failure = records[name].failure if name in records else None
    return failure.kind if failure else ""


def _interval(cell: TaskResult, records: Mapping[str, Record]) -> tuple[str, str]:
    """Return the 95 % interval of the mean over seeds; of one seed, that of its test images."""
    values = list(cell.accuracies.values())
    if len(values) > 1:
        return _format(statistics.seeds_interval(np.array(values))), OVER_SEEDS
    for seed, accuracy in cell.accuracies.items():
        record = records.get(cell.cell_names.get(seed, ""))
        if record and record.outcome:
            images = record.outcome.test_images
            return _format(statistics.images_interval(accuracy, images)), OF_IMAGES
    return "", ""


def _format(ends: tuple[float, float]) -> str:
    low, high = (min(max(end, 0.0), 100.0) for end in ends)
    return f"{low:.2f} to {high:.2f}"


def _standing(board: Board, row: MethodRow) -> Json:
    """Return the interval of the mean, and the numbers of the rows better and worse than this."""
    found = board.comparison
    numbers = [i for i, other in enumerate(board.rows) if other is row]
    if not numbers or len(board.rows) < 2:
        return {"mean": None, "better": [], "worse": []}
    i, means = numbers[0], found.table.mean(axis=0)
    apart = [int(j) for j in np.flatnonzero(found.p[i] < SIGNIFICANCE_LEVEL)]
    return {
        "mean": _format(found.interval(row)),
        "better": [j for j in apart if means[j] < means[i]],
        "worse": [j for j in apart if means[j] > means[i]],
    }


def pairs_data(board: Board) -> Json:
    """Return the test of every pair of complete rows, of rows i < j in the order of i, then j.

    `ends` are the interval of the difference of means in hundredths of a point, low and high after
    one another; `p` has the corrected p by the pair's number, where it is below 1.
    """
    count = min(len(board.rows), MOST_COMPARED)
    if count < 2:
        return {"rows": 0, "ends": [], "p": {}}
    found = board.comparison
    above = np.triu_indices(count, 1)
    ends = statistics.paired_intervals(found.table[:, :count])[above]
    return {
        "rows": count,
        "ends": np.rint(100 * ends).astype(int).ravel().tolist(),
        "p": dict(_p_values(found.p[above])),
    }


MOST_COMPARED = 150  # rows of a board, the best first: pairs are many


def _p_values(p: statistics.Floats) -> Iterator[tuple[str, str]]:
    for number in np.flatnonzero(p < 1):
        yield str(number), f"{p[number]:.2g}"
