"""A board as a table of the page: a line for each row, a column for each group and task."""

from collections.abc import Iterator, Sequence
from statistics import fmean

from bench.records.description import describe_training
from bench.report.baselines import machine_warning
from bench.report.boards import Board, format_rank
from bench.report.html.table import (
    SORTS_FIRST,
    SORTS_LAST,
    DataTable,
    TableCell,
    TableColumn,
    decimal_cell,
    number_cell,
)
from bench.report.leaderboard import SYNTHETIC_NOTE, cell_text, tasks_not_run, tuning_warnings
from bench.report.markdown import MISSING
from bench.report.method_colours import method_family
from bench.report.rows import MethodRow, TaskResult, sample_sd

Rank = tuple[int, int] | None  # the best and the worst that a row may hold; None: it is incomplete
COSTS = {
    "step (ms)": "one training step, all at one batch",
    "memory (MiB)": "at most in training, all at one batch",
}
RANK = TableColumn(
    "rank", "number", hint="over all tasks; shared where a difference is not significant"
)
METHOD = TableColumn("method", "name", hint="opens the method")
PARAMS = TableColumn("params (M)", "number", hint="trainable, the head among them")
MEAN = TableColumn("mean", "number", hint="top-1 percent; mean over all tasks ± sd over seeds")
LAST_COLUMNS = (
    TableColumn("trials", "number", hint="of each task, before its final runs"),
    TableColumn("seeds", "number"),
    TableColumn("init (s)", "number", hint="wall-clock of the method's prepare"),
    TableColumn("tasks", "number", hint="with a result, of those shown"),
)


def ranked_rows(board: Board) -> list[tuple[MethodRow, Rank]]:
    """Return the rows of a board with their ranks, the complete ones first."""
    complete = zip(board.rows, board.comparison.ranks, strict=True)
    return [*complete, *((row, None) for row in board.incomplete)]


def place_of(board: Board) -> tuple[str, str, str]:
    """Return the suite, the backbone and the recipe, as the page writes them."""
    return f"{board.suite} v{board.suite_version}", board.backbone, board.recipe_name


def told_apart(board: Board) -> str:
    """Return what the rows of a board allow to say."""
    note = SYNTHETIC_NOTE if board.is_synthetic else ""
    return " ".join(filter(None, [note, board.comparison.summary()]))


def notes_on(board: Board) -> list[str]:
    """Return what else a reader of the board should know, a sentence each."""
    found = [
        f"{board.records} records.",
        f"Training: {describe_training(board.recipe)}.",
        machine_warning(board.all_rows),
        *tuning_warnings(board),
        board.costs.sentence(),
        tasks_not_run(board),
    ]
    return [text.strip().replace("`", "") for text in found if text]


def board_table(board: Board, name: str) -> DataTable:
    """Return the table of a board: the id `name`, its columns, and the complete rows first."""
    lines = [list(_line(board, row, rank)) for row, rank in ranked_rows(board)]
    return DataTable(name, list(_columns(board)), lines)


def _columns(board: Board) -> Iterator[TableColumn]:
    yield from (RANK, METHOD, PARAMS)
    for name in _costs(board):
        yield TableColumn(name, "number", hint=COSTS[name])
    yield MEAN
    for group in _groups_with_means(board):
        hint = f"top-1 percent; mean over the tasks of {group} ± sd over seeds"
        yield TableColumn(f"mean {group}", "number", hint=hint, group=group)
    for group, tasks in board.groups.items():
        for task in tasks:
            hint = f"top-1 percent, of the group {group}"
            yield TableColumn(task, "number", hint=hint, group=group, is_task=True)
    yield from LAST_COLUMNS


def _costs(board: Board) -> list[str]:
    """Return the columns of cost, of a board that has any."""
    return list(COSTS) if board.costs.by_method else []


def _groups_with_means(board: Board) -> list[str]:
    return list(board.groups) if len(board.groups) > 1 else []


def _line(board: Board, row: MethodRow, rank: Rank) -> Iterator[TableCell]:
    kin = method_family(row.method)
    shown = MISSING if rank is None else format_rank(rank)
    yield number_cell(rank and sum(rank), shown, absent=SORTS_LAST)
    yield TableCell(row.label, mark=(kin.colour, kin.name))
    yield decimal_cell(row.params_in_millions, 3)
    for name in _costs(board):
        yield _cost_cell(board.costs.columns(row.label)[name])
    yield _mean_cell(row, board.tasks)
    for group in _groups_with_means(board):
        yield _mean_cell(row, board.groups[group])
    yield from (_task_cell(row.cells[task]) for task in board.tasks)
    yield number_cell(row.search.trials, row.search.words)
    yield TableCell(str(len(row.seeds)), len(row.seeds))
    yield decimal_cell(row.init_seconds, 2)
    done = sum(bool(cell.accuracies) for cell in row.cells.values())
    yield TableCell(f"{done}/{len(row.cells)}", done / len(row.cells))


def _cost_cell(text: str) -> TableCell:
    return number_cell(None if text == MISSING else float(text), text)


def _task_cell(cell: TaskResult) -> TableCell:
    """Return the mean over seeds, or why there is none."""
    if not cell.accuracies:
        return TableCell(cell_text(cell), SORTS_FIRST, look="failed" if cell.failed else "")
    mean, _, spread = cell_text(cell).partition(" ")
    return TableCell(mean, cell.mean, aside=spread or None)


def _mean_cell(row: MethodRow, tasks: Sequence[str]) -> TableCell:
    """Return the mean over `tasks` of a complete row, with its spread over seeds."""
    if row.means is None:
        return TableCell(MISSING, SORTS_FIRST)
    by_seed = [fmean(row.cells[task].accuracies[seed] for task in tasks) for seed in row.seeds]
    mean = fmean(by_seed)
    sd = sample_sd(by_seed)
    return TableCell(f"{mean:.2f}", mean, aside=None if sd is None else f"± {sd:.2f}")
