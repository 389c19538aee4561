"""Effects of tricks that boards show: epochs, seeds, means, and pairs of boards that differ."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from bench.report.boards import Board
from bench.report.frame import canonical_json
from bench.report.rows import MethodRow
from bench.report.statistics import Floats
from bench.report.trick_effects import Effect, best_of, effect, group_effect

FEWEST_METHODS = 2  # to have a pair
ORIGINAL, JPEG = "lossless", "jpeg75"  # variants of data


def best_epochs(boards: Iterable[Board]) -> Iterator[Effect]:
    """Yield the best epoch on test against the last, a board at a time."""
    for board, rows in _comparable(boards):
        last = _table(rows, board.tasks, lambda row, task: row.cells[task].mean)
        gains = _table(rows, board.tasks, _mean_gain)
        yield effect(_place(board), last, last + gains)


def _mean_gain(row: MethodRow, task: str) -> float:
    return float(np.mean(list(row.cells[task].gains.values())))


def best_seeds(boards: Iterable[Board], seeds: int) -> Iterator[Effect]:
    """Yield the expected best of so many seeds a task, drawn among those run, against the mean."""
    for board, rows in _comparable(boards):
        enough = [row for row in rows if _fewest_seeds(row) >= seeds]
        if len(enough) >= FEWEST_METHODS:
            mean = _table(enough, board.tasks, lambda row, task: row.cells[task].mean)
            best = _table(
                enough, board.tasks, lambda row, task: float(best_of(_scores(row, task), seeds))
            )
            yield effect(_place(board), mean, best)


def _fewest_seeds(row: MethodRow) -> int:
    return min(len(cell.accuracies) for cell in row.cells.values())


def _scores(row: MethodRow, task: str) -> Floats:
    return np.array(list(row.cells[task].accuracies.values()))


def group_means(boards: Iterable[Board]) -> Iterator[Effect]:
    """Yield the mean over groups against that over tasks, where these weigh tasks differently."""
    for board, rows in _comparable(boards):
        if len({len(tasks) for tasks in board.groups.values()}) > 1:
            table = _table(rows, board.tasks, lambda row, task: row.cells[task].mean)
            groups = [group for group, tasks in board.groups.items() for _ in tasks]
            yield group_effect(_place(board), table, groups)


def checkpoints(boards: Iterable[Board]) -> Iterator[Effect]:
    """Yield another checkpoint of the same architecture, in the direction that gains."""
    for pair in _pairs(boards, _without_checkpoint, lambda board: board.weights):
        both = [
            shown
            for one, other in (pair, pair[::-1])
            for shown in _between(one, other, "backbone", f"{other.backbone} for {one.backbone}")
        ]
        yield from sorted(both, key=lambda shown: -shown.gains.mean())[:1]


def jpeg_copies(boards: Iterable[Board]) -> Iterator[Effect]:
    """Yield JPEG copies of quality 75 against lossless images."""
    for one, other in _pairs(boards, _without_variant, _variant):
        if {_variant(one), _variant(other)} == {ORIGINAL, JPEG}:
            before, after = (one, other) if _variant(one) == ORIGINAL else (other, one)
            yield from _between(before, after, "data", f"{JPEG} for {ORIGINAL}")


def _variant(board: Board) -> str:
    """Return the variant of a board's data; built-in tasks are lossless unless they are copied."""
    return board.variant or (ORIGINAL if board.is_built_in else "")


def unnormalised_inputs(boards: Iterable[Board]) -> Iterator[Effect]:
    """Yield inputs in [0, 1] against those normalised as the backbone was trained."""
    for one, other in _pairs(boards, _without_normalisation, _normalisation):
        if {_normalisation(one), _normalisation(other)} == {"backbone", "none"}:
            before, after = (one, other) if _normalisation(one) == "backbone" else (other, one)
            yield from _between(before, after, "input", "[0, 1] for normalised")


def _normalisation(board: Board) -> str:
    return str(board.recipe.get("normalisation", "backbone"))


def _settings(board: Board) -> dict[str, Any]:
    """Return all that numbers of a board share."""
    names = ("suite", "suite_version", "backbone", "weights", "input", "variant", "splits")
    return {**{name: getattr(board, name) for name in names}, "recipe": board.recipe}


def _without_checkpoint(board: Board) -> dict[str, Any]:
    """Return the settings with the architecture for the backbone and what its training fixes."""
    plain = {**_settings(board), "backbone": _architecture(board)}
    return {name: value for name, value in plain.items() if name not in ("weights", "input")}


def _architecture(board: Board) -> Any:
    """Return the architecture, without its weights."""
    timm_name = str(board.input.get("timm") or board.backbone)
    return [timm_name.partition(".")[0], board.input.get("architecture"), board.input.get("size")]


def _without_variant(board: Board) -> dict[str, Any]:
    return {**_settings(board), "variant": "", "splits": {}}  # a copy's digests are its own


def _without_normalisation(board: Board) -> dict[str, Any]:
    return {**_settings(board), "recipe": {**board.recipe, "normalisation": ""}}


def _pairs(
    boards: Iterable[Board],
    alike: Callable[[Board], dict[str, Any]],
    apart: Callable[[Board], str],
) -> Iterator[tuple[Board, Board]]:
    """Yield pairs of boards equal in all but what tells them apart, in the order of their names."""
    found: dict[str, list[Board]] = defaultdict(list)
    for board in sorted(boards, key=lambda board: board.name):
        found[canonical_json(alike(board))].append(board)
    for same in found.values():
        yield from ((a, b) for a, b in combinations(same, 2) if apart(a) != apart(b))


def _between(before: Board, after: Board, column: str, words: str) -> Iterator[Effect]:
    """Yield the effect of a change of boards on their common complete rows and tasks, if any."""
    tasks = [task for task in before.tasks if task in after.tasks]
    rows, others = ({row.label: row for row in _complete(board)} for board in (before, after))
    labels = sorted(rows.keys() & others.keys())
    if tasks and len(labels) >= FEWEST_METHODS:
        tables = (
            _table([of[label] for label in labels], tasks, lambda row, task: row.cells[task].mean)
            for of in (rows, others)
        )
        yield effect({**_place(before), column: words}, *tables)


def _comparable(boards: Iterable[Board]) -> Iterator[tuple[Board, list[MethodRow]]]:
    """Yield each board with a pair of complete rows, and these.

    None of few shots: its tasks are lists of the same data sets, and no sample of tasks.
    """
    for board in boards:
        rows = _complete(board)
        if len(rows) >= FEWEST_METHODS and not board.draws:
            yield board, rows


def _complete(board: Board) -> list[MethodRow]:
    """Return the rows with a result on every task; their seeds may be other ones."""
    rows = sorted(board.all_rows, key=lambda row: row.label)
    return [row for row in rows if all(cell.accuracies for cell in row.cells.values())]


def _table(
    rows: Sequence[MethodRow], tasks: Sequence[str], value: Callable[[MethodRow, str], float]
) -> Floats:
    """Return a value for each task and row, (T, K)."""
    return np.array([[value(row, task) for row in rows] for task in tasks])


def _place(board: Board) -> dict[str, str]:
    """Return the names of a board, in columns."""
    return {
        "suite": f"{board.suite} v{board.suite_version}",
        "backbone": board.backbone,
        "recipe": board.recipe_name,
    }
