"""A paper's claims set beside what was measured."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from bench.records import Record
from bench.report import statistics
from bench.report.papers.claims import OWN, Claim, papers
from bench.report.papers.layouts import Paper, load
from bench.report.papers.measured import Measured, Parts, Results, parts_of, text

VERIFIED, ABOVE, BELOW, NOT_RUN = "verified", "above", "below", "not run"
PARAMS = 0.01  # of the printed unit: the papers round some counts and cut off others
COLUMN = {
    "accuracy": "last epoch",
    "best_epoch_accuracy": "best epoch on test (oracle)",
}


@dataclass(frozen=True)
class Verdict:
    """A claim, what was measured, and how the two stand."""

    claim: Claim
    found: Measured
    status: str  # VERIFIED, ABOVE, BELOW, NOT_RUN, or incomplete with the count of tasks
    margin: float | None  # half-width within which claim and measurement agree; None: not measured
    column: str  # which accuracy of the records is compared

    @property
    def difference(self) -> float | None:
        """Measured less claimed."""
        return self.found.mean - self.claim.number if self.found.values else None

    def lines(self) -> dict[str, str]:
        """The verdict in words and figures."""
        place = self.claim.place
        return {
            "paper": self.claim.paper,
            "table": self.claim.table,
            "dataset": place.suite if place.on == "" else f"{place.suite}: {place.on}",
            "model": f"{self.claim.label} ({place.backbone})",
            "metric": METRICS[place.metric],
            "claimed": self.claim.value
            + ("" if self.claim.unit in "%M" else f" {self.claim.unit}"),
            "verified": text(place, self.found) if self.found.values else "",
            "status": self.status,
            "difference": "" if self.difference is None else f"{self.difference:+.2f}",
            "margin": "" if self.margin is None else f"{self.margin:.2f}",
            "column": COLUMN[self.column] if place.metric == "accuracy" else "",
            "ran by": self.claim.paper if self.claim.provenance == OWN else self.claim.provenance,
        }


METRICS = {
    "accuracy": "Accuracy (%)",
    "params": "Params (M)",
    "total_params": "Total params (of the backbone's)",
    "init_seconds": "Init wall-clock (s)",
}


@dataclass
class Judge:
    """Sets claims beside records; each claim beside the recipe and column of the paper that ran it.

    A row that a paper took from another that has a folder here is that other's to answer for; a row
    from elsewhere is looked for under the recipe of the paper that printed it. `recipe` overrides
    the recipe for all.
    """

    records: Sequence[Record]
    recipe: str | None = None
    cards: dict[str, Paper] = field(default_factory=dict)
    parts: dict[str, Parts] = field(default_factory=dict)  # by recipe
    results: dict[tuple[str, str], Results] = field(default_factory=dict)

    def verdict(self, claim: Claim) -> Verdict:
        """How one claim stands."""
        paper = self._paper(claim)
        found = self._results(self.recipe or paper.recipe, paper.column).find(claim.place)
        if not found.values:
            started = f"incomplete ({found.done}/{found.tasks})" if found.done else NOT_RUN
            return Verdict(claim, found, started, None, paper.column)
        margin = MARGINS[claim.place.metric](claim, found, paper)
        status = _status(found.mean - claim.number, margin)
        return Verdict(claim, found, status, margin, paper.column)

    def _results(self, recipe: str, column: str) -> Results:
        if recipe not in self.parts:
            self.parts[recipe] = parts_of(self.records, recipe)
        if (recipe, column) not in self.results:
            self.results[recipe, column] = Results(self.parts[recipe], column)
        return self.results[recipe, column]

    def _paper(self, claim: Claim) -> Paper:
        ran = claim.provenance if claim.provenance in papers() else claim.paper
        if ran not in self.cards:
            self.cards[ran] = load(ran).paper
        return self.cards[ran]


def verdicts(claims: Iterable[Claim], judge: Judge) -> list[Verdict]:
    """The verdicts of claims, in their order."""
    return [judge.verdict(claim) for claim in claims]


def _status(difference: float, margin: float) -> str:
    if abs(difference) <= margin:
        return VERIFIED
    return ABOVE if difference > 0 else BELOW


def _of_seeds(claim: Claim, found: Measured, paper: Paper, *, images: bool) -> float:
    """By the spread of our seeds; of one seed, by the number of test images where that helps."""
    if len(found.values) > 1:
        return statistics.margin(np.array(found.values), paper.runs, claim.digit)
    if not images:
        return claim.digit / 2
    accuracies = np.array([outcome.accuracy for outcome in found.outcomes])
    counts = np.array([outcome.test_images for outcome in found.outcomes])
    return statistics.margin_of_images(accuracies, counts, claim.digit)


def _of_counts(claim: Claim, found: Measured, paper: Paper) -> float:
    return PARAMS


MARGINS: dict[str, Callable[[Claim, Measured, Paper], float]] = {
    "accuracy": partial(_of_seeds, images=True),
    "init_seconds": partial(_of_seeds, images=False),
    "params": _of_counts,
    "total_params": _of_counts,
}
