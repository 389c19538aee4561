"""The records as CSV: a line for each."""

from collections.abc import Iterable
from typing import Any

from bench.records.schema import Record
from bench.report.frame import canonical_json
from bench.report.markdown import MISSING, SHA_DIGITS
from bench.utils.tables import csv_from_dicts

CSV_COLUMNS = (
    *("suite", "suite_version", "task", "group", "classes", "backbone", "weights", "method"),
    *("fields", "rates", "recipe", "recipe_version", "seed", "status", "accuracy"),
    *("best_epoch_accuracy", "method_params", "head_params", "init_seconds", "train_seconds"),
    *("peak_memory_mb", "stored_bytes", "code", "cell"),
)


def records_csv(records: Iterable[Record]) -> str:
    """Return one line per record, also of those that failed, in an order of their own."""
    lines = sorted((_csv_line(record) for record in records), key=_csv_sort_key)
    return csv_from_dicts(CSV_COLUMNS, lines)


def _csv_line(record: Record) -> dict[str, Any]:
    measured = vars(record.outcome) if record.outcome else {}
    settings = record.settings
    return {
        **vars(settings),
        **measured,
        "suite": settings.shown_suite,
        "group": record.group,
        "weights": settings.weights[:SHA_DIGITS],
        "fields": canonical_json(settings.fields),
        "rates": canonical_json(settings.rates),
        "recipe": settings.recipe.get("name"),
        "recipe_version": settings.recipe.get("version"),
        "status": record.failure.kind if record.failure else "ok",
        "stored_bytes": _stored_bytes(record),
        "cell": record.cell,
    }


def _stored_bytes(record: Record) -> int | str:
    """Return the size of what `export` writes; a dash where an early record does not say it."""
    if record.outcome is None:
        return ""
    size = record.outcome.stored_bytes
    return MISSING if size is None else size


def _csv_sort_key(line: dict[str, Any]) -> tuple[str | int, ...]:
    names = ("backbone", "weights", "method", "fields", "task", "rates")
    recipe = str(line["recipe"]), str(line["recipe_version"])
    of_cell = tuple(str(line[name]) for name in names)
    return line["suite"], line["suite_version"], *recipe, *of_cell, line["seed"], line["cell"]
