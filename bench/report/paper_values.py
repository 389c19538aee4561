"""Our values for the cells of the papers' tables, and the checks of the papers' claims by them."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from bench.papers.claims import (
    MEAN_OVER_GROUPS,
    OWN_RUN,
    Claim,
    PaperEntry,
    load_claims,
    paper_names,
)
from bench.papers.layouts import Paper, load_layouts
from bench.records.schema import Outcome, Record
from bench.report import statistics
from bench.report.boards import split_comparable
from bench.report.markdown import MISSING, format_mean_sd
from bench.report.rows import machine_of, sample_sd

if TYPE_CHECKING:
    import pandas as pd

WHOLE_BACKBONE = "full"  # the method that trains all of it
METRIC_DECIMALS = {"accuracy": 2, "params": 3, "total_params": 2, "init_seconds": 2}


@dataclass(frozen=True)
class MeasuredValue:
    """Our values for a table cell, one per seed, with the progress towards it."""

    values: list[float]  # empty: incomplete, or not run
    done: int  # tasks with a result
    tasks: int  # that it needs
    unsupported: bool = False  # no task has a result, and one is known not to be possible
    outcomes: list[Outcome] = field(default_factory=list)  # behind the first value, one a task

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def sd(self) -> float | None:
        return sample_sd(self.values)


@dataclass(frozen=True)
class ComparableRecords:
    """The records of one recipe; of each suite and backbone, those that share one board."""

    recipe: str
    records: "pd.DataFrame"
    left_out: int  # records of the recipe that cannot share a table with these


def largest_comparable(frame: "pd.DataFrame", recipe: str) -> ComparableRecords:
    """Return, of each suite and backbone, the largest part whose records can share a table."""
    under = frame[frame["recipe"] == recipe]
    parts = sorted(split_comparable(under), key=lambda part: (len(part), part["cell"].tolist()))
    largest = {(part["suite"].iloc[0], part["backbone"].iloc[0]): part for part in parts}
    cells = {cell for part in largest.values() for cell in part["cell"]}
    return ComparableRecords(recipe, under[under["cell"].isin(cells)], len(under) - len(cells))


@dataclass(frozen=True)
class PaperResults:
    """The records of one recipe, looked up by entry; `column` is the accuracy that is meant."""

    parts: ComparableRecords
    column: str

    @cached_property
    def _by_task(self) -> Mapping[Hashable, list[Record]]:
        """The records of each suite, backbone, method and task."""
        names = ["suite", "backbone", "method", "task"]
        return self.parts.records.groupby(names)["record"].agg(list).to_dict()

    def measured(self, entry: PaperEntry) -> MeasuredValue:
        """Return the values of an entry."""
        if entry.metric == "total_params":
            return self._total_params(entry)
        group_of = {task.name: task.group for tasks in entry.tasks.values() for task in tasks}
        records = {task: self._records(entry, entry.suite, task) for task in group_of}
        outcomes = {task: _outcomes_by_seed(of_task) for task, of_task in records.items()}
        seeds = sorted(set.intersection(*map(set, outcomes.values())))
        done = sum(map(bool, outcomes.values()))
        failures = {r.failure.kind for of_task in records.values() for r in of_task if r.failure}
        values = [
            self._value(entry, {t: outcomes[t][s] for t in outcomes}, group_of) for s in seeds
        ]
        first = [of_task[seeds[0]] for of_task in outcomes.values()] if seeds else []
        unsupported = not done and "unsupported" in failures
        return MeasuredValue(values, done, len(outcomes), unsupported, first)

    def machines(self, entries: Iterable[PaperEntry]) -> list[str]:
        """Return the machines that ran the records behind some entries."""
        return sorted(
            {
                machine_of(record)
                for entry in entries
                for suite, tasks in entry.tasks.items()
                for task in tasks
                for record in self._records(entry, suite, task.name)
            }
        )

    def _records(self, entry: PaperEntry, suite: str, task: str) -> list[Record]:
        records = self._by_task.get((suite, entry.backbone, entry.method, task), [])
        return [record for record in records if _has_fields(record, entry.fixed_fields)]

    def _value(
        self, entry: PaperEntry, outcomes: Mapping[str, Outcome], group_of: Mapping[str, str]
    ) -> float:
        if entry.metric == "params":
            return fmean(o.method_params + o.head_params for o in outcomes.values()) / 1e6
        name = self.column if entry.metric == "accuracy" else entry.metric
        values = {task: getattr(outcome, name) for task, outcome in outcomes.items()}
        if entry.on != MEAN_OVER_GROUPS:
            return fmean(values.values())
        groups = dict.fromkeys(group_of.values())
        return fmean(fmean(v for t, v in values.items() if group_of[t] == g) for g in groups)

    def _total_params(self, entry: PaperEntry) -> MeasuredValue:
        """Return the backbone with what all tasks add to it, over the backbone (VPT, Table 1).

        Under full fine-tuning no task keeps the backbone, which is then not stored beside them.
        """
        tasks = [(suite, task.name) for suite, of_suite in entry.tasks.items() for task in of_suite]
        by_seed = [_outcomes_by_seed(self._records(entry, *task)) for task in tasks]
        firsts = [next(iter(outcomes.values())) for outcomes in by_seed if outcomes]
        tuned = sum(first.method_params + first.head_params for first in firsts)
        backbone = self._backbone_params(entry)
        whole = len(firsts) == len(tasks) and backbone
        kept = 0 if entry.method == WHOLE_BACKBONE else backbone
        values = [(kept + tuned) / backbone] if whole else []
        return MeasuredValue(values, len(firsts), len(tasks))

    def _backbone_params(self, entry: PaperEntry) -> int:
        """Return the parameters that `full` trains without its head; 0: there is no such record."""
        frame = self.parts.records
        full = frame[frame["ok"] & (frame["method"] == WHOLE_BACKBONE)]
        full = full[(full["backbone"] == entry.backbone) & full["suite"].isin(list(entry.tasks))]
        return int(full["method_params"].iloc[0]) if len(full) else 0


def format_value(place: PaperEntry, found: MeasuredValue) -> str:
    """Return a cell of a table: ``83.10 ± 0.35``, a dash, or n/a."""
    if not found.values:
        return "n/a" if found.unsupported else MISSING
    decimals = METRIC_DECIMALS[place.metric]
    sd = found.sd if place.metric in ("accuracy", "init_seconds") else None
    return format_mean_sd(found.mean, sd, decimals)


def _has_fields(record: Record, wanted: Mapping[str, object]) -> bool:
    """Return whether a record has the wanted fields, and no other that its run had changed."""
    fields = record.settings.fields
    changed = fields.keys() & record.request.get("changes", {}).keys()
    return changed <= wanted.keys() and all(fields.get(k) == v for k, v in wanted.items())


def _outcomes_by_seed(records: Sequence[Record]) -> dict[int, Outcome]:
    """Return the outcomes by seed; of several records of a seed, the first by its cell's name."""
    ordered = sorted(records, key=lambda record: record.cell, reverse=True)
    return {r.settings.seed: r.outcome for r in ordered if r.outcome}


