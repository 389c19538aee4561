"""The labels of test splits that are at hand, to judge other people's predictions by.

They are those of the tasks built in, of data below the data root, and of the predictions kept with
records of one's own.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.config.suite import Split, Suite, Task, load_suite
from bench.records.predictions import Predictions
from bench.records.schema import SYNTHETIC, Record, Settings
from bench.records.store import Store, read_valid
from bench.utils.errors import UserError

Labels = NDArray[np.int16]
FINAL_SPLITS: tuple[Split, Split] = ("trainval", "test")  # whose digests a final cell's split has
TOLERANCE = 1e-6  # percent: of rounding alone; one of a million images is 1e-4


class SplitLabels(NamedTuple):
    """The labels of a record's test split, (N,), or why they are not known, as a clause."""

    labels: Labels | None
    reason: str = ""


class CheckedSplit(NamedTuple):
    """A task's data that are at hand: the digest as records have it, and the test labels, (N,)."""

    digest: str
    labels: Labels


@dataclass
class KnownLabels:
    """Labels of test splits, read at their first use."""

    data_root: Path
    own: Store | None = None  # whose records are trusted
    _data: dict[tuple[str, str, str], CheckedSplit | None] = field(default_factory=dict)
    _shifts: dict[tuple[str, str, str], dict[str, CheckedSplit]] = field(default_factory=dict)

    def find(self, settings: Settings) -> SplitLabels:
        """Return the labels of the split that a record names; its suite and task must be known."""
        here = self._data_at_hand(settings)
        if here and here.digest == settings.split:
            return SplitLabels(here.labels)
        kept = self._labels_of_own_records(settings)
        if kept is not None:
            return SplitLabels(kept)
        task = f"task {settings.task!r} of suite {settings.suite!r}"
        if here:
            return SplitLabels(None, f"its split {settings.split} is not that of {task} here")
        return SplitLabels(
            None, f"the data of {task} are not here to compare its labels with (--data-root)"
        )

    def find_shift(self, settings: Settings, shift: str) -> SplitLabels:
        """Return the labels of a further test set of a record, whose suite must be known."""
        key = settings.suite, settings.task, settings.variant
        if key not in self._shifts:
            self._shifts[key] = {}
            with suppress(UserError, OSError):
                card = load_suite(settings.suite)
                task = card.find(settings.task)
                self._shifts[key] = _read_shifts(card, task, self.data_root, settings.variant)
        here = self._shifts[key].get(shift)
        if here and here.digest == settings.shifts[shift]:
            return SplitLabels(here.labels)
        why = "is another one here" if here else "is not here to compare its labels with"
        return SplitLabels(None, f"its test set {shift} {why} (--data-root)")

    def _data_at_hand(self, s: Settings) -> CheckedSplit | None:
        key = s.suite, s.task, s.variant
        if key not in self._data:
            with suppress(UserError, OSError):
                card = load_suite(s.suite)
                self._data[key] = _read_splits(card, card.find(s.task), self.data_root, s.variant)
        return self._data.setdefault(key, None)

    def _labels_of_own_records(self, settings: Settings) -> Labels | None:
        for record in self._own_records[_split_key(settings)] if self.own else ():
            with suppress(UserError):
                kept = self.own.read_predictions(record.settings) if self.own else None
                if kept and kept.labels is not None and not prediction_problem(record, kept):
                    return kept.labels
        return None

    @cached_property
    def _own_records(self) -> dict[tuple[Any, ...], list[Record]]:
        """The records of one's own that have an outcome, by their splits."""
        found: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
        with suppress(UserError):  # a folder of one's own that cannot be read vouches for nothing
            for record in read_valid(self.own)[0] if self.own else ():
                if record.outcome:
                    found[_split_key(record.settings)].append(record)
        return found


def labels_at_hand(paths: Iterable[Path], data_root: Path, own: Store) -> KnownLabels:
    """Return the labels to judge the records at `paths` by; own records do not judge themselves."""
    ours = Path(os.path.realpath(own.root))
    theirs = [Path(os.path.realpath(path)) for path in paths]
    alike = any(one.is_relative_to(ours) or ours.is_relative_to(one) for one in theirs)
    return KnownLabels(data_root, None if alike else own)


def prediction_problem(record: Record, found: Predictions) -> str:
    """Return why a record's predictions contradict it, as a clause; empty if they do not."""
    if problem := found.misfit(record):
        return problem
    right = found.correct()
    if right is None or record.outcome is None:
        return ""
    return score_problem(record.outcome.accuracy, 100 * float(right.mean()))


def score_problem(said: float, scored: float) -> str:
    """Return how an accuracy differs from what its predictions score, as a clause, or nothing."""
    if abs(scored - said) <= TOLERANCE:
        return ""
    digits = ".2f" if f"{said:.2f}" != f"{scored:.2f}" else ""
    return f"says {said:{digits}} %, but its predictions score {scored:{digits}} %"


def _split_key(s: Settings) -> tuple[Any, ...]:
    return s.suite, s.suite_version, s.task, *s.data_key


def _where(root: Path, variant: str) -> tuple[Path, str | None]:
    """Return the data root and the variant to read: synthetic images are at hand everywhere."""
    return (Path(SYNTHETIC), None) if variant == SYNTHETIC else (root, variant or None)


def _read_splits(card: Suite, task: Task, root: Path, variant: str) -> CheckedSplit | None:
    """Return a task's data in a variant (empty: built in, or as found), or None if absent."""
    from bench.data import locations, prepared, splits  # import torch

    folder, (place, read) = None, _where(root, variant)
    if task.embedded and variant == SYNTHETIC:
        return None  # built-in images are never drawn
    if task.embedded or variant == SYNTHETIC:
        examples = [splits.load_split(card, task, split, place, read) for split in FINAL_SPLITS]
    else:
        places = locations.available_locations(card, task, root, variant or None)
        folder = next((place.folder for place in places if place.variant == variant), None)
        if folder is None:
            return None
        examples = [
            splits.from_prepared(
                folder, prepared.read_entries(folder, task.name, task.listed_as(split))
            )
            if variant
            else splits.from_list_files(card, task, split, folder)
            for split in FINAL_SPLITS
        ]
    digests = "-".join(splits.fingerprint(one, folder) for one in examples)
    labels: Labels = examples[-1].labels.numpy().astype(np.int16)
    return CheckedSplit(f"{variant}:{digests}" if variant else digests, labels)


def _read_shifts(card: Suite, task: Task, root: Path, variant: str) -> dict[str, CheckedSplit]:
    """Return the further test sets of a task that are at hand, by their names."""
    from bench.data import locations, shifts, splits  # import torch

    found, (own_root, read) = {}, _where(root, variant)
    for shift in card.shifts_of(task):
        with suppress(UserError, OSError):
            examples = shifts.load_shift(card, task, shift, own_root, read)
            place = None
            if not shift.drawn:
                place = locations.find(card, shift.as_task(task), own_root, read)
            digest = splits.fingerprint(examples, place.folder if place else None)
            marked = f"{variant}:{digest}" if variant else digest
            labels: Labels = examples.labels.numpy().astype(np.int16)
            found[shift.name] = CheckedSplit(shifts.name_digest(shift, marked), labels)
    return found
