"""A record's class from its annotation, as its task's card has it."""

# MERGED bench.prepare.splits: """Which records of a source each split of a task takes, in which order, and their classes."""
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import floor

from bench.config.suite import LabelRule, Split, Task
from bench.data import locations
from bench.prepare.readers.base import Annotation, Files, RecordKey, SourceRecord
from bench.prepare.sampling import keys_by_rank, keys_by_share
from bench.utils.errors import UserError


def classes_of(label: LabelRule, entries: Sequence[SourceRecord]) -> list[int]:
    """The class of each record; `entries` are all of the source, for ranks are among them."""
    values = [_transformed(label, _annotation(label, entry)) for entry in entries]
    if not label.ranked:
        return [int(value) for value in values]
    order = {value: rank for rank, value in enumerate(sorted(set(values)))}
    return [order[value] for value in values]


def _annotation(label: LabelRule, entry: SourceRecord) -> Annotation:
    if label.fact not in entry.facts:
        raise UserError(
            f"the label needs the fact {label.fact!r}; {entry.key} has {', '.join(entry.facts)}"
        )
    return entry.facts[label.fact]


def _transformed(label: LabelRule, value: Annotation) -> Annotation:
    if isinstance(value, str):
        if not label.ranked:
            raise UserError(f"the fact {label.fact!r} is text, {value!r}: its label must be ranked")
        return value
    value = value - label.subtract
    if label.divide:
        value = floor(value / label.divide)
    if label.modulo:
        value %= label.modulo
    return _bin_index(label.above, value) if label.above else value


def _bin_index(edges: list[float], value: float) -> int:
    """The last of the edges that the value is above."""
    found = bisect_left(edges, value) - 1
    if found < 0:
        raise UserError(f"{value:g} is not above {edges[0]:g}, where the first class begins")
    return found


SplitKeys = dict[Split, list[RecordKey]]
ClassByKey = dict[RecordKey, int]


@dataclass(frozen=True)
class TaskSplits:
    """A task's splits and labels."""

    task: Task
    splits: SplitKeys
    classes: ClassByKey  # of every record of the source


def select_all(
    tasks: Iterable[Task], entries: Sequence[SourceRecord], files: Files
) -> list[TaskSplits]:
    """The splits of tasks of one source; tasks with the same label share its classes."""
    classes: dict[str, ClassByKey] = {}
    found = []
    for task in tasks:
        _require_counts(task, entries)
        label = repr(task.label)
        if label not in classes:
            classes[label] = _record_classes(task, entries)
        rule = next(rule for kind, rule in SELECTION_RULES.items() if getattr(task, kind))
        splits = rule(task, list(classes[label]), classes[label], files)
        found.append(TaskSplits(task, splits, classes[label]))
    return found


def _record_classes(task: Task, entries: Sequence[SourceRecord]) -> ClassByKey:
    """The class of every record of the source."""
    assert task.label is not None
    numbers = classes_of(task.label, entries)
    classes = {(e.split, e.key): number for e, number in zip(entries, numbers, strict=True)}
    if len(classes) < len(entries):
        raise UserError(f"E-SELECTION {task.name}: {len(entries) - len(classes)} keys stand twice")
    return classes


def _require_counts(task: Task, entries: Iterable[SourceRecord]) -> None:
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


def _select_by_rank(task: Task, names: list[RecordKey], _: ClassByKey, __: Files) -> SplitKeys:
    keys = _keys_by_split(names)
    return {
        split: [(ranks.source, key) for key in keys_by_rank(ranks, keys[ranks.source])]
        for split, ranks in task.ranks.items()
    }


def _select_by_share(
    task: Task, names: list[RecordKey], classes: ClassByKey, _: Files
) -> SplitKeys:
    found: SplitKeys = {}
    for split, share in task.shares.items():
        of_class: dict[int, list[str]] = defaultdict(list)
        for source, key in names:
            if source == share.source:
                of_class[classes[source, key]].append(key)
        found[split] = [(share.source, key) for key in keys_by_share(share, of_class)]
    return found | _select_by_rank(task, names, classes, _)


def _select_from_lists(
    task: Task, names: list[RecordKey], classes: ClassByKey, files: Files
) -> SplitKeys:
    """The splits as list files name them, whose class ids must match the source's classes."""
    where = {key: (source, key) for source, key in names}
    found: SplitKeys = {}
    ids: dict[str, int] = {}
    for split, file in task.members.items():
        entries = locations.read_list(str(files[file].parent), file, _list_file_reader(files))
        found[split] = [_find_listed(task, where, line) for line in entries]
        for name, (_, raw, origin) in zip(found[split], entries, strict=True):
            if ids.setdefault(raw, classes[name]) != classes[name]:
                raise UserError(f"E-LABEL {origin}: class {raw} there is several of the source's")
    if len(set(ids.values())) != len(ids):
        raise UserError(
            f"E-LABEL {task.name}: several class ids of its lists are one of the source"
        )
    return found


def _list_file_reader(files: Files) -> locations.FileReader:
    def read(name: str) -> bytes:
        return files[name].read_bytes()

    return read


def _find_listed(task: Task, where: dict[str, RecordKey], line: locations.ListEntry) -> RecordKey:
    key, _, origin = line
    if key not in where:
        near = next(iter(where), "nothing")
        raise UserError(f"E-PATH {origin}: no such image in the source, which has {near}")
    return where[key]


SELECTION_RULES: dict[str, Callable[[Task, list[RecordKey], ClassByKey, Files], SplitKeys]] = {
    "shares": _select_by_share,
    "members": _select_from_lists,
    "ranks": _select_by_rank,
}


def _keys_by_split(names: Iterable[RecordKey]) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = defaultdict(list)
    for source, key in names:
        keys[source].append(key)
    return keys
