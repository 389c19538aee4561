"""Rules for the splits of a task, and the sentence for each that is broken.

The rules are the same for all commands: ``data prepare``, ``import`` and ``check`` refuse any
broken rule, a run those that leave its accuracy without a meaning.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from bench.config.shots import shot_problem
from bench.config.suite import Split, Task
from bench.data.prepared import SPLIT_PARTS
from bench.prepare import sampling

MAX_DUPLICATE_SHARE = 0.01  # of a split's images: data sets are published with so many duplicates
SPLIT_PAIRS: tuple[tuple[Split, Split], ...] = (
    ("train", "val"),
    ("train", "test"),
    ("val", "test"),
    ("trainval", "test"),
)
MAX_EXAMPLES = 3  # examples in a sentence


class SplitImage(Protocol):
    """One image of a split."""

    @property
    def label(self) -> int: ...
    @property
    def source(self) -> str:
        """The source's split; empty in a folder as found, where keys are unique."""
        ...

    @property
    def key(self) -> str: ...
    @property
    def sha256(self) -> str:
        """The hash of its bytes; empty: unknown."""
        ...

    @property
    def origin(self) -> str:
        """The list entry of the image, for messages."""
        ...


SplitImages = Mapping[Split, Sequence[SplitImage]]


def image_id(row: SplitImage) -> tuple[str, str]:
    """Return the identifier of an image: its source's split and its key."""
    return row.source, row.key


@dataclass(frozen=True)
class Duplicates:
    """Counts of images that are byte-identical to others, by consequence."""

    leaked: int  # of test, identical to one of train or val
    conflicting: int  # of test, identical to one of another class
    conflicting_trainval: int  # of train and val, identical to one of another class among them

    @classmethod
    def count(cls, trainval: Sequence[SplitImage], test: Sequence[SplitImage]) -> "Duplicates":
        """Count duplicates, except images listed in both splits, which break another rule."""
        names = {image_id(row) for row in trainval}
        classes, all_classes = _classes_by_hash(trainval), _classes_by_hash([*trainval, *test])
        return cls(
            sum(row.sha256 in classes and image_id(row) not in names for row in test),
            sum(len(all_classes.get(row.sha256, ())) > 1 for row in test),
            sum(len(classes.get(row.sha256, ())) > 1 for row in trainval),
        )

    def summary(self) -> str:
        """Summarise the counts; empty if there are no duplicates."""
        leaked = f"{self.leaked:,} images of test are those of train or val, byte for byte"
        count = self.conflicting + self.conflicting_trainval
        conflicting = f"{count:,} images have the bytes of one of another class"
        return "; ".join([leaked] * bool(self.leaked) + [conflicting] * bool(count))


def _classes_by_hash(rows: Iterable[SplitImage]) -> dict[str, set[int]]:
    classes: dict[str, set[int]] = {}
    for row in rows:
        if row.sha256:
            classes.setdefault(row.sha256, set()).add(row.label)
    return classes


def broken_rules(
    task: Task, rows: SplitImages, repeats: bool, copied: bool = False
) -> Iterator[str]:
    """Yield a sentence for every rule that the splits break.

    `repeats` allows byte-identical images in training and test, and in two classes. Images of a
    `copied` task have names of the copy, which cannot be compared with the card's selection.
    """
    yield from _conflicting_label_problems(task, rows)
    yield from _listed_twice_problems(task, rows)
    yield from _count_problems(task, rows)
    yield from _shot_problems(task, rows)
    yield from _overlap_problems(task, rows)
    if not copied:
        yield from sampling.selection_problems(task, rows)
    yield from _label_problems(task, rows)
    yield from sampling.label_sequence_problems(task, rows, copied)
    yield from trainval_problems(task, rows)
    if copied:  # data prepared from the source have the classes that it was published with
        yield from _coverage_problems(task, rows)
    if not (repeats or task.repeats):
        yield from _duplicate_problems(task, rows, copied)


