"""The claims page: what papers say, what was measured, and whether it holds."""

from collections import Counter
from collections.abc import Sequence

from tabulate import tabulate

from bench.records import Record
from bench.report.papers import claims, layouts
from bench.report.papers.claims import PAGE
from bench.report.papers.paper_tables import AGAINST_FOOT, lines_csv
from bench.report.papers.verdicts import Judge, Verdict, verdicts
from bench.report.text import safe

NOTICE = "<!-- made by `python -m bench claims` from the records; do not edit -->"
SHOWN = ("dataset", "model", "metric", "claimed", "verified", "status")
MORE = ("table", *SHOWN, "difference", "margin", "ran by")
MEANING = (
    "Status is *verified* (the difference lies within the margin), *above*, *below*, *incomplete* "
    "(tasks done of those needed) or *not run*. " + AGAINST_FOOT
)


def judged(
    records: Sequence[Record], papers: Sequence[str] = (), recipe: str | None = None
) -> list[Verdict]:
    """The verdicts on every claim of the papers, of all where none is named; the newest first."""
    judge = Judge(records, recipe)
    return [
        verdict
        for paper in sorted(papers or claims.papers(), key=lambda p: -layouts.load(p).paper.year)
        for verdict in verdicts(claims.load(paper), judge)
    ]


def write_all(found: Sequence[Verdict]) -> dict[str, str]:
    """The page's files: name -> text."""
    return {
        "claims.md": markdown(found),
        "claims.csv": lines_csv([verdict.lines() for verdict in found]),
    }


def markdown(found: Sequence[Verdict]) -> str:
    """The claims pages first, then every claim, a section a paper."""
    parts = [NOTICE, "# Claims", MEANING]
    for paper in dict.fromkeys(verdict.claim.paper for verdict in found):
        of_paper = [verdict for verdict in found if verdict.claim.paper == paper]
        card = layouts.load(paper).paper
        parts += [f"## {card.title} ({card.year})", _about(card, of_paper)]
        page = [verdict for verdict in of_paper if verdict.claim.table == PAGE]
        if page:
            parts += ["### The claims page", _table(page, SHOWN), "### Every number of its tables"]
        parts.append(_table([v for v in of_paper if v.claim.table != PAGE], MORE))
    return "\n\n".join(parts) + "\n"


def page(found: Sequence[Verdict]) -> str:
    """The papers' own pages of claims, as a table."""
    return _table([verdict for verdict in found if verdict.claim.table == PAGE], SHOWN)


def counts(found: Sequence[Verdict]) -> str:
    """How many claims have which status, in one line."""
    kinds = Counter(verdict.status.partition(" (")[0] for verdict in found)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def _about(card: layouts.Paper, found: Sequence[Verdict]) -> str:
    columns = sorted({line["column"] for v in found if (line := v.lines())["column"]})
    compared = f" Accuracies are compared with our {' or '.join(columns)}, whichever the paper "
    return safe(
        f"{card.url}; {len(found)} claims: {counts(found)}.{compared}that ran the row reports."
    )


def _table(found: Sequence[Verdict], names: Sequence[str]) -> str:
    lines = [verdict.lines() for verdict in found]
    cells = [[safe(line[name]) or "–" for name in names] for line in lines]
    heads = [name.capitalize() for name in names]
    return tabulate(cells, heads, "pipe", disable_numparse=True)