VERIFIED, ABOVE, BELOW, NOT_RUN = "verified", "above", "below", "not run"
PARAMS_TOLERANCE = 0.01  # of the printed unit: the papers round some counts and cut off others
ACCURACY_LABELS = {
    "accuracy": "last epoch",
    "best_epoch_accuracy": "best epoch on test (oracle)",
}


@dataclass(frozen=True)
class ClaimCheck:
    """A claim, our values, and whether they agree."""

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
        """Return the check as a line of the claims page."""
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
    """Compares claims with records, under the recipe and column of the paper that ran each row.

    A row that a paper took from another that has a folder here is that other's to answer for; a row
    from elsewhere is looked for under the recipe of the paper that printed it. `recipe` overrides
    the recipe for all.
    """

    records: "pd.DataFrame"
    recipe: str | None = None
    cards: dict[str, Paper] = field(default_factory=dict)
    parts: dict[str, ComparableRecords] = field(default_factory=dict)  # by recipe
    results: dict[tuple[str, str], PaperResults] = field(default_factory=dict)

    def check(self, claim: Claim) -> ClaimCheck:
        """Compare one claim with our values."""
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
    """Return the checks of claims, in their order."""
    return [judge.check(claim) for claim in claims]


def _compare(difference: float, margin: float) -> str:
    if abs(difference) <= margin:
        return VERIFIED
    return ABOVE if difference > 0 else BELOW


def _accuracy_margin(claim: Claim, found: MeasuredValue, paper: Paper, *, images: bool) -> float:
    """Return the margin by the spread of our seeds; of one seed, by the `images` if so."""
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


def check_papers(
    records: "pd.DataFrame", papers: Sequence[str] = (), recipe: str | None = None
) -> list[ClaimCheck]:
    """Return the checks of every claim of the papers, or of all papers; the newest paper first."""
    judge = ClaimChecker(records, recipe)
    return [
        verdict
        for paper in sorted(papers or paper_names(), key=lambda p: -load_layouts(p).paper.year)
        for verdict in check_claims(load_claims(paper), judge)
    ]