def data_warnings(task: Task, rows: SplitImages) -> Iterator[str]:
    """Yield warnings: as published, data sets lack classes and contain a few duplicates."""
    training: Split = "train" if "train" in rows else "trainval"
    for split in (s for s in (training, "test") if s in rows and s not in task.present):
        missing = task.classes - len({row.label for row in rows[split]})
        if missing:
            yield f"W-COVERAGE {task.name}/{split}: {missing} of {task.classes} classes are absent"
    repeats = Duplicates.count(_training_images(rows), rows.get("test", ()))
    if repeats.summary():
        yield f"{'W-DUP' if repeats.leaked else 'W-LABEL'} {task.name}: {repeats.summary()}"


def findings(task: Task, rows: SplitImages, repeats: bool, copied: bool) -> Iterator[str]:
    """Yield every broken rule, then the warnings that none of them includes."""
    broken = list(broken_rules(task, rows, repeats, copied))
    yield from broken
    for warning in data_warnings(task, rows):
        if not any(sentence[1:].startswith(warning[1:]) for sentence in broken):
            yield warning


def _count_problems(task: Task, rows: SplitImages) -> Iterator[str]:
    for split, images in rows.items():
        allowed = task.counts.get(split)
        if not images or (allowed and len(images) not in allowed):
            expected = " or ".join(f"{n:,}" for n in allowed or []) or "some"
            yield f"E-COUNT {task.name}/{split}: {len(images):,} images; there must be {expected}"


def _shot_problems(task: Task, rows: SplitImages) -> Iterator[str]:
    """Yield a sentence if a few-shot task has not its shots of a class to train on."""
    for split in (s for s in ("train", "trainval") if s in rows):
        if odd := shot_problem(task, (row.label for row in rows[split])):
            yield f"E-SHOTS {task.name}/{split}: {odd}"


def _overlap_problems(task: Task, rows: SplitImages) -> Iterator[str]:
    """Yield a sentence for each pair of splits with common images."""
    for first, second in _pairs_to_compare(rows):
        names = {image_id(row) for row in rows[first]}
        both = [row for row in rows[second] if image_id(row) in names]
        if both:
            yield (
                f"E-OVERLAP {task.name}: {len({image_id(row) for row in both})} {first} keys are "
                f"in {second}, too: {both[0].key} ({both[0].origin})"
            )


def _pairs_to_compare(rows: SplitImages) -> list[tuple[Split, Split]]:
    """List the pairs to compare; those of trainval only if it has images besides its parts'."""
    whole = ("trainval", "test")
    parted = {image_id(row) for split in ("train", "val") for row in rows.get(split, ())}
    more = any(image_id(row) not in parted for row in rows.get("trainval", ()))
    return [pair for pair in SPLIT_PAIRS if set(pair) <= rows.keys() and (pair != whole or more)]


def _label_problems(task: Task, rows: SplitImages) -> Iterator[str]:
    for split, images in rows.items():
        labels = {row.label for row in images}
        beyond = sorted(label for label in labels if not 0 <= label < task.classes)
        if beyond:
            yield (
                f"E-LABEL {task.name}/{split}: labels from {min(labels)} to {max(labels)}; "
                f"expected 0 to {task.classes - 1}"
            )
    for split, expected in task.present.items():
        known = _images_of(rows, split)
        if known is None:
            continue
        present = {row.label for row in known}
        if len(present) != expected:
            yield f"E-LABEL {task.name}/{split}: {len(present)} classes; there must be {expected}"


def _images_of(rows: SplitImages, split: Split) -> list[SplitImage] | None:
    """Return the images of a split, or of its parts; None if these are unknown."""
    if split in rows:
        return list(rows[split])
    parted = SPLIT_PARTS.get(split, (split,))
    return [row for part in parted for row in rows[part]] if rows.keys() >= set(parted) else None


def _training_images(rows: SplitImages) -> list[SplitImage]:
    """Return the images of trainval and of its parts; those in both, once."""
    parted = [row for split in SPLIT_PARTS["trainval"] for row in rows.get(split, ())]
    if "trainval" not in rows:
        return parted
    names = {image_id(row) for row in rows["trainval"]}
    return [*rows["trainval"], *(row for row in parted if image_id(row) not in names)]


def _conflicting_label_problems(task: Task, rows: SplitImages) -> Iterator[str]:
    """Yield a sentence if an image has two labels, in one list or in several."""
    first: dict[tuple[str, str], SplitImage] = {}
    conflicting: dict[tuple[str, str], SplitImage] = {}
    for row in chain.from_iterable(rows.values()):
        if first.setdefault(image_id(row), row).label != row.label:
            conflicting.setdefault(image_id(row), row)
    if conflicting:
        name, row = next(iter(conflicting.items()))
        yield (
            f"E-LABEL {task.name}: {len(conflicting)} images have two labels: {row.key} is "
            f"{first[name].label} ({first[name].origin}) and {row.label} ({row.origin})"
        )


