"""The reference of records, from the schema that reads them."""

import inspect

import field_tables
from bench.records import schema

HEADER = """\
# Records

A cell (one method on one backbone and task with one seed) leaves one JSON file in `records/` of the
results folder. Its name ends with the cell's ID: 16 hex digits of the hash of `settings`. The
predicted classes are in `predictions/`. A record with other fields, or with values beyond the
bounds below, is refused. `python -m bench show CELL` prints a record, and
`bench.load_results(FOLDER)` reads all of them into [a data frame](python.md).
"""
PARTS = (
    schema.Record,
    schema.Settings,
    schema.Outcome,
    schema.ShiftScore,
    schema.Failure,
    schema.TuningResult,
    schema.Trial,
)


def markdown_page() -> str:
    """Return the page: a section for each part of a record."""
    version = f"The current schema is version {schema.SCHEMA_VERSION}.\n"
    return "\n".join([HEADER, version, *map(section, PARTS)])


def section(cls: type) -> str:
    """Return the section of a part of a record."""
    return f"## {cls.__name__}\n\n{inspect.getdoc(cls)}\n\n{field_tables.table(cls)}"
