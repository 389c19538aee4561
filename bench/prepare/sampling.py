"""Sampling of a source's records by the hashes of their keys, and checks of the resulting lists.

VTAB-1k (Zhai et al., 2019, https://arxiv.org/abs/1910.04867) takes its splits from the order in
which TensorFlow Datasets writes records, as in ``train[:800]``. That order needs no TensorFlow:
each record has a key (its number or its name in the source), and records are sorted by the md5 of
the source split's name followed by the key. Shares of larger data sets are this project's own
rule, on hashes of the same kind.

The order of the records determines the order of their labels, too. Digests of both are in the
task's card, so a copy's lists can be checked without its images.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from bench.config.suite import ClassShare, HashRange, Split, Task

DIGEST_DIGITS = 16  # hex digits kept of a digest
MAX_SHIFT = 3  # largest constant shift of labels that is recognised as one


def order_by_hash(source: str, keys: Iterable[str]) -> list[str]:
    """Sort keys by their hashes, salted with the name of the source's split."""
    return sorted(keys, key=lambda key: _salted_hash(source, key))


def _salted_hash(salt: str, key: str) -> bytes:
    return hashlib.md5(salt.encode() + key.encode()).digest()


def keys_by_rank(ranks: HashRange, keys: Iterable[str]) -> list[str]:
    """Select a task's split from all keys of the source's split, in hash order."""
    ordered = order_by_hash(ranks.source, keys)
    start = len(ordered) * ranks.after_percent // 100
    return ordered[start + ranks.first : start + ranks.last]


def keys_by_share(share: ClassShare, keys_by_class: Mapping[Any, Iterable[str]]) -> list[str]:
    """Select a share of every class from all keys of the source's split.

    Record i of the n records of its class, by hash, is placed at (i + 0.5) / n, in percent; a share
    is the records between two places. So a smaller share is a subset of a larger one, and contains
    its part of each class to within one record.
    """
    places = [
        (100 * (i + 0.5) / len(keys), _salted_hash(share.salt, key), key)
        for keys in (order_by_hash(share.salt, keys) for keys in keys_by_class.values())
        for i, key in enumerate(keys)
    ]
    return [key for place, _, key in sorted(places) if share.first <= place < share.last]


def digest_of_keys(keys: Iterable[str]) -> str:
    """Return a digest of keys in their order."""
    text = "".join(f"{key}\n" for key in keys)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_DIGITS]


def digest_of_labels(labels: Sequence[int]) -> str:
    """Return a digest of labels in their order."""
    return digest_of_keys(map(str, labels))


class LabelledKey(Protocol):
    """An image's class and key."""

    @property
    def label(self) -> int: ...
    @property
    def key(self) -> str: ...


SplitLabels = Mapping[Split, Sequence[LabelledKey]]


def selection_problems(task: Task, rows: SplitLabels) -> Iterator[str]:
    """Yield a sentence for each split whose keys differ from the card's digest."""
    for split, ranks in task.ranks.items():
        keys = [row.key for row in rows.get(split, ())]
        if ranks.digest and keys and digest_of_keys(keys) != ranks.digest:
            yield _describe_selection(task, split, ranks, keys)


def _describe_selection(task: Task, split: Split, ranks: HashRange, keys: list[str]) -> str:
    """Describe why a digest differs: only the order, or the images."""
    if digest_of_keys(order_by_hash(ranks.source, keys)) == ranks.digest:
        return f"E-SELECTION {task.name}/{split}: the right images in another order"
    return (
        f"E-SELECTION {task.name}/{split}: other images than VTAB's: digest "
        f"{digest_of_keys(keys)}, expected {ranks.digest}"
    )


def label_sequence_problems(task: Task, rows: SplitLabels, copied: bool) -> Iterator[str]:
    """Yield a sentence for each split whose labels differ from the card's digests.

    The list of a `copied` task may be in any order, provided that its labels match once its images
    are sorted by name.
    """
    for split, ranks in task.ranks.items():
        listed = rows.get(split, ())
        if listed and ranks.histogram:
            wrong = _label_problem(ranks, task.classes, listed, copied)
            if wrong:
                yield f"E-LABEL {task.name}/{split}: {wrong}"


def with_known_labels(task: Task, labels: Mapping[Split, Sequence[int]]) -> Task:
    """Add digests of the labels prepared from the source to a task whose card has none.

    For test, only the histogram: copies have its images in the order in which their reader
    interleaved them.
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
    """Describe why labels are wrong; empty if they are right or cannot be checked."""
    labels = [row.label for row in rows]
    by_name = [row.label for row in sorted(rows, key=lambda row: row.key)] if copied else labels
    known = "" if copied and ranks.interleaved else ranks.labels
    counts_match = digest_of_labels(sorted(labels)) == ranks.histogram
    if known in (digest_of_labels(labels), digest_of_labels(by_name)):
        return ""
    if counts_match and not known:
        return ""
    shift = _label_shift(ranks, known, classes, labels)
    if shift:
        return f"all labels are off by {shift}"
    if counts_match:
        return (
            "the labels are not those of their images: as many of each as there should be, in "
            "another order"
        )
    return (
        f"other labels than were published: of the sorted labels the digest is "
        f"{digest_of_labels(sorted(labels))}, expected {ranks.histogram}"
    )


def _label_shift(ranks: HashRange, known: str, classes: int, labels: Sequence[int]) -> int:
    """Return the constant offset of all labels; 0 if there is none."""
    for shift in (sign * size for size in range(1, MAX_SHIFT + 1) for sign in (1, -1)):
        for back in ([label - shift for label in labels], [(n - shift) % classes for n in labels]):
            if known == digest_of_labels(back) or (
                not known and ranks.histogram == digest_of_labels(sorted(back))
            ):
                return shift
    return 0
