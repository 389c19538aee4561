"""The papers' pages: their tables from our records, in the papers' layouts; and their claims."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.papers import claims, layouts
from bench.papers.claims import CLAIMS_PAGE, Claim, PaperEntry
from bench.papers.layouts import ExpandedTable, Layouts, Paper, StandIns
from bench.report import markdown
from bench.report.markdown import table_from_dicts, table_from_rows
from bench.report.paper_commands import commands_section
from bench.report.paper_values import (
    ClaimCheck,
    ClaimChecker,
    PaperResults,
    format_value,
    largest_comparable,
)
from bench.utils import folders
from bench.utils.escaping import for_markdown
from bench.utils.files import FileContents
from bench.utils.tables import csv_from_dicts, csv_text

if TYPE_CHECKING:
    import pandas as pd

TABLE_NOTICE = "<!-- made by `python -m bench report {}` from the records; do not edit -->"
ACCURACY_NOTES = {
    "accuracy": "Accuracy: top-1 percent on test after the last epoch.",
    "best_epoch_accuracy": "Accuracy: top-1 percent on test at the best of the epochs at which "
    "test was scored, an oracle, as the paper's code reports it.",
}
FOLDER, COMPARISON_SUFFIX = "papers", "_against"  # below the results; behind a table's name
COMPARISON_COLUMNS = ("claimed", "verified", "difference", "margin", "status", "ran by")
STAND_IN_TABLE_NOTICE = (
    "**Filled from the suite `{}` in place of the paper's data and backbones: these numbers say "
    "nothing about the paper's.**"
)
MARGIN_NOTE = (
    "Verified: the difference lies within the margin, which combines the 95 % half-width for the "
    "mean of the paper's runs and ours (Student's t, from the spread of our seeds) with the "
    "rounding of the printed number; with one seed, it comes from the number of test images "
    "alone. Parameters agree if they differ by at most 0.01 of the printed unit. A row that the "
    "paper copied from another paper is compared under that paper's recipe and column."
)
SUMMARY_COLUMNS = ("dataset", "model", "metric", "claimed", "verified", "status")
DETAIL_COLUMNS = ("table", *SUMMARY_COLUMNS, "difference", "margin", "ran by")
EXPLANATION = (
    "Status is *verified* (the difference lies within the margin), *above*, *below*, *incomplete* "
    "(tasks done of those needed) or *not run*. " + MARGIN_NOTE
)


def render_tables(
    paper: str,
    records: "pd.DataFrame",
    suite: str | None = None,
    recipe: str | None = None,
    against: bool = False,
) -> dict[str, str]:
    """Return every table of a paper as text, by file name below ``results/papers``.

    `suite` is used in place of the paper's own; it goes without `against`.
    """
    instead = layouts.load_stand_ins(suite) if suite else None
    found = layouts.load_layouts(paper)
    column = "accuracy" if instead else found.paper.column  # an oracle serves comparison alone
    results = PaperResults(
        largest_comparable(records, _recipe_name(found, instead, recipe)), column
    )
    named = f"{paper}@{recipe}" if recipe else paper
    folder = f"{named}/{suite}" if suite else named
    notice = TABLE_NOTICE.format(_cli_options(paper, suite, recipe, against))
    made: dict[str, str] = {}
    for table in found.table:
        laid = layouts.expand_table(table, instead)
        if laid:
            made[f"{folder}/{table.id}.md"] = _render_table(notice, found, laid, results, suite)
            made[f"{folder}/{table.id}.csv"] = _table_csv(laid, results)
    compared = _render_comparisons(notice, paper, found, records, recipe) if against else {}
    return {**made, **{f"{folder}/{name}": text for name, text in compared.items()}}


def output_files(made: Mapping[str, str]) -> FileContents:
    """Return the files of `made` by name in a results folder, with their bytes."""
    return {f"{FOLDER}/{name}": content.encode() for name, content in made.items()}


def render_existing(results: Path, records: "pd.DataFrame") -> dict[str, str]:
    """Return the tables of every kind that the folder has, by file name in the folder."""
    folders.require_all_inside(results, [FOLDER])
    made: dict[str, str] = {}
    for folder in sorted(path for path in (results / FOLDER).glob("*") if path.is_dir()):
        paper, _, recipe = folder.name.partition("@")
        if paper not in claims.paper_names():
            continue
        suites = [path.name for path in folder.iterdir() if path.is_dir()]
        if any(folder.glob("*.md")):
            against = any(folder.glob(f"*{COMPARISON_SUFFIX}.md"))
            made |= render_tables(paper, records, None, recipe or None, against)
        for suite in sorted(suites):
            made |= render_tables(paper, records, suite, recipe or None)
    return {f"{FOLDER}/{name}": content for name, content in made.items()}


def _cli_options(paper: str, suite: str | None, recipe: str | None, against: bool) -> str:
    """Return the options that ask for these tables again."""
    more = [f"--suite {suite}"] if suite else []
    more += [f"--recipe {recipe}"] if recipe else []
    return " ".join([f"--paper {paper}", *more, *(["--against"] if against else [])])


def _recipe_name(found: Layouts, instead: StandIns | None, recipe: str | None) -> str:
    return recipe or (instead.recipe if instead else found.paper.recipe)


def _render_table(
    notice: str, found: Layouts, laid: ExpandedTable, results: PaperResults, suite: str | None
) -> str:
    parts = [notice, f"# {for_markdown(f'{found.paper.short}, {laid.id}: {laid.title}')}"]
    parts += [STAND_IN_TABLE_NOTICE.format(suite)] if suite else []
    for title, rows in laid.sections:
        parts += [f"## {for_markdown(title)}"] if title else []
        parts.append(_section_table(laid.columns, rows, results))
    commands = commands_section(laid.entries(), results.parts.recipe)
    return "\n\n".join([*parts, _footer(found, laid, results), commands]) + "\n"


def _section_table(
    columns: list[str], rows: list[tuple[str, list[PaperEntry | None]]], results: PaperResults
) -> str:
    lines = [[label, *(_entry_text(place, results) for place in cells)] for label, cells in rows]
    return table_from_rows(["method", *columns], lines)


def _entry_text(place: PaperEntry | None, results: PaperResults) -> str:
    return "" if place is None else format_value(place, results.measured(place))


def _table_csv(laid: ExpandedTable, results: PaperResults) -> str:
    lines = [
        [title, label, *(_entry_text(place, results) for place in cells)]
        for title, rows in laid.sections
        for label, cells in rows
    ]
    return csv_text([["section", "method", *laid.columns], *lines])


def _footer(found: Layouts, laid: ExpandedTable, results: PaperResults) -> str:
    parts = results.parts
    layout = f"The layout is that of {for_markdown(found.paper.short)} ({found.paper.url})."
    said = [
        laid.footer,
        f"Measured under recipe {parts.recipe}; mean ± sample sd over seeds; – not run or not "
        "complete, n/a not possible.",
        ACCURACY_NOTES[results.column]
        if any(p.metric == "accuracy" for p in laid.entries())
        else "",
    ]
    shown = {place.backbone for place in laid.entries()}
    said.append(
        markdown.backbones_sentence(
            r for r in parts.records["record"] if r.settings.backbone in shown
        )
    )
    timed = [place for place in laid.entries() if place.metric == "init_seconds"]
    if timed:
        said.append(f"Seconds as measured on {' and '.join(results.machines(timed)) or 'none'}.")
    if parts.left_out:
        said.append(
            f"{parts.left_out} records under this recipe cannot share a table with the others "
            "and were left out."
        )
    return f"{layout} {for_markdown(' '.join(filter(None, said)))}"


def _render_comparisons(
    notice: str, paper: str, found: Layouts, records: "pd.DataFrame", recipe: str | None
) -> dict[str, str]:
    """Return, for each table, every cell with its claim."""
    judge = ClaimChecker(records, recipe)
    by_place = {(claim.table, claim.entry): claim for claim in claims.load_claims(paper)}
    made = {}
    for table in found.table:
        laid = layouts.expand_table(table)
        if laid:
            lines = list(_comparison_lines(laid, by_place, judge))
            title = f"# {for_markdown(f'{found.paper.short}, {laid.id}: claimed and measured')}"
            body = table_from_dicts(lines, frozenset(lines[0])) if lines else ""
            name = f"{table.id}{COMPARISON_SUFFIX}"
            parts = [notice, title, body, MARGIN_NOTE]
            made[f"{name}.md"] = "\n\n".join(parts) + "\n"
            made[f"{name}.csv"] = csv_from_dicts(list(lines[0]) if lines else [], lines)
    return made


def _comparison_lines(
    laid: ExpandedTable, by_place: Mapping[tuple[str, PaperEntry], Claim], judge: ClaimChecker
) -> Iterable[dict[str, str]]:
    for title, rows in laid.sections:
        for label, cells in rows:
            for column, place in zip(laid.columns, cells, strict=True):
                claim = by_place.get((laid.id, place)) if place else None
                if claim:
                    verdict = judge.check(claim)
                    yield {
                        "section": title,
                        "method": label,
                        "column": column,
                        **_check_columns(verdict),
                    }


def _check_columns(verdict: ClaimCheck) -> dict[str, str]:
    lines = verdict.to_row()
    shown = {name: lines[name] for name in COMPARISON_COLUMNS}
    return {**shown, "verified": shown["verified"] or "–"}


CLAIMS_NOTICE = "<!-- made by `python -m bench claims` from the records; do not edit -->"


def claims_files(found: Sequence[ClaimCheck]) -> dict[str, str]:
    """Return the files of the claims page, by name."""
    lines = [verdict.to_row() for verdict in found]
    return {
        "claims.md": render_claims(found),
        "claims.csv": csv_from_dicts(list(lines[0]) if lines else [], lines),
    }


def render_claims(found: Sequence[ClaimCheck]) -> str:
    """Return the claims page: a section per paper, its own page of claims first."""
    parts = [CLAIMS_NOTICE, "# Claims", EXPLANATION]
    for paper in dict.fromkeys(verdict.claim.paper for verdict in found):
        of_paper = [verdict for verdict in found if verdict.claim.paper == paper]
        card = layouts.load_layouts(paper).paper
        title = for_markdown(f"{card.title} ({card.year})")
        parts += [f"## {title}", _paper_summary(card, of_paper)]
        page = [verdict for verdict in of_paper if verdict.claim.table == CLAIMS_PAGE]
        if page:
            parts += [
                "### The claims page",
                _checks_table(page, SUMMARY_COLUMNS),
                "### Every number of its tables",
            ]
        parts.append(
            _checks_table([v for v in of_paper if v.claim.table != CLAIMS_PAGE], DETAIL_COLUMNS)
        )
    return "\n\n".join(parts) + "\n"


def summary_table(found: Sequence[ClaimCheck]) -> str:
    """Return the papers' own pages of claims, as a table."""
    return _checks_table(
        [verdict for verdict in found if verdict.claim.table == CLAIMS_PAGE], SUMMARY_COLUMNS
    )


def count_statuses(found: Sequence[ClaimCheck]) -> str:
    """Count the claims by status, in one line."""
    kinds = Counter(verdict.status.partition(" (")[0] for verdict in found)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def _paper_summary(card: Paper, found: Sequence[ClaimCheck]) -> str:
    columns = sorted({line["column"] for v in found if (line := v.to_row())["column"]})
    compared = f" Accuracies are compared with our {' or '.join(columns)}, whichever the paper "
    said = f"{len(found)} claims: {count_statuses(found)}.{compared}that ran the row reports."
    return f"{card.url}; {for_markdown(said)}"


def _checks_table(found: Sequence[ClaimCheck], names: Sequence[str]) -> str:
    lines = [verdict.to_row() for verdict in found]
    cells = [[line[name] or "–" for name in names] for line in lines]
    heads = [name.capitalize() for name in names]
    return table_from_rows(heads, cells, frozenset(heads))
