"""The leaderboard of the page: a line for each board, group and row, and each row's own panel."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.records.schema import Record
from bench.report.boards import Board, format_rank
from bench.report.frame import format_settings
from bench.report.html.table import (
    SORTS_FIRST,
    SORTS_LAST,
    DataTable,
    TableCell,
    TableColumn,
    decimal_cell,
    number_cell,
)
from bench.report.leaderboard import cell_text
from bench.report.markdown import MISSING
from bench.report.method_colours import method_family
from bench.report.rows import TUNED_PER_TASK, MethodRow, TaskResult, sample_sd

ALL_TASKS = "all tasks"
RANK_HINT = "on its board, over all tasks; shared where a difference is not significant"
LEADERBOARD_COLUMNS = (
    TableColumn("suite", menu=True),
    TableColumn("backbone", menu=True),
    TableColumn("recipe", menu=True),
    TableColumn("group", menu=True, chosen=ALL_TASKS),
    TableColumn("rank", kind="number", hint=RANK_HINT),
    TableColumn("method", kind="name", hint="opens the row's cells"),
    TableColumn("params (M)", kind="number", hint="trainable, the head among them"),
    TableColumn("step (ms)", kind="number", hint="one training step, all at one batch"),
    TableColumn("memory (MiB)", kind="number", hint="at most in training, all at one batch"),
    TableColumn("accuracy", kind="number", hint="top-1 percent; mean over tasks ± sd over seeds"),
    TableColumn("trials", kind="number", hint="of each task, before its final runs"),
    TableColumn("seeds", kind="number"),
    TableColumn("init (s)", kind="number", hint="wall-clock of the method's prepare"),
    TableColumn("tasks", kind="number", hint="with a result, of those shown"),
)


@dataclass(frozen=True)
class LeaderboardRow:
    """A row with its board, and with its rank where it is complete."""

    board: Board
    row: MethodRow
    rank: tuple[int, int] | None  # the best and the worst that it may hold

    @property
    def anchor(self) -> str:
        """The id of the row's panel: the same as long as board and row keep their names."""
        name = f"{self.board.name}\n{self.row.label}"
        return f"row-{hashlib.sha256(name.encode()).hexdigest()[:12]}"

    @property
    def place(self) -> tuple[str, str, str]:
        """The suite, the backbone and the recipe, as the page writes them."""
        board = self.board
        return f"{board.suite} v{board.suite_version}", board.backbone, board.recipe_name


@dataclass(frozen=True)
class SeedResult:
    """The result of one seed on one task; `link` leads to its record, where the page has it."""

    seed: int
    text: str
    link: str


@dataclass(frozen=True)
class RowPanel:
    """A row in full: its settings, and its cells task by task."""

    anchor: str
    title: str
    place: Sequence[str]
    facts: list[tuple[str, str]]
    tasks: list[tuple[str, str, str, list[SeedResult]]]  # task, group, accuracy, a result a seed


def leaderboard_rows(boards: Sequence[Board]) -> list[LeaderboardRow]:
    """Return every row of every board, the complete ones first."""
    found = []
    for board in boards:
        ranked = zip(board.rows, board.comparison.ranks, strict=True)
        found += [LeaderboardRow(board, row, rank) for row, rank in ranked]
        found += [LeaderboardRow(board, row, None) for row in board.incomplete]
    return found


def leaderboard_table(boards: Sequence[Board]) -> DataTable:
    """Return the lines of all boards: all tasks first, then each group of tasks."""
    lines = []
    for board in boards:
        rows = leaderboard_rows([board])
        for group, tasks in {ALL_TASKS: board.tasks, **board.groups}.items():
            lines += [_table_line(standing, group, tasks) for standing in rows]
    return DataTable("standings", LEADERBOARD_COLUMNS, lines)


def row_panel(standing: LeaderboardRow, records: Mapping[str, Record], linked: bool) -> RowPanel:
    """Return the row's panel; `linked`: the page has the records to which it leads."""
    groups = standing.board.groups
    tasks = [
        (task, group, cell_text(cell), list(_seed_results(cell, records, linked)))
        for group, names in groups.items()
        for task, cell in ((name, standing.row.cells[name]) for name in names)
    ]
    return RowPanel(
        standing.anchor, standing.row.label, standing.place, _row_facts(standing), tasks
    )


def _table_line(standing: LeaderboardRow, group: str, tasks: list[str]) -> list[TableCell]:
    row, rank = standing.row, standing.rank
    done = sum(bool(row.cells[task].accuracies) for task in tasks)
    kin = method_family(row.method)
    return [
        *map(TableCell, (*standing.place, group)),
        number_cell(
            rank and sum(rank), MISSING if rank is None else format_rank(rank), absent=SORTS_LAST
        ),
        TableCell(row.label, link=f"#{standing.anchor}", mark=(kin.colour, kin.name)),
        decimal_cell(row.params_in_millions, 3),
        *(_cost_cell(standing, head) for head in ("step (ms)", "memory (MiB)")),
        _accuracy_cell(row, tasks),
        number_cell(row.search.trials, row.search.words),
        TableCell(str(len(row.seeds)), len(row.seeds)),
        decimal_cell(row.init_seconds, 2),
        TableCell(f"{done}/{len(tasks)}", done / len(tasks)),
    ]


def _cost_cell(standing: LeaderboardRow, head: str) -> TableCell:
    text = standing.board.costs.columns(standing.row.label).get(head, MISSING)
    return number_cell(None if text == MISSING else float(text), text)


def _accuracy_cell(row: MethodRow, tasks: list[str]) -> TableCell:
    """Return the mean over `tasks` of a complete row, with its spread over seeds."""
    if row.means is None:
        return TableCell(MISSING, SORTS_FIRST, aside="")
    by_seed = [fmean(row.cells[task].accuracies[seed] for task in tasks) for seed in row.seeds]
    mean = fmean(by_seed)
    sd = sample_sd(by_seed)
    return TableCell(f"{mean:.2f}", mean, aside="" if sd is None else f"± {sd:.2f}")


def _row_facts(standing: LeaderboardRow) -> list[tuple[str, str]]:
    board, row = standing.board, standing.row
    said = {
        "rank": "none: the row is incomplete"
        if standing.rank is None
        else format_rank(standing.rank),
        "params (M)": decimal_cell(row.params_in_millions, 3).text,
        "stored (kB)": "" if row.stored_bytes is None else f"{row.stored_bytes / 1000:.1f}",
        **board.costs.columns(row.label),
        "init (s)": decimal_cell(row.init_seconds, 2).text,
        "trials": row.search.words,
        "fields": format_settings(row.fields),
        "rates": format_settings(row.rates) or TUNED_PER_TASK,
        "data": board.variant,
        "splits": format_settings(board.splits),
        "not run": ", ".join(board.not_run),
        "remark": row.remark,
    }
    return [(name, text) for name, text in said.items() if text]


def _seed_results(
    cell: TaskResult, records: Mapping[str, Record], linked: bool
) -> Iterator[SeedResult]:
    measured = {**cell.accuracies, **cell.unshared}
    for seed, name in cell.cell_names.items():
        failure = records[name].failure if name in records else None
        text = failure.kind if failure else f"{measured[seed]:.2f}"
        yield SeedResult(seed, text, f"#cell-{name}" if linked else "")
