"""Evidence for a record's scores on further test sets: their predictions, labels and masks."""

from collections.abc import Mapping

import numpy as np

from bench.config.suite import load_suite
from bench.records.predictions import Predictions
from bench.records.schema import Record
from bench.records.store import Store
from bench.report.known_labels import KnownLabels, score_problem
from bench.utils.errors import UserError

ShiftPredictions = Mapping[str, Predictions]


def read_shift_predictions(store: Store, record: Record) -> dict[str, Predictions]:
    """Read what is kept of a record's predictions of further test sets, by their names."""
    names = record.outcome.shifts if record.outcome else ()
    found = {name: store.read_predictions(record.settings, name) for name in names}
    return {name: one for name, one in found.items() if one is not None}


def weigh_shifts(record: Record, kept: ShiftPredictions, labels: KnownLabels) -> tuple[str, str]:
    """Return why a record is refused, and why only stated, as `verdicts.weigh_evidence` does."""
    doubt = ""
    for name in record.outcome.shifts if record.outcome else ():
        problem, unsure = _weigh(record, name, kept.get(name), labels)
        if problem:
            return problem, ""
        doubt = doubt or unsure
    return "", doubt


def _weigh(
    record: Record, name: str, kept: Predictions | None, labels: KnownLabels
) -> tuple[str, str]:
    if kept is None:
        return "", f"its predictions of {name} are not here"
    if problem := shift_problem(record, name, kept):
        return problem, ""
    if kept.labels is None:
        return "", f"its predictions of {name} have no labels"
    known = labels.find_shift(record.settings, name)
    if known.labels is None:
        return "", known.reason
    if not np.array_equal(known.labels, kept.labels):
        return f"has other labels than those of {name}", ""
    return _outside_mask(record, name, kept), ""


def shift_problem(record: Record, name: str, kept: Predictions) -> str:
    """Return why predictions of a further test set contradict a record, as a clause, or nothing."""
    if problem := kept.shift_misfit(record, name):
        return problem
    assert record.outcome is not None
    said = record.outcome.shifts[name]
    scores = [(said.accuracy, kept.classes), (said.masked_accuracy, kept.masked)]
    for stated, classes in scores if kept.labels is not None else ():
        if (stated is None) != (classes is None):
            return f"has masked predictions of {name} without a masked accuracy, or the reverse"
        if stated is not None:
            scored = 100 * float(np.mean(classes == kept.labels))
            if problem := score_problem(stated, scored):
                return f"on {name} {problem}"
    return ""


def _outside_mask(record: Record, name: str, kept: Predictions) -> str:
    """Return whether a class was predicted that the mask leaves out; its digest was compared."""
    try:
        suite = load_suite(record.settings.suite)
        every = suite.shifts_of(suite.find(record.settings.task))
    except UserError as error:
        return f"is of no suite or task of this checkout: {error}"
    classes = next((shift.classes for shift in every if shift.name == name), None)
    if classes is None or kept.masked is None or np.isin(kept.masked, classes).all():
        return ""
    return f"predicts classes on {name} that its mask leaves out"
