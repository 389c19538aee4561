"""A paper's claims set beside what was measured."""

# MERGED bench.report.claim_checks: """The claims page: what papers say, what was measured, and whether it holds."""
import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from tabulate import tabulate

from bench.papers import layouts
from bench.papers.claims import CLAIMS_PAGE, OWN_RUN, Claim, load_claims, paper_names
from bench.papers.layouts import Paper, load_layouts
from bench.records.schema import Record
from bench.report import statistics
from bench.report.markdown import escape
from bench.report.paper_values import (
    ComparableRecords,
    MeasuredValue,
    PaperResults,
    format_value,
    largest_comparable,
)

VERIFIED, ABOVE, BELOW, NOT_RUN = "verified", "above", "below", "not run"
PARAMS_TOLERANCE = 0.01  # of the printed unit: the papers round some counts and cut off others
ACCURACY_LABELS = {
    "accuracy": "last epoch",
    "best_epoch_accuracy": "best epoch on test (oracle)",
}


@dataclass(frozen=True)
class ClaimCheck:
    """A claim, what was measured, and how the two stand."""

    claim: Claim
    measured: MeasuredValue
    status: str  # VERIFIED, ABOVE, BELOW, NOT_RUN, or incomplete with the count of tasks
    margin: float | None  # half-width within which claim and measurement agree; None: not measured
    column: str  # which accuracy of the records is compared

    @property
    def difference(self) -> float | None:
        """Measured less claimed."""
        return self.measured.mean - self.claim.number if self.measured.values else None

    def to_row(self) -> dict[str, str]:
        """The verdict in words and figures."""
        place = self.claim.entry
        return {
            "paper": self.claim.paper,
            "table": self.claim.table,
            "dataset": place.suite if place.on == "" else f"{place.suite}: {place.on}",
            "model": f"{self.claim.label} ({place.backbone})",
            "metric": METRIC_LABELS[place.metric],
            "claimed": self.claim.value
            + ("" if self.claim.unit in "%M" else f" {self.claim.unit}"),
            "verified": format_value(place, self.measured) if self.measured.values else "",
            "status": self.status,
            "difference": "" if self.difference is None else f"{self.difference:+.2f}",
            "margin": "" if self.margin is None else f"{self.margin:.2f}",
            "column": ACCURACY_LABELS[self.column] if place.metric == "accuracy" else "",
            "ran by": self.claim.paper
            if self.claim.provenance == OWN_RUN
            else self.claim.provenance,
        }


METRIC_LABELS = {
    "accuracy": "Accuracy (%)",
    "params": "Params (M)",
    "total_params": "Total params (of the backbone's)",
    "init_seconds": "Init wall-clock (s)",
}


@dataclass
class ClaimChecker:
    """Sets claims beside records; each claim beside the recipe and column of the paper that ran it.

    A row that a paper took from another that has a folder here is that other's to answer for; a row
    from elsewhere is looked for under the recipe of the paper that printed it. `recipe` overrides
    the recipe for all.
    """

    records: Sequence[Record]
    recipe: str | None = None
    cards: dict[str, Paper] = field(default_factory=dict)
    parts: dict[str, ComparableRecords] = field(default_factory=dict)  # by recipe
    results: dict[tuple[str, str], PaperResults] = field(default_factory=dict)

    def check(self, claim: Claim) -> ClaimCheck:
        """How one claim stands."""
        paper = self._paper(claim)
        found = self._results(self.recipe or paper.recipe, paper.column).measured(claim.entry)
        if not found.values:
            started = f"incomplete ({found.done}/{found.tasks})" if found.done else NOT_RUN
            return ClaimCheck(claim, found, started, None, paper.column)
        margin = MARGIN_OF_METRIC[claim.entry.metric](claim, found, paper)
        status = _compare(found.mean - claim.number, margin)
        return ClaimCheck(claim, found, status, margin, paper.column)

    def _results(self, recipe: str, column: str) -> PaperResults:
        if recipe not in self.parts:
            self.parts[recipe] = largest_comparable(self.records, recipe)
        if (recipe, column) not in self.results:
            self.results[recipe, column] = PaperResults(self.parts[recipe], column)
        return self.results[recipe, column]

    def _paper(self, claim: Claim) -> Paper:
        ran = claim.provenance if claim.provenance in paper_names() else claim.paper
        if ran not in self.cards:
            self.cards[ran] = load_layouts(ran).paper
        return self.cards[ran]


def check_claims(claims: Iterable[Claim], judge: ClaimChecker) -> list[ClaimCheck]:
    """The verdicts of claims, in their order."""
    return [judge.check(claim) for claim in claims]


