"""The cells of the page: a line a record, and each record's own panel."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench import search
from bench.records import Failure, Outcome, Record, Trial
from bench.report.grouping import canonical, entries
from bench.report.page.page_table import Column, Entry, Table, numbered
from bench.report.page.standings import Standing
from bench.report.replay import replay
from bench.report.text import NONE

COLUMNS = (
    Column("suite", menu=True),
    Column("backbone", menu=True),
    Column("recipe", menu=True),
    Column("task", menu=True),
    Column("method", kind="name", hint="opens the cell's record"),
    Column("seed", kind="number"),
    Column("status", menu=True),
    Column("accuracy", kind="number", hint="top-1 percent on test after the last epoch"),
    Column("best epoch", kind="number", hint="oracle: the best of the epochs scored on test"),
    Column("train (s)", kind="number"),
)
PARTS = ("fields", "rates", "recipe", "input")  # of the settings, each a list of its own
WRITTEN_APART = ("losses", "test_accuracies", "accuracy", "best_epoch_accuracy", "best_epoch")


@dataclass(frozen=True)
class Shown:
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
class Panel:
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


def shown(records: Sequence[Record], rows: Sequence[Standing]) -> list[Shown]:
    """The records in the order of the page, named as the boards name them."""
    at = {
        name: standing
        for standing in rows
        for cell in standing.row.cells.values()
        for name in cell.names.values()
    }
    found = [_shown(record, at.get(record.cell)) for record in records]
    return sorted(found, key=_order)


def table(cells: Sequence[Shown]) -> Table:
    """A line a record."""
    return Table("records", COLUMNS, [_line(cell) for cell in cells])


def panel(cell: Shown) -> Panel:
    """The record's panel."""
    record = cell.record
    settings = record.settings
    return Panel(
        anchor=cell.anchor,
        title=f"{cell.label} on {settings.task}, seed {settings.seed}",
        place=cell.place,
        cell=record.cell,
        row=cell.row,
        status=cell.status,
        lists=[(title, pairs) for title, pairs in _lists(record) if pairs],
        traceback=record.failure.traceback if record.failure else "",
        remark=record.remark,
        replay=replay(record),
    )


def _shown(record: Record, standing: Standing | None) -> Shown:
    if standing:
        return Shown(record, standing.place, standing.row.label, standing.anchor)
    settings = record.settings
    recipe = f"{settings.recipe.get('name')} v{settings.recipe.get('version')}"
    place = f"{settings.suite} v{settings.suite_version}", settings.backbone, recipe
    return Shown(record, place, settings.method, "")


def _order(cell: Shown) -> tuple[Any, ...]:
    settings = cell.record.settings
    return *cell.place, settings.task, cell.label, settings.seed, cell.record.cell


def _line(cell: Shown) -> list[Entry]:
    settings, outcome = cell.record.settings, cell.record.outcome
    return [
        *map(Entry, (*cell.place, settings.task)),
        Entry(cell.label, link=f"#{cell.anchor}"),
        Entry(str(settings.seed), settings.seed),
        Entry(cell.status, look=cell.status),
        _measured(outcome, "accuracy", 2),
        _measured(outcome, "best_epoch_accuracy", 2),
        _measured(outcome, "train_seconds", 1),
    ]


def _measured(outcome: Outcome | None, name: str, decimals: int) -> Entry:
    value = None if outcome is None else getattr(outcome, name)
    return numbered(value, NONE if value is None else f"{value:.{decimals}f}")


def _trial(trial: Trial) -> tuple[str, str]:
    found = "no outcome" if trial.accuracy is None else f"{trial.accuracy:.2f} %"
    return search.said(trial.point), f"{found}, {trial.epochs} epochs, {trial.seconds:.1f} s"


def _lists(record: Record) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    if record.outcome:
        yield "Outcome", [*_results(record.outcome), *_pairs(asdict(record.outcome))]
    if record.failure:
        yield "Failure", _failure(record.failure)
    if record.tuned:
        yield "Trials, scored on val", [_trial(trial) for trial in record.tuned.trials]
    settings = asdict(record.settings)
    plain = {name: value for name, value in settings.items() if name not in PARTS}
    yield "Settings", [("group", record.group), *_pairs(plain)]
    for part in PARTS:
        yield f"Settings: {part}", _pairs(settings[part])
    yield "Environment", _pairs(record.environment)


def _results(outcome: Outcome) -> list[tuple[str, str]]:
    scored = ", ".join(f"{score:.2f} ({at})" for at, score in outcome.test_accuracies.items())
    losses = " → ".join(f"{loss:.4g}" for loss in [*outcome.losses[:1], *outcome.losses[1:][-1:]])
    return [
        ("accuracy", f"{outcome.accuracy:.2f}"),
        ("best epoch (oracle)", f"{outcome.best_epoch_accuracy:.2f} ({outcome.best_epoch})"),
        ("test accuracy (epoch)", scored),
        ("training loss", f"{losses} ({len(outcome.losses)} epochs)"),
    ]


def _failure(failure: Failure) -> list[tuple[str, str]]:
    return [("kind", failure.kind), ("error", failure.error), ("message", failure.message)]


def _pairs(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values as text; what is empty or written apart is left out."""
    return [
        (name.replace("_", " "), _text(value))
        for name, value in table.items()
        if name not in WRITTEN_APART and value not in ("", None)
    ]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return entries(value)
    return value if isinstance(value, str) else canonical(value)
