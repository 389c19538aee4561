"""One image of a split, as the rules see it, wherever it lies."""

# MERGED bench.prepare.validation: """Images whose bytes stand under several names."""
# MERGED bench.prepare.validation: """What must hold of a task's splits, and the sentence that says which does not.
#
# One set for all who ask: `data prepare`, `import` and `check` refuse every broken rule, a run those
# that leave its number without a meaning.
# """
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from bench.config.suite import HashRange, Split, Task
from bench.data.prepared import SPLIT_PARTS
from bench.prepare import label_sequences
from bench.prepare.sampling import digest_of_keys, order_by_hash
from bench.utils.errors import UserError


class SplitImage(Protocol):
    """One image of a split."""

    @property
    def label(self) -> int: ...
    @property
    def source(self) -> str:
        """The source's split that it is from; empty: of a folder, where keys tell images apart."""
        ...

    @property
    def key(self) -> str: ...
    @property
    def sha256(self) -> str:
        """Of its bytes; empty: not known."""
        ...

    @property
    def origin(self) -> str:
        """Where it is listed, for messages."""
        ...


def image_id(row: SplitImage) -> tuple[str, str]:
    """What tells the image from all others."""
    return row.source, row.key


@dataclass(frozen=True)
class Duplicates:
    """How many images have the bytes of others, by what that means."""

    leaked: int  # of test, with the bytes of one of train or val
    conflicting: int  # of test, with the bytes of one of another class
    conflicting_learnt: int  # of train and val, with the bytes of one of another class among them

    @classmethod
    def count(cls, learnt: Sequence[SplitImage], test: Sequence[SplitImage]) -> "Duplicates":
        """Images that two lists name are not counted: another rule is broken there."""
        names = {image_id(row) for row in learnt}
        classes, of_all = _classes_by_hash(learnt), _classes_by_hash([*learnt, *test])
        return cls(
            sum(row.sha256 in classes and image_id(row) not in names for row in test),
            sum(len(of_all.get(row.sha256, ())) > 1 for row in test),
            sum(len(classes.get(row.sha256, ())) > 1 for row in learnt),
        )

    def summary(self) -> str:
        """What there is of it; empty: nothing."""
        leaked = f"{self.leaked:,} images of test are those of train or val, byte for byte"
        count = self.conflicting + self.conflicting_learnt
        torn = f"{count:,} images have the bytes of one of another class"
        return "; ".join([leaked] * bool(self.leaked) + [torn] * bool(count))


def _classes_by_hash(rows: Iterable[SplitImage]) -> dict[str, set[int]]:
    """The classes under which each image's bytes stand."""
    found: dict[str, set[int]] = {}
    for row in rows:
        if row.sha256:
            found.setdefault(row.sha256, set()).add(row.label)
    return found


MAX_DUPLICATE_SHARE = (
    0.01  # of a split's images: fewer are repeats that the data set was published with
)
SPLIT_PAIRS: tuple[tuple[Split, Split], ...] = (
    ("train", "val"),
    ("train", "test"),
    ("val", "test"),
    ("trainval", "test"),
)
TOLERATED_CODES = ("E-TWICE",)  # broken rules that a run goes on with, and keeps in its record
MAX_EXAMPLES = 3  # examples in a sentence


SplitImages = Mapping[Split, Sequence[SplitImage]]


def broken_rules(
    task: Task, rows: SplitImages, repeats: bool, copied: bool = False
) -> Iterator[str]:
    """Every rule that the splits break.

    `repeats` allows the same bytes in training and test, and of two classes. Images of a `copied`
    task go by the copy's names, so that the selection cannot be told by them.
    """
    yield from _conflicting_label_problems(task, rows)
    yield from _listed_twice_problems(task, rows)
    yield from _count_problems(task, rows)
    yield from _overlap_problems(task, rows)
    if not copied:
        yield from _selection_problems(task, rows)
    yield from _label_problems(task, rows)
    yield from label_sequences.sequence_problems(task, rows, copied)
    yield from trainval_problems(task, rows)
    if copied:  # what is made from its source has the classes that it was published with
        yield from _coverage_problems(task, rows)
    if not (repeats or task.repeats):
        yield from _duplicate_problems(task, rows, copied)


