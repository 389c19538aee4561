"""The list of records that others have stated, and that nothing here proves."""

from collections.abc import Iterable

from bench.records.schema import Record
from bench.report.markdown import MISSING, format_number, table_from_dicts

HEADING = "Stated by others, not ranked"
EXPLANATION = (
    "Merged with `--accept-stated`. These records have no predictions that reproduce their "
    "numbers, or their labels could not be checked here. They are excluded from all boards, "
    "means, tests, figures and claims."
)
WORDS = frozenset({"suite", "backbone", "recipe", "task", "method"})


def render_stated(records: Iterable[Record]) -> str:
    """Return the section of a page that lists the records, a line each."""
    table = table_from_dicts(stated_rows(records), WORDS)
    return "\n\n".join((f"## {HEADING}", EXPLANATION, table))


def stated_rows(records: Iterable[Record]) -> list[dict[str, str]]:
    """Return a row for each record, in the order of its entries."""
    return sorted((_row(record) for record in records), key=lambda row: tuple(row.values()))


def _row(record: Record) -> dict[str, str]:
    s = record.settings
    return {
        "suite": f"{s.shown_suite} v{s.suite_version}",
        "backbone": s.backbone,
        "recipe": f"{s.recipe.get('name')} v{s.recipe.get('version')}",
        "task": s.task,
        "method": s.method,
        "seed": str(s.seed),
        "accuracy": format_number(record.outcome.accuracy, 2) if record.outcome else MISSING,
        "cell": record.cell,
    }
