"""A paper's tables from the records, in the paper's layout, and with its claims beside them."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tabulate import tabulate

from bench.records import Record
from bench.report import footers
from bench.report.papers import claims, layouts
from bench.report.papers.claims import Claim, Place
from bench.report.papers.layouts import Laid, Layouts, StandIns
from bench.report.papers.measured import Results, parts_of, text
from bench.report.papers.verdicts import Judge, Verdict
from bench.report.text import grid, safe

NOTICE = "<!-- made by `python -m bench report {}` from the records; do not edit -->"
COLUMN = {
    "accuracy": "Accuracy: top-1 percent on test after the last epoch.",
    "best_epoch_accuracy": "Accuracy: top-1 percent on test at the best of the epochs at which "
    "test was scored, an oracle, as the paper's code reports it.",
}
FOLDER, BESIDE = "papers", "_against"  # below the results; behind a table's name
AGAINST = ("claimed", "verified", "difference", "margin", "status", "ran by")
STANDS_IN = (
    "**Filled from the suite `{}`, which stands in for the paper's data and backbones: these "
    "numbers say nothing about the paper's.**"
)


def write_all(
    paper: str,
    records: Sequence[Record],
    suite: str | None = None,
    recipe: str | None = None,
    against: bool = False,
) -> dict[str, str]:
    """Name below ``results/papers`` -> text, for every table of a paper.

    `suite` stands in for the paper's own; it goes without `against`.
    """
    instead = layouts.stand_ins(suite) if suite else None
    found = layouts.load(paper)
    column = "accuracy" if instead else found.paper.column  # an oracle serves comparison alone
    results = Results(parts_of(records, _recipe(found, instead, recipe)), column)
    named = f"{paper}@{recipe}" if recipe else paper
    folder = f"{named}/{suite}" if suite else named
    notice = NOTICE.format(_words(paper, suite, recipe, against))
    made: dict[str, str] = {}
    for table in found.table:
        laid = layouts.lay(table, instead)
        if laid:
            made[f"{folder}/{table.id}.md"] = _markdown(notice, found, laid, results, suite)
            made[f"{folder}/{table.id}.csv"] = _csv(laid, results)
    compared = _against(notice, paper, found, records, recipe) if against else {}
    return {**made, **{f"{folder}/{name}": text for name, text in compared.items()}}


def written(made: Mapping[str, str], results: Path) -> list[tuple[Path, bytes]]:
    """The files of `made` in a results folder, with their bytes."""
    return [(results / FOLDER / name, content.encode()) for name, content in made.items()]


def present(results: Path, records: Sequence[Record]) -> dict[str, str]:
    """Name in a results folder -> text, for the tables of every kind that the folder has."""
    made: dict[str, str] = {}
    for folder in sorted(path for path in (results / FOLDER).glob("*") if path.is_dir()):
        paper, _, recipe = folder.name.partition("@")
        if paper not in claims.papers():
            continue
        suites = [path.name for path in folder.iterdir() if path.is_dir()]
        if any(folder.glob("*.md")):
            against = any(folder.glob(f"*{BESIDE}.md"))
            made |= write_all(paper, records, None, recipe or None, against)
        for suite in sorted(suites):
            made |= write_all(paper, records, suite, recipe or None)
    return {f"{FOLDER}/{name}": content for name, content in made.items()}


def _words(paper: str, suite: str | None, recipe: str | None, against: bool) -> str:
    """The options that ask for these tables again."""
    more = [f"--suite {suite}"] if suite else []
    more += [f"--recipe {recipe}"] if recipe else []
    return " ".join([f"--paper {paper}", *more, *(["--against"] if against else [])])


def _recipe(found: Layouts, instead: StandIns | None, recipe: str | None) -> str:
    return recipe or (instead.recipe if instead else found.paper.recipe)


def _markdown(notice: str, found: Layouts, laid: Laid, results: Results, suite: str | None) -> str:
    parts = [notice, f"# {found.paper.short}, {laid.id}: {laid.title}"]
    parts += [STANDS_IN.format(suite)] if suite else []
    for title, rows in laid.sections:
        parts += [f"## {title}"] if title else []
        parts.append(_table(laid.columns, rows, results))
    return "\n\n".join([*parts, _foot(found, laid, results)]) + "\n"


def _table(columns: list[str], rows: list[tuple[str, list[Place | None]]], results: Results) -> str:
    lines = [[label, *(_cell(place, results) for place in cells)] for label, cells in rows]
    return grid(["method", *columns], lines)


def _cell(place: Place | None, results: Results) -> str:
    return "" if place is None else text(place, results.find(place))


def _csv(laid: Laid, results: Results) -> str:
    stream = io.StringIO()
    lines = csv.writer(stream, lineterminator="\n")
    lines.writerow(["section", "method", *laid.columns])
    for title, rows in laid.sections:
        for label, cells in rows:
            lines.writerow([title, label, *(_cell(place, results) for place in cells)])
    return stream.getvalue()


def _foot(found: Layouts, laid: Laid, results: Results) -> str:
    parts = results.parts
    said = [
        f"The layout is that of {found.paper.short} ({found.paper.url}).",
        laid.footer,
        f"Measured under recipe {parts.recipe}; mean ± sample sd over seeds; – not run or not "
        "complete, n/a not possible.",
        COLUMN[results.column] if any(p.metric == "accuracy" for p in laid.places()) else "",
    ]
    shown = {place.backbone for place in laid.places()}
    said.append(footers.backbones(r for r in parts.records if r.settings.backbone in shown))
    timed = [place for place in laid.places() if place.metric == "init_seconds"]
    if timed:
        said.append(f"Seconds as measured on {' and '.join(results.machines(timed)) or 'none'}.")
    if parts.left_out:
        said.append(
            f"{parts.left_out} records under this recipe cannot share a table with the others "
            "and were left out."
        )
    return safe(" ".join(filter(None, said)))


def _against(
    notice: str, paper: str, found: Layouts, records: Sequence[Record], recipe: str | None
) -> dict[str, str]:
    """For each table, every cell with its claim."""
    judge = Judge(records, recipe)
    by_place = {(claim.table, claim.place): claim for claim in claims.load(paper)}
    made = {}
    for table in found.table:
        laid = layouts.lay(table)
        if laid:
            lines = list(_compared(laid, by_place, judge))
            title = f"# {found.paper.short}, {laid.id}: claimed and measured"
            body = tabulate(lines, "keys", "pipe", disable_numparse=True)
            name = f"{table.id}{BESIDE}"
            parts = [notice, title, body, AGAINST_FOOT]
            made[f"{name}.md"] = "\n\n".join(parts) + "\n"
            made[f"{name}.csv"] = lines_csv(lines)
    return made


AGAINST_FOOT = (
    "Verified: the difference lies within the margin, the 95 % half-width for the mean of the "
    "paper's runs and of ours from the spread of our seeds (Student's t) and the printed digit; of "
    "one seed, from the number of test images alone. Parameters agree within 0.01 of the printed "
    "unit. A row that the paper took from another is compared under that other's recipe and column."
)


def _compared(
    laid: Laid, by_place: Mapping[tuple[str, Place], Claim], judge: Judge
) -> Iterable[dict[str, str]]:
    for title, rows in laid.sections:
        for label, cells in rows:
            for column, place in zip(laid.columns, cells, strict=True):
                claim = by_place.get((laid.id, place)) if place else None
                if claim:
                    verdict = judge.verdict(claim)
                    yield {"section": title, "method": label, "column": column, **_figures(verdict)}


def _figures(verdict: Verdict) -> dict[str, str]:
    lines = verdict.lines()
    shown = {name: lines[name] for name in AGAINST}
    return {**shown, "verified": shown["verified"] or "–"}


def lines_csv(lines: Sequence[Mapping[str, str]]) -> str:
    """Lines with the same keys as CSV."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()