def data_warnings(task: Task, rows: SplitImages) -> Iterator[str]:
    """What is odd and allowed: data sets as published lack classes and repeat a few images."""
    learnt: Split = "train" if "train" in rows else "trainval"
    for split in (s for s in (learnt, "test") if s in rows and s not in task.present):
        missing = task.classes - len({row.label for row in rows[split]})
        if missing:
            yield f"W-COVERAGE {task.name}/{split}: {missing} of {task.classes} classes are absent"
    repeats = Duplicates.count(_training_images(rows), rows.get("test", ()))
    if repeats.summary():
        yield f"{'W-DUP' if repeats.leaked else 'W-LABEL'} {task.name}: {repeats.summary()}"


def findings(task: Task, rows: SplitImages, repeats: bool, copied: bool) -> Iterator[str]:
    """Every rule that is broken, then what else is odd."""
    broken = list(broken_rules(task, rows, repeats, copied))
    yield from broken
    for said in data_warnings(task, rows):
        if not any(sentence[1:].startswith(said[1:]) for sentence in broken):
            yield said


def require_meaningful(
    task: Task, used: SplitImages, beside: SplitImages, repeats: bool
) -> list[str]:
    """What is odd about the splits that a run learns and scores; it goes on with that.

    `beside` are all splits that are known, for trainval to be held to its parts. Raises `UserError`
    for the first rule whose breach leaves the run's number without a meaning.
    """
    broken = chain(broken_rules(task, used, repeats, copied=True), trainval_problems(task, beside))
    said = []
    for sentence in broken:
        if not sentence.startswith(TOLERATED_CODES):
            raise UserError(sentence)
        said.append(f"W{sentence[1:]}")
    return said + list(data_warnings(task, used))


def _count_problems(task: Task, rows: SplitImages) -> Iterator[str]:
    for split, found in rows.items():
        allowed = task.counts.get(split)
        if not found or (allowed and len(found) not in allowed):
            wanted = " or ".join(f"{n:,}" for n in allowed or []) or "some"
            yield f"E-COUNT {task.name}/{split}: {len(found):,} images; there must be {wanted}"


def _overlap_problems(task: Task, rows: SplitImages) -> Iterator[str]:
    """Images of one split that stand in another."""
    for first, second in _pairs_to_compare(rows):
        there = {image_id(row) for row in rows[first]}
        both = [row for row in rows[second] if image_id(row) in there]
        if both:
            yield (
                f"E-OVERLAP {task.name}: {len({image_id(row) for row in both})} {first} keys are in "
                f"{second}, too: {both[0].key} ({both[0].origin})"
            )


def _pairs_to_compare(rows: SplitImages) -> list[tuple[Split, Split]]:
    """The splits to be compared: those of trainval only where that says more than its parts."""
    whole = ("trainval", "test")
    parted = {image_id(row) for split in ("train", "val") for row in rows.get(split, ())}
    more = any(image_id(row) not in parted for row in rows.get("trainval", ()))
    return [pair for pair in SPLIT_PAIRS if set(pair) <= rows.keys() and (pair != whole or more)]


def _selection_problems(task: Task, rows: SplitImages) -> Iterator[str]:
    for split, ranks in task.ranks.items():
        keys = [row.key for row in rows.get(split, ())]
        if ranks.digest and keys and digest_of_keys(keys) != ranks.digest:
            yield _describe_selection(task, split, ranks, keys)


def _describe_selection(task: Task, split: Split, ranks: HashRange, keys: list[str]) -> str:
    """Why a digest differs: the order alone, or which images there are."""
    if digest_of_keys(order_by_hash(ranks.source, keys)) == ranks.digest:
        return f"E-SELECTION {task.name}/{split}: the right images in another order"
    return (
        f"E-SELECTION {task.name}/{split}: other images than VTAB's: digest {digest_of_keys(keys)}, "
        f"expected {ranks.digest}"
    )


def _label_problems(task: Task, rows: SplitImages) -> Iterator[str]:
    for split, found in rows.items():
        labels = {row.label for row in found}
        beyond = sorted(label for label in labels if not 0 <= label < task.classes)
        if beyond:
            yield (
                f"E-LABEL {task.name}/{split}: labels from {min(labels)} to {max(labels)}; "
                f"expected 0 to {task.classes - 1}"
            )
    for split, wanted in task.present.items():
        held = _images_of(rows, split)
        if held is None:
            continue
        present = {row.label for row in held}
        if len(present) != wanted:
            yield f"E-LABEL {task.name}/{split}: {len(present)} classes; there must be {wanted}"


