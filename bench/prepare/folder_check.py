"""Folders as found, and embedded tasks, as what the rules judge: images, their labels and bytes."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.config.source import Source, card_folder, load_source
from bench.config.suite import Split, Suite, Task
from bench.data import prepared
from bench.data.locations import DataLocation
from bench.data.prepared import SPLIT_PARTS
from bench.data.splits import Examples, read_folder
from bench.prepare import validation
from bench.utils.errors import UserError
from bench.utils.files import sha256_of_files


@dataclass(frozen=True, slots=True)
class FolderImage:
    """One image of a split, as the rules see it."""

    label: int
    source: str  # what it is numbered in, where it has no file
    key: str
    sha256: str
    origin: str


SplitExamples = Mapping[Split, Examples]


def run_warnings(
    suite: Suite, task: Task, place: DataLocation | None, read: SplitExamples, asked: str | None
) -> list[str]:
    """What is odd about the data that a run learns and scores, for its record.

    `place` is where they lie, if they do, and `asked` the suite as the request names it. Raises
    `UserError` for the first rule whose breach leaves the run's number without a meaning.
    """
    if place is None:
        rows = {split: _builtin_images(task, split, examples) for split, examples in read.items()}
        return validation.require_meaningful(task, rows, rows, repeats=True)
    if place.variant:  # the rules were kept when it was prepared
        return _card_warnings(task, place.folder)
    source = load_source(task.source, card_folder(asked or suite.name)) if task.source else None
    known = {**_trainval_parts(suite, task, place.folder, read), **read}
    rows = folder_images(place.folder, known)
    used = {split: rows[split] for split in read}
    return validation.require_meaningful(task, used, rows, has_repeats(source))


def has_repeats(source: Source | None) -> bool:
    """Whether a source's own test images repeat training images."""
    return source is not None and source.repeats


def folder_images(folder: Path, splits: SplitExamples) -> dict[Split, list[FolderImage]]:
    """The images of splits that lie in a folder, whose files are there.

    A file has one key however it is written or linked to: that by which it is first listed.
    """
    files = [file for examples in splits.values() for file in examples.files]
    try:
        known = dict(zip(files, sha256_of_files(folder, files), strict=True))
        called = file_keys(folder, files)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from None
    return {
        split: [
            FolderImage(label, "", called[file], known[file], origin)
            for label, file, origin in zip(
                examples.labels.tolist(), examples.files, examples.origins, strict=True
            )
        ]
        for split, examples in splits.items()
    }


def file_keys(folder: Path, files: Iterable[Path]) -> dict[Path, str]:
    """What each file is called; the file system says which names are of one file."""
    first: dict[object, str] = {}
    top = f"{folder}{os.sep}"
    found = {}
    for file in dict.fromkeys(files):
        state = os.stat(file)
        one = (state.st_dev, state.st_ino) if state.st_ino else os.path.realpath(file)
        found[file] = first.setdefault(one, str(file).removeprefix(top))
    return found


def is_trainval_of_parts(suite: Suite) -> bool:
    """Whether the lists of trainval are those of its parts, so that they need no comparison."""
    parted = [name for part in SPLIT_PARTS["trainval"] for name in suite.lists.get(part, ())]
    return sorted(suite.lists.get("trainval", ())) == sorted(parted)


def _trainval_parts(
    suite: Suite, task: Task, folder: Path, read: SplitExamples
) -> dict[Split, Examples]:
    """Train and val, to hold trainval to them, where a run that learns it has lists of both."""
    names = [suite.lists.get(part, ()) for part in SPLIT_PARTS["trainval"]]
    there = all(of and all((folder / name).is_file() for name in of) for of in names)
    if "trainval" not in read or not there or is_trainval_of_parts(suite):
        return {}
    return {part: read_folder(suite, task, part, folder) for part in SPLIT_PARTS["trainval"]}


def _builtin_images(task: Task, split: Split, examples: Examples) -> list[FolderImage]:
    labels = enumerate(examples.labels.tolist())
    return [
        FolderImage(label, split, str(n), "", f"{task.name}/{split}, image {n}")
        for n, label in labels
    ]


def _card_warnings(task: Task, folder: Path) -> list[str]:
    """What was odd when a folder was prepared."""
    of_task = re.compile(rf"W-\w+ {re.escape(task.name)}[/:]")
    return [said for said in prepared.read_card(folder).get("warnings", []) if of_task.match(said)]


def missing_files(examples: Examples) -> Iterator[str]:
    """A sentence that names the files that a list has and the folder lacks."""
    lost = [i for i, file in enumerate(examples.files) if not file.is_file()]
    if lost:
        more = f"; {len(lost) - 1:,} more of its images are missing" if lost[1:] else ""
        yield f"{examples.origins[lost[0]]}: no image {examples.files[lost[0]]}{more}"