def _compare(difference: float, margin: float) -> str:
    if abs(difference) <= margin:
        return VERIFIED
    return ABOVE if difference > 0 else BELOW


def _accuracy_margin(claim: Claim, found: MeasuredValue, paper: Paper, *, images: bool) -> float:
    """By the spread of our seeds; of one seed, by the number of test images where that helps."""
    if len(found.values) > 1:
        return statistics.margin_between_seeds(np.array(found.values), paper.runs, claim.last_digit)
    if not images:
        return claim.last_digit / 2
    accuracies = np.array([outcome.accuracy for outcome in found.outcomes])
    counts = np.array([outcome.test_images for outcome in found.outcomes])
    return statistics.margin_from_images(accuracies, counts, claim.last_digit)


def _params_margin(claim: Claim, found: MeasuredValue, paper: Paper) -> float:
    return PARAMS_TOLERANCE


MARGIN_OF_METRIC: dict[str, Callable[[Claim, MeasuredValue, Paper], float]] = {
    "accuracy": partial(_accuracy_margin, images=True),
    "init_seconds": partial(_accuracy_margin, images=False),
    "params": _params_margin,
    "total_params": _params_margin,
}


MARGIN_NOTE = (
    "Verified: the difference lies within the margin, the 95 % half-width for the mean of the "
    "paper's runs and of ours from the spread of our seeds (Student's t) and the printed digit; of "
    "one seed, from the number of test images alone. Parameters agree within 0.01 of the printed "
    "unit. A row that the paper took from another is compared under that other's recipe and column."
)


def dicts_to_csv(lines: Sequence[Mapping[str, str]]) -> str:
    """Lines with the same keys as CSV."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()


NOTICE = "<!-- made by `python -m bench claims` from the records; do not edit -->"
SUMMARY_COLUMNS = ("dataset", "model", "metric", "claimed", "verified", "status")
DETAIL_COLUMNS = ("table", *SUMMARY_COLUMNS, "difference", "margin", "ran by")
EXPLANATION = (
    "Status is *verified* (the difference lies within the margin), *above*, *below*, *incomplete* "
    "(tasks done of those needed) or *not run*. " + MARGIN_NOTE
)


def check_papers(
    records: Sequence[Record], papers: Sequence[str] = (), recipe: str | None = None
) -> list[ClaimCheck]:
    """The verdicts on every claim of the papers, of all where none is named; the newest first."""
    judge = ClaimChecker(records, recipe)
    return [
        verdict
        for paper in sorted(
            papers or paper_names(), key=lambda p: -layouts.load_layouts(p).paper.year
        )
        for verdict in check_claims(load_claims(paper), judge)
    ]


def render_files(found: Sequence[ClaimCheck]) -> dict[str, str]:
    """The page's files: name -> text."""
    return {
        "claims.md": render_claims(found),
        "claims.csv": dicts_to_csv([verdict.to_row() for verdict in found]),
    }


def render_claims(found: Sequence[ClaimCheck]) -> str:
    """The claims pages first, then every claim, a section a paper."""
    parts = [NOTICE, "# Claims", EXPLANATION]
    for paper in dict.fromkeys(verdict.claim.paper for verdict in found):
        of_paper = [verdict for verdict in found if verdict.claim.paper == paper]
        card = layouts.load_layouts(paper).paper
        parts += [f"## {card.title} ({card.year})", _paper_summary(card, of_paper)]
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
    """The papers' own pages of claims, as a table."""
    return _checks_table(
        [verdict for verdict in found if verdict.claim.table == CLAIMS_PAGE], SUMMARY_COLUMNS
    )


def count_statuses(found: Sequence[ClaimCheck]) -> str:
    """How many claims have which status, in one line."""
    kinds = Counter(verdict.status.partition(" (")[0] for verdict in found)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def _paper_summary(card: layouts.Paper, found: Sequence[ClaimCheck]) -> str:
    columns = sorted({line["column"] for v in found if (line := v.to_row())["column"]})
    compared = f" Accuracies are compared with our {' or '.join(columns)}, whichever the paper "
    return escape(
        f"{card.url}; {len(found)} claims: {count_statuses(found)}.{compared}that ran the row reports."
    )


def _checks_table(found: Sequence[ClaimCheck], names: Sequence[str]) -> str:
    lines = [verdict.to_row() for verdict in found]
    cells = [[escape(line[name]) or "–" for name in names] for line in lines]
    heads = [name.capitalize() for name in names]
    return tabulate(cells, heads, "pipe", disable_numparse=True)
