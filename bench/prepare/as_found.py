"""Folders as found, and embedded tasks, as what the rules judge: images, their labels and bytes."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import data, hashes, stores
from bench.cards import Suite
from bench.data import Examples
from bench.errors import UserError
from bench.places import Place
from bench.prepare import rules
from bench.sources import Source, beside, load_source
from bench.stores import PARTS
from bench.tasks import Split, Task


@dataclass(frozen=True, slots=True)
class Image:
    """One image of a split, as the rules see it."""

    label: int
    source: str  # what it is numbered in, where it has no file
    key: str
    sha256: str
    origin: str


Splits = Mapping[Split, Examples]


def oddities(
    suite: Suite, task: Task, place: Place | None, read: Splits, asked: str | None
) -> list[str]:
    """What is odd about the data that a run learns and scores, for its record.

    `place` is where they lie, if they do, and `asked` the suite as the request names it. Raises
    `UserError` for the first rule whose breach leaves the run's number without a meaning.
    """
    if place is None:
        rows = {split: _numbered(task, split, examples) for split, examples in read.items()}
        return rules.require_meaning(task, rows, rows, repeats=True)
    if place.variant:  # the rules were kept when it was prepared
        return _of_card(task, place.folder)
    source = load_source(task.source, beside(asked or suite.name)) if task.source else None
    known = {**_parts(suite, task, place.folder, read), **read}
    rows = images(place.folder, known)
    used = {split: rows[split] for split in read}
    return rules.require_meaning(task, used, rows, repeats(source))


def repeats(source: Source | None) -> bool:
    """Whether a source's own test images repeat training images."""
    return source is not None and source.repeats


def images(folder: Path, splits: Splits) -> dict[Split, list[Image]]:
    """The images of splits that lie in a folder, whose files are there.

    A file has one key however it is written or linked to: that by which it is first listed.
    """
    files = [file for examples in splits.values() for file in examples.files]
    try:
        known = dict(zip(files, hashes.of_files(folder, files), strict=True))
        called = keys(folder, files)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from None
    return {
        split: [
            Image(label, "", called[file], known[file], origin)
            for label, file, origin in zip(
                examples.labels.tolist(), examples.files, examples.origins, strict=True
            )
        ]
        for split, examples in splits.items()
    }


def keys(folder: Path, files: Iterable[Path]) -> dict[Path, str]:
    """What each file is called; the file system says which names are of one file."""
    first: dict[object, str] = {}
    top = f"{folder}{os.sep}"
    found = {}
    for file in dict.fromkeys(files):
        state = os.stat(file)
        one = (state.st_dev, state.st_ino) if state.st_ino else os.path.realpath(file)
        found[file] = first.setdefault(one, str(file).removeprefix(top))
    return found


def is_of_parts(suite: Suite) -> bool:
    """Whether the lists of trainval are those of its parts, so that they need no comparison."""
    parted = [name for part in PARTS["trainval"] for name in suite.lists.get(part, ())]
    return sorted(suite.lists.get("trainval", ())) == sorted(parted)


def _parts(suite: Suite, task: Task, folder: Path, read: Splits) -> dict[Split, Examples]:
    """Train and val, to hold trainval to them, where a run that learns it has lists of both."""
    names = [suite.lists.get(part, ()) for part in PARTS["trainval"]]
    there = all(of and all((folder / name).is_file() for name in of) for of in names)
    if "trainval" not in read or not there or is_of_parts(suite):
        return {}
    return {part: data.read_folder(suite, task, part, folder) for part in PARTS["trainval"]}


def _numbered(task: Task, split: Split, examples: Examples) -> list[Image]:
    labels = enumerate(examples.labels.tolist())
    return [
        Image(label, split, str(n), "", f"{task.name}/{split}, image {n}") for n, label in labels
    ]


def _of_card(task: Task, folder: Path) -> list[str]:
    """What was odd when a folder was prepared."""
    of_task = re.compile(rf"W-\w+ {re.escape(task.name)}[/:]")
    return [said for said in stores.card(folder).get("warnings", []) if of_task.match(said)]


def missing(examples: Examples) -> Iterator[str]:
    """A sentence that names the files that a list has and the folder lacks."""
    lost = [i for i, file in enumerate(examples.files) if not file.is_file()]
    if lost:
        more = f"; {len(lost) - 1:,} more of its images are missing" if lost[1:] else ""
        yield f"{examples.origins[lost[0]]}: no image {examples.files[lost[0]]}{more}"
