"""The list of records that others have stated, and that nothing here proves."""

from collections.abc import Iterable

from bench.records.schema import Record
from bench.report.markdown import MISSING, format_number, table_from_dicts

HEADING = "## Stated by others, not ranked"
EXPLANATION = (
    "Merged with `--accept-stated`: these have no predictions that give their numbers, or labels "
    "that nothing here could be compared with. They are in no board, mean, test, figure or claim."
)
WORDS = frozenset({"suite", "backbone", "recipe", "task", "method"})


def render_stated(records: Iterable[Record]) -> str:
    """Return the section of a page that lists the records, a line each."""
    lines = sorted((_line(record) for record in records), key=lambda line: tuple(line.values()))
    return "\n\n".join((HEADING, EXPLANATION, table_from_dicts(lines, WORDS)))


def _line(record: Record) -> dict[str, str]:
    s = record.settings
    return {
        "suite": f"{s.suite} v{s.suite_version}",
        "backbone": s.backbone,
        "recipe": f"{s.recipe.get('name')} v{s.recipe.get('version')}",
        "task": s.task,
        "method": s.method,
        "seed": str(s.seed),
        "accuracy": format_number(record.outcome.accuracy, 2) if record.outcome else MISSING,
        "cell": record.cell,
    }
