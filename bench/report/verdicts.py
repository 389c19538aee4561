"""Verdicts on other people's records: refused, stated, or recomputed from their predictions.

A record that is not refused is *recomputed* where its predictions and the labels of a known split
give its number, and *stated* otherwise (docs/explained/trust.md).
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bench.records import measurements, serialising
from bench.records.measurements import MEASUREMENTS, MeasurementFile
from bench.records.predictions import Predictions
from bench.records.schema import Record
from bench.records.store import RECORDS_DIR, Store, read_record
from bench.report.known_labels import KnownLabels, prediction_problem
from bench.report.record_checks import CHECKS
from bench.report.record_search import find_record_files
from bench.report.shift_evidence import ShiftPredictions, read_shift_predictions, weigh_shifts
from bench.utils.errors import UserError, first_line

SHOWN_COPIES = 3  # of a cell's records, when they contradict one another


@dataclass(frozen=True)
class Verdict:
    """The judgement of a file that should be a record."""

    path: Path
    cell: str = ""  # empty: it cannot be read
    content: str = ""  # hash of the record
    problems: tuple[str, ...] = ()  # sentences: why it is refused
    doubt: str = ""  # a clause: why it is only stated; empty: it is recomputed, unless refused

    @property
    def recomputed(self) -> bool:
        return not self.problems and not self.doubt

    @property
    def stated(self) -> bool:
        return not self.problems and bool(self.doubt)


@dataclass(frozen=True)
class JudgedRecord:
    """A record file's verdict, and what was read from the file."""

    verdict: Verdict
    record: Record | None = None
    predictions: Predictions | None = None  # that go with the record
    shift_predictions: ShiftPredictions = field(default_factory=dict)
    measures: list[MeasurementFile] = field(default_factory=list)


def check_records(paths: Iterable[Path], labels: KnownLabels) -> list[Verdict]:
    """Judge each record at and below `paths` independently; copies count once."""
    found = [
        Verdict(file.path, problems=(f"{file.path} {file.problem}",))
        if file.problem
        else judge(file.path, labels).verdict
        for file in find_record_files(paths)
    ]
    return _settle_copies(found)


def judge(path: Path, labels: KnownLabels) -> JudgedRecord:
    """Read a record with its predictions and measures, each once, and judge them."""
    try:
        return _judge_record(path, read_record(path), labels)
    except UserError as error:
        return JudgedRecord(Verdict(path, problems=(str(error),)))
    except Exception as error:  # a fault of a check must not keep the other records from theirs
        problem = f"{path} cannot be judged: {type(error).__name__}: {first_line(error)}"
        return JudgedRecord(Verdict(path, problems=(problem,)))


def _judge_record(path: Path, record: Record, labels: KnownLabels) -> JudgedRecord:
    root = _results_root(path)
    problems = [problem for check in CHECKS if (problem := check(record))]
    predictions, measures, doubt = None, list[MeasurementFile](), ""
    of_shifts: ShiftPredictions = {}
    try:
        predictions = Store(root).read_predictions(record.settings) if root else None
        of_shifts = read_shift_predictions(Store(root), record) if root else {}
        measures = list(_read_measures(root, record.cell)) if root else []
    except UserError as error:
        problems.append(f"has a file that cannot be used: {error}")
    if not problems:
        problem, doubt = weigh_evidence(record, predictions, labels, of_shifts)
        problems += [problem] if problem else []
    content = hashlib.sha256(serialising.record_to_json(replace(record, evidence="")))
    sentences = tuple(f"{path} {problem}" for problem in problems)
    verdict = Verdict(path, record.cell, content.hexdigest(), sentences, doubt)
    return JudgedRecord(verdict, record, predictions, of_shifts, measures)


def weigh_evidence(
    record: Record,
    predictions: Predictions | None,
    labels: KnownLabels,
    of_shifts: ShiftPredictions,
) -> tuple[str, str]:
    """Return why a record is refused, and why it is only stated, as clauses; or empty strings."""
    problem, doubt = _weigh_test(record, predictions, labels)
    shift_problem, shift_doubt = weigh_shifts(record, of_shifts, labels)
    return problem or shift_problem, doubt or shift_doubt


def _weigh_test(
    record: Record, predictions: Predictions | None, labels: KnownLabels
) -> tuple[str, str]:
    if predictions and (problem := prediction_problem(record, predictions)):
        return problem, ""
    if record.outcome is None:
        return "", "it has no outcome, which is all that predictions can prove"
    if predictions is None:
        return "", "its predictions are not here"
    if predictions.labels is None:
        return "", "its predictions have no labels"
    known = labels.find(record.settings)
    if known.labels is None:
        return "", known.reason
    if not np.array_equal(known.labels, predictions.labels):
        return "has other labels than those of its split", ""
    return "", ""


@dataclass(frozen=True)
class OwnEvidence:
    """The evidence for the records of a results folder's own runs."""

    recomputed: int
    problems: list[str]  # sentences on records that their own predictions contradict


def check_own_records(records: Iterable[Record], store: Store, labels: KnownLabels) -> OwnEvidence:
    """Compare own records with the predictions kept with them."""
    recomputed, problems = 0, []
    for record in records:
        path = store.path(record.settings, record.cell)
        try:
            predictions = store.read_predictions(record.settings)
            of_shifts = read_shift_predictions(store, record)
        except UserError as error:
            problems.append(f"{path} has a file that cannot be used: {error}")
            continue
        problem, doubt = weigh_evidence(record, predictions, labels, of_shifts)
        problems += [f"{path} {problem}"] if problem else []
        recomputed += not problem and not doubt
    return OwnEvidence(recomputed, problems)


def _settle_copies(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Keep one of equal records of a cell; refuse those that contradict one another.

    Where just one is recomputed, it stands, and those that are only stated are refused.
    """
    by_cell: dict[str, dict[str, Verdict]] = defaultdict(dict)
    for one in verdicts:
        if not one.problems:
            same = by_cell[one.cell].setdefault(one.content, one)
            if one.recomputed and not same.recomputed:
                by_cell[one.cell][one.content] = one
    settled = []
    for one in verdicts:
        rivals = list(by_cell[one.cell].values()) if not one.problems else []
        proved = [rival for rival in rivals if rival.recomputed]
        if one.problems or (one in rivals and (len(rivals) == 1 or proved == [one])):
            settled.append(one)
        elif one in rivals:
            settled.append(replace(one, problems=(_describe_rivals(one, rivals),)))
    return settled


def _describe_rivals(one: Verdict, rivals: Sequence[Verdict]) -> str:
    others = [str(rival.path) for rival in rivals if rival is not one]
    more = f" and {len(others) - SHOWN_COPIES} more" if len(others) > SHOWN_COPIES else ""
    return (
        f"{one.path} is one of {len(rivals)} different records of cell {one.cell}, beside "
        f"{', '.join(others[:SHOWN_COPIES])}{more}"
    )


def _read_measures(root: Path, cell: str) -> Iterator[MeasurementFile]:
    for name in MEASUREMENTS:
        if measured := measurements.read_measurement(root, cell, name):
            yield measured


def _results_root(path: Path) -> Path | None:
    """Return the results folder that a record is in, if it is in one."""
    return next((parent.parent for parent in path.parents if parent.name == RECORDS_DIR), None)
