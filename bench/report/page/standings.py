"""The leaderboard of the page: a line for each board, group and row, and each row's own panel."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.records import Record
from bench.report.comparison import rank_text
from bench.report.families import family
from bench.report.grouping import entries
from bench.report.leaderboard import Board
from bench.report.page.page_table import FIRST, LAST, Column, Entry, Table, numbered
from bench.report.rows import CHOSEN, Cell, Row, spread
from bench.report.tables import cell_text
from bench.report.text import NONE

ALL = "all tasks"
SHARED = "on its board, over all tasks; shared where a difference is not significant"
COLUMNS = (
    Column("suite", menu=True),
    Column("backbone", menu=True),
    Column("recipe", menu=True),
    Column("group", menu=True, chosen=ALL),
    Column("rank", kind="number", hint=SHARED),
    Column("method", kind="name", hint="opens the row's cells"),
    Column("params (M)", kind="number", hint="trainable, the head among them"),
    Column("accuracy", kind="number", hint="top-1 percent; mean over tasks ± sd over seeds"),
    Column("seeds", kind="number"),
    Column("init (s)", kind="number", hint="wall-clock of the method's prepare"),
    Column("tasks", kind="number", hint="with a result, of those shown"),
)


@dataclass(frozen=True)
class Standing:
    """A row with its board, and with its rank where it is complete."""

    board: Board
    row: Row
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
class Result:
    """What one seed gave on one task; `link` leads to its record, where the page has it."""

    seed: int
    text: str
    link: str


@dataclass(frozen=True)
class Panel:
    """A row in full: its settings, and its cells task by task."""

    anchor: str
    title: str
    place: Sequence[str]
    facts: list[tuple[str, str]]
    tasks: list[tuple[str, str, str, list[Result]]]  # task, group, accuracy, a result a seed


def standings(boards: Sequence[Board]) -> list[Standing]:
    """Every row of every board, the complete ones first."""
    found = []
    for board in boards:
        ranked = zip(board.rows, board.comparison.ranks, strict=True)
        found += [Standing(board, row, rank) for row, rank in ranked]
        found += [Standing(board, row, None) for row in board.incomplete]
    return found


def table(boards: Sequence[Board]) -> Table:
    """The lines of all boards: those of all tasks first, then those of each group."""
    lines = []
    for board in boards:
        rows = standings([board])
        for group, tasks in {ALL: board.tasks, **board.groups}.items():
            lines += [_line(standing, group, tasks) for standing in rows]
    return Table("standings", COLUMNS, lines)


def panel(standing: Standing, records: Mapping[str, Record], linked: bool) -> Panel:
    """The row's panel; `linked`: the page has the records to which it leads."""
    groups = standing.board.groups
    tasks = [
        (task, group, cell_text(cell), list(_results(cell, records, linked)))
        for group, names in groups.items()
        for task, cell in ((name, standing.row.cells[name]) for name in names)
    ]
    return Panel(standing.anchor, standing.row.label, standing.place, _facts(standing), tasks)


def _line(standing: Standing, group: str, tasks: list[str]) -> list[Entry]:
    row, rank = standing.row, standing.rank
    done = sum(bool(row.cells[task].accuracies) for task in tasks)
    kin = family(row.method)
    return [
        *map(Entry, (*standing.place, group)),
        numbered(rank and sum(rank), NONE if rank is None else rank_text(rank), absent=LAST),
        Entry(row.label, link=f"#{standing.anchor}", mark=(kin.colour, kin.name)),
        _decimals(_params(row), 3),
        _accuracy(row, tasks),
        Entry(str(len(row.seeds)), len(row.seeds)),
        _decimals(row.init_seconds, 2),
        Entry(f"{done}/{len(tasks)}", done / len(tasks)),
    ]


def _accuracy(row: Row, tasks: list[str]) -> Entry:
    """The mean over `tasks` of a complete row, with its spread over seeds."""
    if row.means is None:
        return Entry(NONE, FIRST, aside="")
    by_seed = [fmean(row.cells[task].accuracies[seed] for task in tasks) for seed in row.seeds]
    mean = fmean(by_seed)
    sd = spread(by_seed)
    return Entry(f"{mean:.2f}", mean, aside="" if sd is None else f"± {sd:.2f}")


def _params(row: Row) -> float | None:
    """Millions, the head among them."""
    if row.method_params is None or row.head_params is None:
        return None
    return (row.method_params + row.head_params) / 1e6


def _decimals(value: float | None, decimals: int) -> Entry:
    return numbered(value, NONE if value is None else f"{value:.{decimals}f}")


def _facts(standing: Standing) -> list[tuple[str, str]]:
    board, row = standing.board, standing.row
    said = {
        "rank": "none: the row is incomplete"
        if standing.rank is None
        else rank_text(standing.rank),
        "params (M)": _decimals(_params(row), 3).text,
        "init (s)": _decimals(row.init_seconds, 2).text,
        "fields": entries(row.fields),
        "rates": entries(row.rates) or CHOSEN,
        "data": board.variant,
        "splits": entries(board.splits),
        "not run": ", ".join(board.not_run),
        "remark": row.remark,
    }
    return [(name, text) for name, text in said.items() if text]


def _results(cell: Cell, records: Mapping[str, Record], linked: bool) -> Iterator[Result]:
    for seed, name in cell.names.items():
        failure = records[name].failure if name in records else None
        text = failure.kind if failure else f"{cell.accuracies[seed]:.2f}"
        yield Result(seed, text, f"#cell-{name}" if linked else "")
