"""Whether labels are those of their images, told without the images: by the labels' order.

A copy's lists stand in the order in which TensorFlow Datasets gives the records, so that the right
labels are a known sequence wherever a record's key, or its source, tells its class.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from bench.config.suite import HashRange, Split, Task
from bench.prepare.sampling import digest_of_keys

MAX_SHIFT = 3  # numbers that all labels may be off by, to be called so


class LabelledKey(Protocol):
    """An image's class, and what it is called."""

    @property
    def label(self) -> int: ...
    @property
    def key(self) -> str: ...


SplitLabels = Mapping[Split, Sequence[LabelledKey]]


def digest_of_labels(labels: Sequence[int]) -> str:
    """16 hex digits that stand for labels in their order."""
    return digest_of_keys(map(str, labels))


def sequence_problems(task: Task, rows: SplitLabels, copied: bool) -> Iterator[str]:
    """What the labels' order and number, as the task's card knows them, say against the lists.

    A list of a `copied` task may be in any order if its images' names, in theirs, have the labels'.
    """
    for split, ranks in task.ranks.items():
        found = rows.get(split, ())
        if found and ranks.histogram:
            wrong = _label_problem(ranks, task.classes, found, copied)
            if wrong:
                yield f"E-LABEL {task.name}/{split}: {wrong}"


def with_known_labels(task: Task, labels: Mapping[Split, Sequence[int]]) -> Task:
    """The task, knowing the labels of what was made from its source, where its card does not.

    Of test the order is not told: copies have it as their reader interleaved it.
    """
    ranks = dict(task.ranks)
    for split, right in labels.items():
        if split in ranks and not ranks[split].histogram:
            known = "" if split == "test" else digest_of_labels(right)
            ranks[split] = replace(
                ranks[split], labels=known, histogram=digest_of_labels(sorted(right))
            )
    return replace(task, ranks=ranks)


def _label_problem(
    ranks: HashRange, classes: int, rows: Sequence[LabelledKey], copied: bool
) -> str:
    """Why the labels are not those of the images; empty: they are, or it is not known."""
    labels = [row.label for row in rows]
    named = [row.label for row in sorted(rows, key=lambda row: row.key)] if copied else labels
    known = "" if copied and ranks.interleaved else ranks.labels
    counted = digest_of_labels(sorted(labels)) == ranks.histogram
    if known in (digest_of_labels(labels), digest_of_labels(named)) or (counted and not known):
        return ""
    step = _label_shift(ranks, known, classes, labels)
    if step:
        return f"all labels are off by {step}"
    if counted:
        return (
            "the labels are not those of their images: as many of each as there should be, in "
            "another order"
        )
    return (
        f"other labels than were published: of the sorted labels the digest is "
        f"{digest_of_labels(sorted(labels))}, expected {ranks.histogram}"
    )


def _label_shift(ranks: HashRange, known: str, classes: int, labels: Sequence[int]) -> int:
    """By how much all labels are off, where it is the same for all; else 0."""
    for step in (sign * size for size in range(1, MAX_SHIFT + 1) for sign in (1, -1)):
        for back in ([label - step for label in labels], [(n - step) % classes for n in labels]):
            if known == digest_of_labels(back) or (
                not known and ranks.histogram == digest_of_labels(sorted(back))
            ):
                return step
    return 0
