"""The cells of the page: a line per record, and each record's own panel."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.records import description
from bench.records.schema import Failure, Outcome, Record, Trial
from bench.report.boards import versioned_recipe
from bench.report.frame import canonical_json, format_settings
from bench.report.html.leaderboard import LeaderboardRow
from bench.report.html.table import DataTable, TableCell, TableColumn, decimal_cell
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


@dataclass(frozen=True)
class PageRecord:
    """A record as the page names it; `row` is the id of its row's panel, or empty."""

    record: Record
    place: tuple[str, str, str]  # suite, backbone, recipe
    label: str
    row: str

    @property
    def anchor(self) -> str:
        return f"cell-{self.record.cell}"

    @property
    def status(self) -> str:
        return self.record.failure.kind if self.record.failure else "ok"


@dataclass(frozen=True)
class RecordPanel:
    """A record in full: lists of names and values, each with a title."""

    anchor: str
    title: str
    place: Sequence[str]
    cell: str
    row: str
    status: str
    lists: list[tuple[str, list[tuple[str, str]]]]
    traceback: str
    remark: str
    replay: str


def page_records(records: Sequence[Record], rows: Sequence[LeaderboardRow]) -> list[PageRecord]:
    """Return the records in the order of the page, named as the boards name them."""
    at = {
        name: standing
        for standing in rows
        for cell in standing.row.cells.values()
        for name in cell.cell_names.values()
    }
    found = [_page_record(record, at.get(record.cell)) for record in records]
    return sorted(found, key=_page_order)


def records_table(cells: Sequence[PageRecord]) -> DataTable:
    """Return a line per record."""
    return DataTable("records", RECORD_COLUMNS, [_table_line(cell) for cell in cells])


def record_panel(cell: PageRecord) -> RecordPanel:
    """Return the record's panel."""
    record = cell.record
    settings = record.settings
    return RecordPanel(
        anchor=cell.anchor,
        title=f"{cell.label} on {settings.task}, seed {settings.seed}",
        place=cell.place,
        cell=record.cell,
        row=cell.row,
        status=cell.status,
        lists=[(title, pairs) for title, pairs in _panel_lists(record) if pairs],
        traceback=record.failure.traceback if record.failure else "",
        remark=record.remark,
        replay=rerun_command(record),
    )


def _page_record(record: Record, standing: LeaderboardRow | None) -> PageRecord:
    if standing:
        return PageRecord(record, standing.place, standing.row.label, standing.anchor)
    settings = record.settings
    suite = f"{settings.shown_suite} v{settings.suite_version}"
    place = suite, settings.backbone, versioned_recipe(settings.recipe)
    return PageRecord(record, place, settings.method, "")


def _page_order(cell: PageRecord) -> tuple[Any, ...]:
    settings = cell.record.settings
    return *cell.place, settings.task, cell.label, settings.seed, cell.record.cell


def _table_line(cell: PageRecord) -> list[TableCell]:
    settings, outcome = cell.record.settings, cell.record.outcome
    return [
        *map(TableCell, (*cell.place, settings.task)),
        TableCell(cell.label, link=f"#{cell.anchor}"),
        TableCell(str(settings.seed), settings.seed),
        TableCell(cell.status, look=cell.status),
        decimal_cell(outcome.accuracy if outcome else None, 2),
        decimal_cell(outcome.best_epoch_accuracy if outcome else None, 2),
        decimal_cell(outcome.train_seconds if outcome else None, 1),
    ]


def _describe_trial(trial: Trial) -> tuple[str, str]:
    found = "no outcome" if trial.accuracy is None else f"{trial.accuracy:.2f} %"
    return description.format_point(
        trial.point
    ), f"{found}, {trial.epochs} epochs, {trial.seconds:.1f} s"


def _panel_lists(record: Record) -> Iterator[tuple[str, list[tuple[str, str]]]]:
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
    return [
        (name.replace("_", " "), _format_value(value))
        for name, value in table.items()
        if name not in SHOWN_ELSEWHERE and value not in ("", None)
    ]


def _format_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return format_settings(value)
    return value if isinstance(value, str) else canonical_json(value)
