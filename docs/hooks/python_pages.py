"""The reference of `import bench`: directives for mkdocstrings, and tables of fields."""

from dataclasses import is_dataclass

import bench
import field_tables
from bench.report import data_frames

HEADER = """\
# Python API

`import bench` offers the functions that the commands call, and imports neither torch nor pandas
before they are used. [Examples](../how_to/python.md). Bad input is raised as
`bench.utils.errors.UserError`, with one sentence, before any compute.
"""
SECTIONS = {
    "Read results": ("load_results", "leaderboard", "claims", "load_records", "write_report"),
    "Train one model": ("fit", "FittedModel"),
    "Run cells": ("run", "plan", "tune"),
    "What to run, and how": ("Request", "RunOptions", "Reporter"),
    "What comes back": ("SessionPlan", "SessionResult"),
}


def markdown_page() -> str:
    """Return the page: a section for each group of names."""
    parts = [HEADER]
    for title, names in SECTIONS.items():
        parts += [f"## {title}\n", *map(entry, names)]
    return "\n".join(parts)


def entry(name: str) -> str:
    """Return a name's documentation; a dataclass's with its fields."""
    thing = getattr(bench, name)
    has_fields = isinstance(thing, type) and is_dataclass(thing)
    table = f"\n{field_tables.table(thing)}" if has_fields else ""
    columns = f"\n{columns_table()}" if name == "load_results" else ""
    return f"::: bench.{name}\n{table}{columns}"


def columns_table() -> str:
    """Return the columns of the data frame of results."""
    rows = [f"| `{name}` | {text} |" for name, text in data_frames.RESULT_COLUMNS.items()]
    return "\n".join(["| column | meaning |", "|:--|:--|", *rows]) + "\n"
