"""Locations of a task's data, prepared or in a folder as found, and the list files of the latter.

A list file has a line ``path label`` for each image, or is JSON that maps images to class ids. It
is UTF-8, with or without a BOM, with the line ends of any system. The label follows the last space
or tab of a line, so paths may have spaces; blank lines are allowed at the end only, because one
among the others may be an image that was lost.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.config.suite import Suite, Task
from bench.data import synthetic
from bench.data.prepared import LOSSLESS, available_variants, find_prepared
from bench.records.schema import SYNTHETIC
from bench.utils.errors import UserError
from bench.utils.names import shorten
from bench.utils.text import decode_utf8

ListEntry = tuple[str, str, str]  # an image's path, its label as written, file and line
FileReader = Callable[[str], bytes]  # a list file's content, by its name
MAX_LIST_BYTES = 256 * 2**20  # of a list file
MAX_LIST_ENTRIES = 5_000_000
MAX_PATH_BYTES = 4096  # the system's
MAX_LABEL_DIGITS = 18  # of 64-bit labels
LINE_ENDS = re.compile(r"\r\n|\n|\r")  # `splitlines` also splits at characters of paths


class JsonPairs(list[tuple[str, object]]):
    """The entries of a JSON object, including repeated keys."""


def read_list(where: str, name: str, read: FileReader) -> list[ListEntry]:
    """Read a list file; `where` is its folder, for messages."""
    place = f"{where}/{name}"
    try:
        text = decode_utf8(read(name))
        entries = _parse_json(place, text) if name.endswith(".json") else _parse_lines(place, text)
    except OSError as error:
        raise UserError(f"the list file {place} cannot be read: {error.strerror}") from None
    except RecursionError:
        raise UserError(f"the list file {place} cannot be read: it is nested too deeply") from None
    except ValueError as error:  # `NotText`, broken JSON, or a number of thousands of digits
        raise UserError(f"the list file {place} cannot be read: {error}") from None
    for path, _, origin in entries:
        _require_path(path, origin)
    return entries


def _parse_json(place: str, text: str) -> list[ListEntry]:
    entries = json.loads(text, object_pairs_hook=JsonPairs)
    if not isinstance(entries, JsonPairs):
        raise UserError(
            f"the list file {place} holds a {type(entries).__name__}, not classes by image"
        )
    _require_few_entries(len(entries))
    return [(image, str(raw), f"{place}: {image}") for image, raw in entries]


def _parse_lines(place: str, text: str) -> list[ListEntry]:
    text = text.rstrip()
    _require_few_entries(text.count("\n") + text.count("\r"))
    found = LINE_ENDS.split(text) if text else []
    return [_parse_line(f"{place}:{n}", line) for n, line in enumerate(found, start=1)]


def _require_few_entries(count: int) -> None:
    if count > MAX_LIST_ENTRIES:
        raise ValueError(f"it has {count:,} entries; at most {MAX_LIST_ENTRIES:,} are read")


def _parse_line(origin: str, line: str) -> ListEntry:
    parts = line.strip().rsplit(maxsplit=1)
    if len(parts) < 2:
        raise UserError(f"{origin}: expected a path and a label, got {shorten(line)}")
    return parts[0], parts[1], origin


def _require_path(path: str, origin: str) -> None:
    """Raise `UserError` for what no file is called; JSON can hold zeros and half characters."""
    try:
        possible = len(path.encode()) < MAX_PATH_BYTES and "\0" not in path
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise UserError(f"{shorten(origin)}: expected the path of an image, got {shorten(path)}")


def class_numbers(
    suite: Suite, task: Task, where: str, read: FileReader, chosen: Sequence[ListEntry]
) -> list[int]:
    """Return the class of each entry; class ids of JSON lists are numbered by those of trainval.

    The ids may have gaps. The lists of test are not read, so that trials get the same numbers.
    """
    names = sorted(set(suite.lists["trainval"]))
    given = [_parse_label(raw, origin) for _, raw, origin in chosen]
    if not all(name.endswith(".json") for name in names):
        _require_range(task.classes, given, chosen)
        return given
    ids = set(_read_class_ids(where, names, read))
    if len(ids) != task.classes:
        raise UserError(f"{where}: {len(ids)} classes in its lists; there must be {task.classes}")
    numbers = {label: number for number, label in enumerate(sorted(ids))}
    for label, (_, _, origin) in zip(given, chosen, strict=True):
        if label not in numbers:
            raise UserError(f"{origin}: no image of trainval has class {label}")
    return [numbers[label] for label in given]


def parse_classes(classes: int, entries: Sequence[ListEntry]) -> list[int]:
    """Return the labels of a list; raise `UserError` for a label out of range."""
    labels = [_parse_label(raw, origin) for _, raw, origin in entries]
    _require_range(classes, labels, entries)
    return labels


def _require_range(classes: int, labels: Sequence[int], entries: Sequence[ListEntry]) -> None:
    for label, (_, _, origin) in zip(labels, entries, strict=True):
        if label >= classes:
            raise UserError(f"{origin}: label {label}; expected 0 to {classes - 1}")


def _read_class_ids(where: str, names: Iterable[str], read: FileReader) -> Iterator[int]:
    for name in names:
        yield from (_parse_label(raw, origin) for _, raw, origin in read_list(where, name, read))


def _parse_label(raw: str, origin: str) -> int:
    if not raw.isdecimal() or len(raw) > MAX_LABEL_DIGITS:
        raise UserError(f"{origin}: label {shorten(raw)}; expected a whole number")
    return int(raw)


@dataclass(frozen=True)
class DataLocation:
    """A folder with a task's data: prepared in a variant, or as found; or the word `SYNTHETIC`."""

    folder: Path
    variant: str = ""  # empty: as found