def trainval_problems(task: Task, rows: SplitImages) -> Iterator[str]:
    """Yield a sentence unless trainval is the images of train and val with the same labels.

    Where names differ, as in copies that contain the images of trainval twice, bytes are compared.
    """
    if not rows.keys() >= {"trainval", *SPLIT_PARTS["trainval"]}:
        return
    whole = list(rows["trainval"])
    halves = [row for part in SPLIT_PARTS["trainval"] for row in rows[part]]
    if {(image_id(r), r.label) for r in whole} == {(image_id(r), r.label) for r in halves}:
        return
    left, right = ({(r.sha256 or r.key, r.label): r for r in some} for some in (halves, whole))
    lost, added = left.keys() - right.keys(), right.keys() - left.keys()
    if lost or added:
        some = [left[k] for k in left if k in lost] or [right[k] for k in right if k in added]
        yield (
            f"E-TRAINVAL {task.name}: trainval is not train + val: {len(lost)} of their images "
            f"are not in it with their labels, and {len(added)} of its own are in neither: "
            f"{some[0].key} ({some[0].origin})"
        )


def _coverage_problems(task: Task, rows: SplitImages) -> Iterator[str]:
    """Yield a sentence if classes of test have no training image, or if test has one class."""
    test, training = _images_of(rows, "test"), _images_of(rows, "trainval")
    tested = {row.label for row in test or ()}
    if len(tested) == 1 < task.classes and "test" not in task.present:
        yield (
            f"E-COVERAGE {task.name}/test: all {len(test or ()):,} images are of class "
            f"{tested.pop()}; the task has {task.classes}"
        )
    if training is None or "trainval" in task.present:
        return
    untrained = sorted(tested - {row.label for row in training})
    if untrained:
        more = ", ..." if untrained[MAX_EXAMPLES:] else ""
        some = ", ".join(map(str, untrained[:MAX_EXAMPLES])) + more
        present = len({row.label for row in training})
        yield (
            f"E-COVERAGE {task.name}: {len(untrained)} classes of test have no image in training: "
            f"{some}; where they were published so, say present = {{ trainval = {present} }} in "
            "the task's card"
        )


def _duplicate_problems(task: Task, rows: SplitImages, copied: bool) -> Iterator[str]:
    """Yield a sentence if there are more duplicates than data sets are published with.

    Conflicting labels count only in copies: those of published data are the publishers'.
    """
    test, training = rows.get("test", ()), _training_images(rows)
    found = Duplicates.count(training, test)
    leaked = found.leaked > MAX_DUPLICATE_SHARE * len(test)
    conflicting = copied and (
        found.conflicting > MAX_DUPLICATE_SHARE * len(test)
        or found.conflicting_trainval > MAX_DUPLICATE_SHARE * len(training)
    )
    if leaked or conflicting:
        code = "E-DUP" if leaked else "E-LABEL"
        hint = "; where they were published so, say repeats = true in the task's card"
        yield f"{code} {task.name}: {found.summary()}{hint if copied else ''}"
    train, val = rows.get("train", ()), rows.get("val", ())
    in_both = Duplicates.count(train, val).leaked if copied else 0
    if in_both > MAX_DUPLICATE_SHARE * len(val):
        yield f"E-DUP {task.name}: {in_both:,} images of val are those of train, byte for byte"


def _listed_twice_problems(task: Task, rows: SplitImages) -> Iterator[str]:
    for split, images in rows.items():
        again = list(_repeated_images(images))
        if again:
            more = f", as do {len(again) - 1:,} more" if again[1:] else ""
            yield (
                f"E-TWICE {task.name}/{split}: {again[0].origin}: {again[0].key} is listed twice "
                f"in the {split} list{more}"
            )


def _repeated_images(rows: Iterable[SplitImage]) -> Iterator[SplitImage]:
    """Yield the images listed before."""
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if image_id(row) in seen:
            yield row
        seen.add(image_id(row))
