"""Evidence for scores on further test sets: recomputed where it can be, else stated or refused."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from bench.config.recipe import load_recipe
from bench.config.suite import load_suite
from bench.data import shifts, splits
from bench.records.predictions import Predictions
from bench.records.schema import Record, ShiftScore
from bench.records.store import Store
from bench.report.known_labels import KnownLabels
from bench.report.merging import merge_records
from bench.report.verdicts import Verdict, check_records
from support import honest_records as honest

SUITE = load_suite("shift_mini")
TASK = SUITE.find("digits")
NAMES = [one.name for one in SUITE.shifts_of(TASK)]
MASKED = "five_noise_2"
LABELS = KnownLabels(Path("no data"))  # which reads the built-in sets once
Kept = dict[str, Predictions]


@cache
def sets() -> dict[str, tuple[str, np.ndarray]]:
    """The digest of each further test set, and its labels."""
    found = {}
    for one in SUITE.shifts_of(TASK):
        examples = shifts.load_shift(SUITE, TASK, one, Path())
        digest = shifts.name_digest(one, splits.fingerprint(examples))
        found[one.name] = digest, examples.labels.numpy().astype(np.int16)
    return found


def predicted(name: str) -> Predictions:
    """Every second image right; with a mask, every image of the mask's first class, too."""
    labels = sets()[name][1]
    wrong = np.where(labels < 5, labels + 5, labels - 5).astype(np.int16)
    classes = np.where(np.arange(len(labels)) % 2, labels, wrong).astype(np.int16)
    if not name.startswith("five"):
        return Predictions(classes, labels)
    masked = np.where(classes < 5, classes, 0).astype(np.int16)
    return Predictions(classes, labels, masked)


def score(kept: Predictions) -> ShiftScore:
    masked = None if kept.masked is None else 100 * float((kept.masked == kept.labels).mean())
    accuracy = 100 * float((kept.classes == kept.labels).mean())
    return ShiftScore(accuracy, len(kept.classes), kept.sha256(), masked, kept.masked_sha256())


@cache
def made() -> tuple[Record, Predictions, Kept]:
    """An honest record of the suite, with its predictions of every set."""
    parts = [splits.load_split(SUITE, TASK, split, Path()) for split in ("trainval", "test")]
    labels = parts[1].labels.numpy().astype(np.int16)
    kept = {name: predicted(name) for name in NAMES}
    quick = load_recipe("quick")
    plain, test = honest.honest()[0], Predictions(labels, labels)
    settings = replace(
        plain.settings,
        suite=SUITE.name,
        task="digits",
        classes=10,
        split="-".join(map(splits.fingerprint, parts)),
        recipe=quick.protocol(SUITE.name, "fp32"),
        shifts={name: sets()[name][0] for name in NAMES},
    )
    record = honest.scored(settings, test)
    assert record.outcome
    outcome = replace(record.outcome, shifts={name: score(one) for name, one in kept.items()})
    return replace(record, outcome=outcome, group=TASK.group), test, kept


def judged(folder: Path, record: Record, kept: Kept) -> Verdict:
    shared = honest.write(folder, (record, made()[1]))
    for name, one in kept.items():
        shared.write_predictions(record.settings, one, name)
    [found] = check_records([folder], LABELS)
    return found


def with_score(name: str, **changed: object) -> Record:
    record = made()[0]
    assert record.outcome
    said = {**record.outcome.shifts, name: replace(record.outcome.shifts[name], **changed)}
    return replace(record, outcome=replace(record.outcome, shifts=said))


def test_predictions_of_every_set_prove_a_record(tmp_path: Path) -> None:
    record, _, kept = made()
    found = judged(tmp_path, record, kept)
    assert found.problems == ()
    assert found.recomputed, found.doubt


def without(name: str) -> tuple[Record, Kept]:
    record, _, kept = made()
    return record, {other: one for other, one in kept.items() if other != name}


def forged(name: str, one: Predictions) -> tuple[Record, Kept]:
    return with_score(name, **vars(score(one))), {**made()[2], name: one}


def test_without_the_predictions_of_a_set_it_is_stated(tmp_path: Path) -> None:
    found = judged(tmp_path, *without("blur_2"))
    assert found.stated
    assert "its predictions of blur_2 are not here" in found.doubt


def all_right(name: str) -> Predictions:
    """Predictions that are right by labels of their own."""
    zeros = np.zeros_like(sets()[name][1])
    return Predictions(zeros, zeros, zeros if name == MASKED else None)


def beyond_the_mask() -> Predictions:
    kept = predicted(MASKED)
    assert kept.masked is not None
    outside = kept.masked.copy()
    outside[0] = 7
    return kept._replace(masked=outside)


FORGERIES: dict[str, tuple[Callable[[], tuple[Record, Kept]], str]] = {
    "an accuracy": (
        lambda: (with_score("noise_1", accuracy=99.0), made()[2]),
        "on noise_1 says 99.00 %, but its predictions score",
    ),
    "a masked accuracy": (
        lambda: (with_score(MASKED, masked_accuracy=99.0), made()[2]),
        f"on {MASKED} says 99.00 %, but its predictions score",
    ),
    "other labels": (lambda: forged("print_3", all_right("print_3")), "other labels than those of"),
    "other labels, masked": (lambda: forged(MASKED, all_right(MASKED)), "other labels than those"),
    "a class outside the mask": (lambda: forged(MASKED, beyond_the_mask()), "its mask leaves out"),
    "other predictions": (
        lambda: (made()[0], {**made()[2], "noise_1": all_right("noise_1")}),
        "names other predictions of noise_1",
    ),
    "fewer images": (
        lambda: (with_score("noise_1", images=5), made()[2]),
        "has 5 test images of noise_1; 797 were predicted",
    ),
    "other masked predictions": (
        lambda: (with_score(MASKED, masked_predictions="0" * 64), made()[2]),
        f"names other masked predictions of {MASKED}",
    ),
}


@pytest.mark.sample(2)
@pytest.mark.parametrize("what", FORGERIES)
def test_a_forged_score_is_refused(what: str, tmp_path: Path) -> None:
    make, said = FORGERIES[what]
    found = judged(tmp_path, *make())
    assert found.problems
    assert said in found.problems[0]


def test_a_masked_accuracy_below_the_other_is_no_record(tmp_path: Path) -> None:
    found = judged(tmp_path, with_score(MASKED, masked_accuracy=1.0), made()[2])
    assert "below" in found.problems[0]


def test_a_record_that_lacks_a_set_of_the_suite_is_refused(tmp_path: Path) -> None:
    record, _, kept = made()
    assert record.outcome
    few = {name: digest for name, digest in record.settings.shifts.items() if name != "blur_1"}
    said = {name: one for name, one in record.outcome.shifts.items() if name != "blur_1"}
    settings = replace(record.settings, shifts=few)
    lacking = replace(
        record,
        settings=settings,
        cell=settings.digest(),
        outcome=replace(record.outcome, shifts=said),
    )
    found = judged(tmp_path, lacking, kept)
    assert "has no test set blur_1, unlike task 'digits' here" in found.problems[0]


def test_a_merge_brings_the_predictions_of_every_set(tmp_path: Path) -> None:
    record, _, kept = made()
    verdict = judged(tmp_path / "theirs", record, kept)
    ours = Store(tmp_path / "ours")
    ours.make()
    merge_records([verdict], ours, LABELS)
    for name in NAMES:
        found = ours.read_predictions(record.settings, name)
        assert found
        assert found.sha256() == kept[name].sha256()
        assert found.masked_sha256() == kept[name].masked_sha256()
