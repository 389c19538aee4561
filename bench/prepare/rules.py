"""What must hold of a task's splits, and the sentence that says which does not."""

from collections.abc import Iterator, Mapping, Sequence

from bench.prepare.selection import digest, ordered
from bench.stores import PARTS, Row
from bench.tasks import Ranks, Split, Task

COPIED = 0.01  # of the test images: fewer are repeats that the data set was published with
COVERED: tuple[Split, ...] = ("train", "test")  # in which absent classes are worth a word
PAIRS: tuple[tuple[Split, Split], ...] = (("train", "val"), ("train", "test"), ("val", "test"))
Rows = Mapping[Split, Sequence[Row]]


def problems(task: Task, rows: Rows, repeats: bool, copied: bool = False) -> Iterator[str]:
    """Every rule that the splits break.

    `repeats` allows the same bytes in training and test. Images of a `copied` task go by the copy's
    names, so that the selection cannot be told by them.
    """
    yield from _counts(task, rows)
    yield from _overlaps(task, rows)
    if not copied:
        yield from _selection(task, rows)
    yield from _labels(task, rows)
    found = _duplicates(rows)
    if not repeats and found > COPIED * len(rows.get("test", ())):
        yield f"E-DUP {task.name}: {_in_both(found)}"


def warnings(task: Task, rows: Rows) -> Iterator[str]:
    """What is odd and allowed: data sets as published lack classes and repeat a few images."""
    for split in [s for s in COVERED if s in rows and s not in task.present]:
        missing = task.classes - len({row.label for row in rows[split]})
        if missing:
            yield f"W-COVERAGE {task.name}/{split}: {missing} of {task.classes} classes are absent"
    found = _duplicates(rows)
    if found:
        yield f"W-DUP {task.name}: {_in_both(found)}"


def _in_both(count: int) -> str:
    return f"{count:,} images of test are those of train or val, byte for byte"


def _counts(task: Task, rows: Rows) -> Iterator[str]:
    for split, found in rows.items():
        allowed = task.counts.get(split)
        if not found or (allowed and len(found) not in allowed):
            wanted = " or ".join(f"{n:,}" for n in allowed or []) or "some"
            yield f"E-COUNT {task.name}/{split}: {len(found):,} images; there must be {wanted}"


def _overlaps(task: Task, rows: Rows) -> Iterator[str]:
    names = {split: {(row.source, row.key) for row in found} for split, found in rows.items()}
    for first, second in PAIRS:
        both = names.get(first, set()) & names.get(second, set())
        if both:
            yield f"E-OVERLAP {task.name}: {len(both)} {first} keys are in {second}, too"


def _selection(task: Task, rows: Rows) -> Iterator[str]:
    for split, ranks in task.ranks.items():
        keys = [row.key for row in rows.get(split, ())]
        if ranks.digest and keys and digest(keys) != ranks.digest:
            yield _other(task, split, ranks, keys)


def _other(task: Task, split: Split, ranks: Ranks, keys: list[str]) -> str:
    """Why a digest differs: the order alone, or which images there are."""
    if digest(ordered(ranks.source, keys)) == ranks.digest:
        return f"E-SELECTION {task.name}/{split}: the right images in another order"
    return (
        f"E-SELECTION {task.name}/{split}: other images than VTAB's: digest {digest(keys)}, "
        f"expected {ranks.digest}"
    )


def _labels(task: Task, rows: Rows) -> Iterator[str]:
    for split, found in rows.items():
        labels = {row.label for row in found}
        beyond = sorted(label for label in labels if not 0 <= label < task.classes)
        if beyond:
            yield (
                f"E-LABEL {task.name}/{split}: labels from {min(labels)} to {max(labels)}; "
                f"expected 0 to {task.classes - 1}"
            )
    for split, wanted in task.present.items():
        parts = PARTS.get(split, (split,))
        present = {row.label for part in parts for row in rows.get(part, ())}
        if len(present) != wanted and rows.keys() >= set(parts):
            yield f"E-LABEL {task.name}/{split}: {len(present)} classes; there must be {wanted}"


def _duplicates(rows: Rows) -> int:
    """How many test images have the bytes of a training image."""
    learnt = {row.sha256 for split, found in rows.items() if split != "test" for row in found}
    return sum(row.sha256 in learnt for row in rows.get("test", ()))
