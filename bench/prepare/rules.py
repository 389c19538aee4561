"""What must hold of a task's splits, and the sentence that says which does not.

One set for all who ask: `data prepare`, `import` and `check` refuse every broken rule, a run those
that leave its number without a meaning.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from bench.errors import UserError
from bench.prepare import sequences
from bench.prepare.listed import Listed, name
from bench.prepare.repeats import Repeats
from bench.prepare.selection import digest, ordered
from bench.stores import PARTS
from bench.tasks import Ranks, Split, Task

COPIED = 0.01  # of a split's images: fewer are repeats that the data set was published with
PAIRS: tuple[tuple[Split, Split], ...] = (
    ("train", "val"),
    ("train", "test"),
    ("val", "test"),
    ("trainval", "test"),
)
ODD = ("E-TWICE",)  # broken rules that a run goes on with, and keeps in its record
SHOWN = 3  # examples in a sentence


Rows = Mapping[Split, Sequence[Listed]]


def problems(task: Task, rows: Rows, repeats: bool, copied: bool = False) -> Iterator[str]:
    """Every rule that the splits break.

    `repeats` allows the same bytes in training and test, and of two classes. Images of a `copied`
    task go by the copy's names, so that the selection cannot be told by them.
    """
    yield from _two_labels(task, rows)
    yield from _twice(task, rows)
    yield from _counts(task, rows)
    yield from _overlaps(task, rows)
    if not copied:
        yield from _selection(task, rows)
    yield from _labels(task, rows)
    yield from sequences.problems(task, rows, copied)
    yield from parts(task, rows)
    if copied:  # what is made from its source has the classes that it was published with
        yield from _uncovered(task, rows)
    if not (repeats or task.repeats):
        yield from _copies(task, rows, copied)


def warnings(task: Task, rows: Rows) -> Iterator[str]:
    """What is odd and allowed: data sets as published lack classes and repeat a few images."""
    learnt: Split = "train" if "train" in rows else "trainval"
    for split in (s for s in (learnt, "test") if s in rows and s not in task.present):
        missing = task.classes - len({row.label for row in rows[split]})
        if missing:
            yield f"W-COVERAGE {task.name}/{split}: {missing} of {task.classes} classes are absent"
    repeats = Repeats.of(_learnt(rows), rows.get("test", ()))
    if repeats.said():
        yield f"{'W-DUP' if repeats.leaked else 'W-LABEL'} {task.name}: {repeats.said()}"


def findings(task: Task, rows: Rows, repeats: bool, copied: bool) -> Iterator[str]:
    """Every rule that is broken, then what else is odd."""
    broken = list(problems(task, rows, repeats, copied))
    yield from broken
    for said in warnings(task, rows):
        if not any(sentence[1:].startswith(said[1:]) for sentence in broken):
            yield said


def require_meaning(task: Task, used: Rows, beside: Rows, repeats: bool) -> list[str]:
    """What is odd about the splits that a run learns and scores; it goes on with that.

    `beside` are all splits that are known, for trainval to be held to its parts. Raises `UserError`
    for the first rule whose breach leaves the run's number without a meaning.
    """
    broken = chain(problems(task, used, repeats, copied=True), parts(task, beside))
    said = []
    for sentence in broken:
        if not sentence.startswith(ODD):
            raise UserError(sentence)
        said.append(f"W{sentence[1:]}")
    return said + list(warnings(task, used))


def _counts(task: Task, rows: Rows) -> Iterator[str]:
    for split, found in rows.items():
        allowed = task.counts.get(split)
        if not found or (allowed and len(found) not in allowed):
            wanted = " or ".join(f"{n:,}" for n in allowed or []) or "some"
            yield f"E-COUNT {task.name}/{split}: {len(found):,} images; there must be {wanted}"


def _overlaps(task: Task, rows: Rows) -> Iterator[str]:
    """Images of one split that stand in another."""
    for first, second in _pairs(rows):
        there = {name(row) for row in rows[first]}
        both = [row for row in rows[second] if name(row) in there]
        if both:
            yield (
                f"E-OVERLAP {task.name}: {len({name(row) for row in both})} {first} keys are in "
                f"{second}, too: {both[0].key} ({both[0].origin})"
            )


def _pairs(rows: Rows) -> list[tuple[Split, Split]]:
    """The splits to be compared: those of trainval only where that says more than its parts."""
    whole = ("trainval", "test")
    parted = {name(row) for split in ("train", "val") for row in rows.get(split, ())}
    more = any(name(row) not in parted for row in rows.get("trainval", ()))
    return [pair for pair in PAIRS if set(pair) <= rows.keys() and (pair != whole or more)]


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
        held = _held(rows, split)
        if held is None:
            continue
        present = {row.label for row in held}
        if len(present) != wanted:
            yield f"E-LABEL {task.name}/{split}: {len(present)} classes; there must be {wanted}"


def _held(rows: Rows, split: Split) -> list[Listed] | None:
    """The images of a split, or of the parts that make it up; None where these are not known."""
    if split in rows:
        return list(rows[split])
    parted = PARTS.get(split, (split,))
    return [row for part in parted for row in rows[part]] if rows.keys() >= set(parted) else None


def _learnt(rows: Rows) -> list[Listed]:
    """What may be learnt from, each image once unless it stands twice: trainval, or its parts."""
    parted = [row for split in PARTS["trainval"] for row in rows.get(split, ())]
    if "trainval" not in rows:
        return parted
    names = {name(row) for row in rows["trainval"]}
    return [*rows["trainval"], *(row for row in parted if name(row) not in names)]


def _two_labels(task: Task, rows: Rows) -> Iterator[str]:
    """One image under two labels, within a list or across lists."""
    first: dict[tuple[str, str], Listed] = {}
    torn: dict[tuple[str, str], Listed] = {}
    for row in (row for found in rows.values() for row in found):
        if first.setdefault(name(row), row).label != row.label:
            torn.setdefault(name(row), row)
    if torn:
        called, row = next(iter(torn.items()))
        yield (
            f"E-LABEL {task.name}: {len(torn)} images have two labels: {row.key} is "
            f"{first[called].label} ({first[called].origin}) and {row.label} ({row.origin})"
        )


def parts(task: Task, rows: Rows) -> Iterator[str]:
    """Trainval that is not train and val together: as images with their labels, each once.

    Where names differ, as in copies that hold the images of trainval a second time, bytes decide.
    """
    if not rows.keys() >= {"trainval", *PARTS["trainval"]}:
        return
    whole = list(rows["trainval"])
    halves = [row for part in PARTS["trainval"] for row in rows[part]]
    if {(name(r), r.label) for r in whole} == {(name(r), r.label) for r in halves}:
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


def _uncovered(task: Task, rows: Rows) -> Iterator[str]:
    """Classes that test asks for and nothing teaches; a test of one class."""
    test, learnt = _held(rows, "test"), _held(rows, "trainval")
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
        some = ", ".join(map(str, untaught[:SHOWN])) + (", ..." if untaught[SHOWN:] else "")
        held = len({row.label for row in learnt})
        yield (
            f"E-COVERAGE {task.name}: {len(untaught)} classes of test have no image in training: "
            f"{some}; where they were published so, say present = {{ trainval = {held} }} in the "
            "task's card"
        )


def _copies(task: Task, rows: Rows, copied: bool) -> Iterator[str]:
    """More byte repeats than a data set is published with; what is published, has its labels."""
    test, found = len(rows.get("test", ())), Repeats.of(_learnt(rows), rows.get("test", ()))
    most_learnt = COPIED * len(_learnt(rows))
    torn = copied and (found.torn > COPIED * test or found.torn_learnt > most_learnt)
    if found.leaked > COPIED * test or torn:
        code = "E-DUP" if found.leaked > COPIED * test else "E-LABEL"
        hint = "; where they were published so, say repeats = true in the task's card"
        yield f"{code} {task.name}: {found.said()}{hint if copied else ''}"
    train, val = rows.get("train", ()), rows.get("val", ())
    chosen_by = Repeats.of(train, val).leaked if copied else 0
    if chosen_by > COPIED * len(val):
        yield f"E-DUP {task.name}: {chosen_by:,} images of val are those of train, byte for byte"


def _twice(task: Task, rows: Rows) -> Iterator[str]:
    """Images that stand twice in one list."""
    for split, found in rows.items():
        again = list(_repeated(found))
        if again:
            more = f", as do {len(again) - 1:,} more" if again[1:] else ""
            yield (
                f"E-TWICE {task.name}/{split}: {again[0].origin}: {again[0].key} stands twice in "
                f"the {split} list{more}"
            )


def _repeated(rows: Iterable[Listed]) -> Iterator[Listed]:
    """The images that stood before."""
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if name(row) in seen:
            yield row
        seen.add(name(row))