def _images_of(rows: SplitImages, split: Split) -> list[SplitImage] | None:
    """The images of a split, or of the parts that make it up; None where these are not known."""
    if split in rows:
        return list(rows[split])
    parted = SPLIT_PARTS.get(split, (split,))
    return [row for part in parted for row in rows[part]] if rows.keys() >= set(parted) else None


def _training_images(rows: SplitImages) -> list[SplitImage]:
    """What may be learnt from, each image once unless it stands twice: trainval, or its parts."""
    parted = [row for split in SPLIT_PARTS["trainval"] for row in rows.get(split, ())]
    if "trainval" not in rows:
        return parted
    names = {image_id(row) for row in rows["trainval"]}
    return [*rows["trainval"], *(row for row in parted if image_id(row) not in names)]


def _conflicting_label_problems(task: Task, rows: SplitImages) -> Iterator[str]:
    """One image under two labels, within a list or across lists."""
    first: dict[tuple[str, str], SplitImage] = {}
    torn: dict[tuple[str, str], SplitImage] = {}
    for row in (row for found in rows.values() for row in found):
        if first.setdefault(image_id(row), row).label != row.label:
            torn.setdefault(image_id(row), row)
    if torn:
        called, row = next(iter(torn.items()))
        yield (
            f"E-LABEL {task.name}: {len(torn)} images have two labels: {row.key} is "
            f"{first[called].label} ({first[called].origin}) and {row.label} ({row.origin})"
        )


def trainval_problems(task: Task, rows: SplitImages) -> Iterator[str]:
    """Trainval that is not train and val together: as images with their labels, each once.

    Where names differ, as in copies that hold the images of trainval a second time, bytes decide.
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
    """Classes that test asks for and nothing teaches; a test of one class."""
    test, learnt = _images_of(rows, "test"), _images_of(rows, "trainval")
    asked = {row.label for row in test or ()}
    if len(asked) == 1 < task.classes and "test" not in task.present:
        yield (
            f"E-COVERAGE {task.name}/test: all {len(test or ()):,} images are of class "
            f"{asked.pop()}; the task has {task.classes}"
        )
    if learnt is None or "trainval" in task.present:
        return
    untaught = sorted(asked - {row.label for row in learnt})
    if untaught:
        some = ", ".join(map(str, untaught[:MAX_EXAMPLES])) + (
            ", ..." if untaught[MAX_EXAMPLES:] else ""
        )
        held = len({row.label for row in learnt})
        yield (
            f"E-COVERAGE {task.name}: {len(untaught)} classes of test have no image in training: "
            f"{some}; where they were published so, say present = {{ trainval = {held} }} in the "
            "task's card"
        )


def _duplicate_problems(task: Task, rows: SplitImages, copied: bool) -> Iterator[str]:
    """More byte repeats than a data set is published with; what is published, has its labels."""
    test, found = (
        len(rows.get("test", ())),
        Duplicates.count(_training_images(rows), rows.get("test", ())),
    )
    most_learnt = MAX_DUPLICATE_SHARE * len(_training_images(rows))
    torn = copied and (
        found.conflicting > MAX_DUPLICATE_SHARE * test or found.conflicting_learnt > most_learnt
    )
    if found.leaked > MAX_DUPLICATE_SHARE * test or torn:
        code = "E-DUP" if found.leaked > MAX_DUPLICATE_SHARE * test else "E-LABEL"
        hint = "; where they were published so, say repeats = true in the task's card"
        yield f"{code} {task.name}: {found.summary()}{hint if copied else ''}"
    train, val = rows.get("train", ()), rows.get("val", ())
    chosen_by = Duplicates.count(train, val).leaked if copied else 0
    if chosen_by > MAX_DUPLICATE_SHARE * len(val):
        yield f"E-DUP {task.name}: {chosen_by:,} images of val are those of train, byte for byte"


def _listed_twice_problems(task: Task, rows: SplitImages) -> Iterator[str]:
    """Images that stand twice in one list."""
    for split, found in rows.items():
        again = list(_repeated_images(found))
        if again:
            more = f", as do {len(again) - 1:,} more" if again[1:] else ""
            yield (
                f"E-TWICE {task.name}/{split}: {again[0].origin}: {again[0].key} stands twice in "
                f"the {split} list{more}"
            )


def _repeated_images(rows: Iterable[SplitImage]) -> Iterator[SplitImage]:
    """The images that stood before."""
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if image_id(row) in seen:
            yield row
        seen.add(image_id(row))
