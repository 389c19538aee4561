"""The claims of papers on the page: what was printed, and what was found here."""

import re
from collections.abc import Mapping, Sequence

from bench.report.page.page_table import FIRST, Column, Entry, Table

COLUMNS = (
    Column("paper", menu=True),
    Column("dataset"),
    Column("model"),
    Column("metric"),
    Column("claimed", kind="number", hint="what the paper prints"),
    Column("verified", kind="number", hint="what was found here"),
    Column("status", menu=True),
)
ARXIV = re.compile(r"\b\d{4}\.\d{4,5}\b")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def table(claims: Sequence[Mapping[str, str]]) -> Table:
    """A line a claim, in the order given."""
    return Table(
        "papers", COLUMNS, [[_entry(c, claim[c.name]) for c in COLUMNS] for claim in claims]
    )


def _entry(column: Column, text: str) -> Entry:
    if column.kind == "number":
        found = NUMBER.search(text.replace(",", ""))
        return Entry(text, float(found[0]) if found else FIRST)
    paper = ARXIV.search(text) if column.name == "paper" else None
    return Entry(text, link=f"https://arxiv.org/abs/{paper[0]}" if paper else "")
