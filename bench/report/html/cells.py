"""The records of the page: a line for each, and all that its own view shows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.records import description
from bench.records.schema import Failure, Outcome, Record, Trial
from bench.report.boards import Board, versioned_recipe
from bench.report.frame import canonical_json, format_settings
from bench.report.html.leaderboard import place_of
from bench.report.html.table import TableColumn, decimal_cell
from bench.report.record_diff import rerun_command

RECORD_COLUMNS = (
    TableColumn("suite", menu=True),
    TableColumn("backbone", menu=True),
    TableColumn("recipe", menu=True),
    TableColumn("task", menu=True),
    TableColumn("method", kind="name", hint="opens the cell's record"),
    TableColumn("seed", kind="number"),
    TableColumn("status", menu=True),
    TableColumn("accuracy", kind="number", hint="top-1 percent on test after the last epoch"),
    TableColumn("best epoch", kind="number", hint="oracle: the best of the epochs scored on test"),
    TableColumn("train (s)", kind="number"),
)
NESTED_SETTINGS = ("fields", "rates", "recipe", "input")  # of the settings, each a list of its own
SHOWN_ELSEWHERE = (
    *("losses", "test_accuracies", "accuracy", "best_epoch_accuracy", "best_epoch"),
    "shifts",
)


Pairs = Sequence[tuple[str, str]]


class Pool:
    """Texts, and lists of names and values, each kept once: records share most of theirs."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}
        self.heads: dict[tuple[str, ...], int] = {}  # a title and the names below it
        self.lists: dict[tuple[int, ...], int] = {}  # the numbers of a head, and of the values

    def text(self, text: str) -> int:
        """Return the number of a text."""
        return self.texts.setdefault(text, len(self.texts))

    def add(self, title: str, pairs: Pairs) -> int:
        """Return the number of a list."""
        names, values = zip(*pairs, strict=True)
        head = self.heads.setdefault((title, *names), len(self.heads))
        return self.lists.setdefault((head, *map(self.text, values)), len(self.lists))


def records_data(records: Mapping[str, Record], boards: Sequence[Board]) -> dict[str, Any]:
    """Return the records as JSON, in the order of the page and named as the boards name them."""
    rows = {
        name: (board, row.label)
        for board in boards
        for row in board.all_rows
        for cell in row.cells.values()
        for name in cell.cell_names.values()
    }
    pool = Pool()
    found = sorted(_named(record, *rows.get(name, ())) for name, record in records.items())
    lines = [_line(records[key[-1]], key, key[-1] in rows, pool) for key in found]
    return {
        "columns": [[c.name, c.kind, c.hint, c.menu] for c in RECORD_COLUMNS],
        "lines": lines,
        "texts": list(pool.texts),
        "heads": list(pool.heads),
        "lists": list(pool.lists),
    }


def _named(record: Record, board: Board | None = None, label: str = "") -> tuple[Any, ...]:
    """Return suite, backbone, recipe, task, row, seed and cell: what the page orders records by."""
    settings = record.settings
    suite = f"{settings.shown_suite} v{settings.suite_version}"
    place = suite, settings.backbone, versioned_recipe(settings.recipe)
    shown = place_of(board) if board else place
    return *shown, settings.task, label or settings.method, settings.seed, record.cell


def _line(record: Record, key: tuple[Any, ...], on_board: bool, pool: Pool) -> list[Any]:
    """Return the entries of the table of records, and what the record's own view shows."""
    *entries, cell = key
    outcome = record.outcome
    numbers = [
        decimal_cell(outcome.accuracy if outcome else None, 2).text,
        decimal_cell(outcome.best_epoch_accuracy if outcome else None, 2).text,
        decimal_cell(outcome.train_seconds if outcome else None, 1).text,
    ]
    status = record.failure.kind if record.failure else "ok"
    lists = [pool.add(title, pairs) for title, pairs in _lists(record) if pairs]
    traceback = record.failure.traceback if record.failure else ""
    texts = [record.remark, traceback, rerun_command(record)]
    shown = [pool.text(str(entry)) for entry in (*entries, status, *numbers)]
    return [cell, on_board, shown, lists, *texts]


def _describe_trial(trial: Trial) -> tuple[str, str]:
    found = "no outcome" if trial.accuracy is None else f"{trial.accuracy:.2f} %"
    return description.format_point(
        trial.point
    ), f"{found}, {trial.epochs} epochs, {trial.seconds:.1f} s"


def _lists(record: Record) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    if record.outcome:
        yield "Outcome", [*_outcome_pairs(record.outcome), *_text_pairs(vars(record.outcome))]
    if record.failure:
        yield "Failure", _failure_pairs(record.failure)
    if record.tuned:
        yield "Trials, scored on val", [_describe_trial(trial) for trial in record.tuned.trials]
    settings = vars(record.settings)
    plain = {name: value for name, value in settings.items() if name not in NESTED_SETTINGS}
    yield "Settings", [("group", record.group), *_text_pairs(plain)]
    for part in NESTED_SETTINGS:
        yield f"Settings: {part}", _text_pairs(settings[part])
    yield "Environment", _text_pairs(record.environment)


def _outcome_pairs(outcome: Outcome) -> list[tuple[str, str]]:
    scored = ", ".join(f"{score:.2f} ({at})" for at, score in outcome.test_accuracies.items())
    losses = " → ".join(f"{loss:.4g}" for loss in [*outcome.losses[:1], *outcome.losses[1:][-1:]])
    shifts = ", ".join(f"{one.score:.2f} ({name})" for name, one in outcome.shifts.items())
    return [
        ("accuracy", f"{outcome.accuracy:.2f}"),
        ("best epoch (oracle)", f"{outcome.best_epoch_accuracy:.2f} ({outcome.best_epoch})"),
        ("test accuracy (epoch)", scored),
        ("training loss", f"{losses} ({len(outcome.losses)} epochs)"),
        *([("accuracy under shifts", shifts)] if shifts else []),
    ]


def _failure_pairs(failure: Failure) -> list[tuple[str, str]]:
    return [("kind", failure.kind), ("error", failure.error), ("message", failure.message)]


def _text_pairs(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values as text; what is empty or written apart is left out."""
    shown = [
        (name.replace("_", " "), "" if value is None else _format_value(value))
        for name, value in table.items()
        if name not in SHOWN_ELSEWHERE
    ]
    return [(name, text) for name, text in shown if text]


def _format_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return format_settings(value)
    return value if isinstance(value, str) else canonical_json(value)