def absolute_root(root: Path) -> Path:
    """Return a data root as other machines and folders know it."""
    return root if synthetic.is_synthetic(root) else root.absolute()


def candidate_folders(suite: Suite, task: Task, root: Path) -> list[Path]:
    """List the folders in which a task's unprepared data may be."""
    name = task.folder or task.name
    return list(dict.fromkeys([root / suite.folder / name, root / name]))


def is_present(suite: Suite, task: Task, root: Path, variant: str | None = None) -> bool:
    """Return whether a task is built in or has data in one of its locations."""
    return bool(task.embedded) or bool(available_locations(suite, task, root, variant))


def find(suite: Suite, task: Task, root: Path, variant: str | None = None) -> DataLocation:
    """Return a task's location; raise `UserError` with the locations searched."""
    for place in available_locations(suite, task, root, variant):
        return place
    raise UserError(explain_missing(suite, task, root, variant))


def explain_missing(suite: Suite, task: Task, root: Path, variant: str | None) -> str:
    """Explain why a task's data are missing: what was searched, or which variant exists."""
    if synthetic.is_synthetic(root):
        return synthetic.problem(task) or f"images of --data-root {root} have no variant {variant}"
    others = available_variants(root, suite.name, task)
    if others:
        wanted = variant or LOSSLESS
        return f"{task.name} is prepared as {others[0]}, not as {wanted}: say --variant {others[0]}"
    if variant:
        return f"{task.name} is not prepared as {variant} in {root / 'prepared'}"
    if not suite.lists:
        return f"{task.name} is not prepared in {root / 'prepared'}"
    looked = " and ".join(map(str, candidate_folders(suite, task, root)))
    return f"no data for {task.name}: looked for {suite.lists['test'][0]} in {looked}"


def available_locations(
    suite: Suite, task: Task, root: Path, variant: str | None
) -> list[DataLocation]:
    """List a task's locations: prepared, then (unless a variant is asked for) as found."""
    if synthetic.is_synthetic(root):
        is_drawn = variant is None and not synthetic.problem(task)
        return [DataLocation(root, SYNTHETIC)] if is_drawn else []
    wanted = variant or LOSSLESS
    folder = find_prepared(root, suite.name, task, wanted)
    prepared = [DataLocation(folder, wanted)] if folder else []
    if variant or not suite.lists:
        return prepared
    test = suite.lists["test"][0]
    as_found = [place for place in candidate_folders(suite, task, root) if (place / test).is_file()]
    return prepared + [DataLocation(place) for place in as_found]
