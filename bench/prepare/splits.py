"""Selection of a task's splits from the records of its source, and the records' classes."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import PurePosixPath

from bench.config.suite import LabelRule, Split, Task
from bench.data import locations, published_lists
from bench.prepare.readers.base import Annotation, Files, RecordKey, SourceRecord
from bench.prepare.sampling import keys_by_rank, keys_by_share
from bench.utils.errors import UserError, unknown_name
from bench.utils.files import read_regular_file
from bench.utils.names import shorten

SplitKeys = dict[Split, list[RecordKey]]
ClassByKey = dict[RecordKey, int]


def classes_of(label: LabelRule, entries: Sequence[SourceRecord]) -> list[int]:
    """Return the class of each record; `entries` must be all of the source, for ranked labels."""
    if label.listed:
        known = _folder_labels(label.listed)
        return [_listed_class(label, known, entry) for entry in entries]
    values = [_transformed(label, _annotation(label, entry)) for entry in entries]
    if not label.ranked:
        return [int(value) for value in values]
    order = {value: rank for rank, value in enumerate(sorted(set(values)))}
    return [order[value] for value in values]


def _folder_labels(name: str) -> dict[str, int]:
    """Return the label that a published list gives to the images of each folder."""
    entries = published_lists.read_published_list(name)
    return {PurePosixPath(path).parent.name: int(raw) for path, raw, _ in entries}


def _listed_class(label: LabelRule, known: dict[str, int], entry: SourceRecord) -> int:
    value = str(_annotation(label, entry))
    if value not in known:
        raise UserError(
            f"E-LABEL {entry.key}: {label.fact} {shorten(value)} is no folder of {label.listed}"
        )
    return known[value]


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
    """Return the index of the last edge below the value."""
    index = bisect_left(edges, value) - 1
    if index < 0:
        raise UserError(f"{value:g} is not above {edges[0]:g}, where the first class begins")
    return index


@dataclass(frozen=True)
class TaskSplits:
    """A task's splits, and the classes of its source's records."""

    task: Task
    splits: SplitKeys
    classes: ClassByKey  # of all records of the source


def select_all(
    tasks: Iterable[Task], entries: Sequence[SourceRecord], files: Files
) -> list[TaskSplits]:
    """Select the splits of tasks of one source; tasks with equal labels share their classes.

    Raises `UserError` if the source is not as the card describes it.
    """
    classes: dict[str, ClassByKey] = {}
    selected = []
    for task in tasks:
        _require_counts(task, entries)
        label = repr(task.label)
        if label not in classes:
            classes[label] = _record_classes(task, entries)
        rule = next(rule for kind, rule in SELECTION_RULES.items() if getattr(task, kind))
        splits = rule(task, list(classes[label]), classes[label], files)
        selected.append(TaskSplits(task, splits, classes[label]))
    return selected


def _record_classes(task: Task, entries: Sequence[SourceRecord]) -> ClassByKey:
    """Return the class of every record of the source; raise `UserError` for repeated keys."""
    assert task.label is not None
    numbers = classes_of(task.label, entries)
    classes = {(e.split, e.key): number for e, number in zip(entries, numbers, strict=True)}
    if len(classes) < len(entries):
        raise UserError(
            f"E-SELECTION {task.name}: {len(entries) - len(classes)} keys are listed twice"
        )
    return classes


def _require_counts(task: Task, entries: Iterable[SourceRecord]) -> None:
    counts: dict[str, int] = defaultdict(int)
    for entry in entries:
        counts[entry.split] += 1
    for split, keys in task.keys.items():
        if counts[split] not in keys.counts:
            expected = " or ".join(f"{count:,}" for count in keys.counts)
            raise UserError(
                f"E-COUNT {task.name}: the source's {split} split has {counts[split]:,} records; "
                f"there must be {expected}"
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
    selected: SplitKeys = {}
    for split, share in task.shares.items():
        keys_by_class: dict[int, list[str]] = defaultdict(list)
        for source, key in names:
            if source == share.source:
                keys_by_class[classes[source, key]].append(key)
        selected[split] = [(share.source, key) for key in keys_by_share(share, keys_by_class)]
    return selected | _select_by_rank(task, names, classes, _)


def _select_from_lists(
    task: Task, names: list[RecordKey], classes: ClassByKey, files: Files
) -> SplitKeys:
    """Select the records in list files, whose class ids must match the source's classes.

    A list of shots may name an image twice, as published ones do: it counts once.
    """
    where = {key: (source, key) for source, key in names}
    selected: SplitKeys = {}
    ids: dict[str, int] = {}
    for split, file in task.members.items():
        entries = _read_members(task, file, files)
        found = [_find_listed(where, entry) for entry in entries]
        selected[split] = list(dict.fromkeys(found)) if task.draw else found
        for name, (_, raw, origin) in zip(found, entries, strict=True):
            if ids.setdefault(raw, classes[name]) != classes[name]:
                raise UserError(
                    f"E-LABEL {origin}: class {raw} maps to several classes of the source"
                )
    if len(set(ids.values())) != len(ids):
        raise UserError(
            f"E-LABEL {task.name}: several class ids of its lists map to one class of the source"
        )
    return selected


def _read_members(task: Task, file: str, files: Files) -> list[locations.ListEntry]:
    """Read a list of the project's packages, or of the source's files.

    The labels of text lists are classes; those of JSON are ids, which may have gaps.
    """
    if published_lists.is_published(file):
        entries = published_lists.read_published_list(file)
    elif file in files:
        entries = locations.read_list(str(files[file].parent), file, _list_file_reader(files))
    else:
        raise unknown_name(f"list among the files of the source of {task.name}", file, files)
    if not file.endswith(".json"):
        locations.parse_classes(task.classes, entries)
    return entries


def _list_file_reader(files: Files) -> locations.FileReader:
    def read(name: str) -> bytes:
        return read_regular_file(files[name], locations.MAX_LIST_BYTES, follow_links=True)

    return read


def _find_listed(where: dict[str, RecordKey], entry: locations.ListEntry) -> RecordKey:
    """Return the record of a listed image: by its path, or where keys are names, by its name."""
    path, _, origin = entry
    key = path if path in where else PurePosixPath(path).name
    if key not in where:
        near = next(iter(where), "nothing")
        raise UserError(f"E-PATH {origin}: no image {shorten(path)} in the source; it has {near}")
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
