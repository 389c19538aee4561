"""Which records of a source each split of a task takes, in which order, and their classes."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench import lists
from bench.errors import UserError
from bench.prepare.formats.base import Entry, Files, Name
from bench.prepare.labels import classes_of
from bench.prepare.selection import chosen, shared
from bench.tasks import Split, Task

Splits = dict[Split, list[Name]]
Classes = dict[Name, int]


@dataclass(frozen=True)
class Chosen:
    """A task's splits and labels."""

    task: Task
    splits: Splits
    classes: Classes  # of every record of the source

    def labels(self, split: Split) -> list[int]:
        """The classes of a split, in its order."""
        return [self.classes[name] for name in self.splits[split]]


def choose_all(tasks: Iterable[Task], entries: Sequence[Entry], files: Files) -> list[Chosen]:
    """The splits of tasks of one source; tasks with the same label share its classes."""
    classes: dict[str, Classes] = {}
    found = []
    for task in tasks:
        _require_counts(task, entries)
        label = repr(task.label)
        if label not in classes:
            classes[label] = _classes(task, entries)
        rule = next(rule for kind, rule in RULES.items() if getattr(task, kind))
        splits = rule(task, list(classes[label]), classes[label], files)
        found.append(Chosen(task, splits, classes[label]))
    return found


def choose(task: Task, entries: Sequence[Entry], files: Files) -> Chosen:
    """The task's splits; raises `UserError` where the source is not what the card says."""
    return choose_all([task], entries, files)[0]


def _classes(task: Task, entries: Sequence[Entry]) -> Classes:
    """The class of every record of the source."""
    assert task.label is not None
    numbers = classes_of(task.label, entries)
    classes = {(e.split, e.key): number for e, number in zip(entries, numbers, strict=True)}
    if len(classes) < len(entries):
        raise UserError(f"E-SELECTION {task.name}: {len(entries) - len(classes)} keys stand twice")
    return classes


def _require_counts(task: Task, entries: Iterable[Entry]) -> None:
    counts: dict[str, int] = defaultdict(int)
    for entry in entries:
        counts[entry.split] += 1
    for split, keys in task.keys.items():
        if counts[split] not in keys.counts:
            wanted = " or ".join(f"{count:,}" for count in keys.counts)
            raise UserError(
                f"E-COUNT {task.name}: the source's {split} split has {counts[split]:,} records; "
                f"there must be {wanted}"
            )


def _ranked(task: Task, names: list[Name], _: Classes, __: Files) -> Splits:
    keys = _by_split(names)
    return {
        split: [(ranks.source, key) for key in chosen(ranks, keys[ranks.source])]
        for split, ranks in task.ranks.items()
    }


def _shared(task: Task, names: list[Name], classes: Classes, _: Files) -> Splits:
    found: Splits = {}
    for split, share in task.shares.items():
        of_class: dict[int, list[str]] = defaultdict(list)
        for source, key in names:
            if source == share.source:
                of_class[classes[source, key]].append(key)
        found[split] = [(share.source, key) for key in shared(share, of_class)]
    return found | _ranked(task, names, classes, _)


def _listed(task: Task, names: list[Name], classes: Classes, files: Files) -> Splits:
    """The splits as list files name them, whose class ids must match the source's classes."""
    where = {key: (source, key) for source, key in names}
    found: Splits = {}
    ids: dict[str, int] = {}
    for split, file in task.members.items():
        entries = lists.lines(str(files[file].parent), file, _reader(files))
        found[split] = [_known(task, where, line) for line in entries]
        for name, (_, raw, origin) in zip(found[split], entries, strict=True):
            if ids.setdefault(raw, classes[name]) != classes[name]:
                raise UserError(f"E-LABEL {origin}: class {raw} there is several of the source's")
    if len(set(ids.values())) != len(ids):
        raise UserError(
            f"E-LABEL {task.name}: several class ids of its lists are one of the source"
        )
    return found


def _reader(files: Files) -> lists.Reader:
    def read(name: str) -> bytes:
        return files[name].read_bytes()

    return read


def _known(task: Task, where: dict[str, Name], line: lists.Line) -> Name:
    key, _, origin = line
    if key not in where:
        near = next(iter(where), "nothing")
        raise UserError(f"E-PATH {origin}: no such image in the source, which has {near}")
    return where[key]


RULES: dict[str, Callable[[Task, list[Name], Classes, Files], Splits]] = {
    "shares": _shared,
    "members": _listed,
    "ranks": _ranked,
}


def _by_split(names: Iterable[Name]) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = defaultdict(list)
    for source, key in names:
        keys[source].append(key)
    return keys
