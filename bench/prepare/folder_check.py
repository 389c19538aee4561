"""Checks of data before a run, and of folders as found: their images, in the form of `validation`.

Every run imports this module, so it does without the readers of sources and their libraries.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from bench.config.suite import Source, Split, Suite, Task, card_folder, load_source
from bench.data import prepared
from bench.data.locations import DataLocation
from bench.data.prepared import SPLIT_PARTS
from bench.data.splits import Examples, hash_images, read_folder
from bench.prepare import integrity
from bench.prepare.integrity import SplitImages
from bench.records.schema import SYNTHETIC
from bench.utils.errors import UserError

TOLERATED_CODES = ("E-TWICE",)  # broken rules that a run records as warnings


@dataclass(frozen=True, slots=True)
class FolderImage:
    """One image of a split, a `SplitImage` that comes from no archive."""

    label: int
    source: str  # the split that numbers it, if it has no file
    key: str
    sha256: str
    origin: str


SplitExamples = Mapping[Split, Examples]


def run_warnings(
    suite: Suite, task: Task, place: DataLocation | None, read: SplitExamples, given: str | None
) -> list[str]:
    """Return warnings about the data of a run, for its record.

    `place` is None for a built-in task; `given` is the suite as the request names it. Raises
    `UserError` for the first broken rule that leaves the run's accuracy without a meaning.
    """
    if place is None:
        rows = {split: _builtin_images(task, split, examples) for split, examples in read.items()}
        return _require_meaningful(task, rows, rows, repeats=True)
    if place.variant == SYNTHETIC:
        return []
    if place.variant:  # it was checked when it was prepared
        return _card_warnings(task, place.folder)
    source = load_source(task.source, card_folder(given or suite.name)) if task.source else None
    known = {**_trainval_parts(suite, task, place.folder, read), **read}
    rows = folder_images(place.folder, known)
    used = {split: rows[split] for split in read}
    return _require_meaningful(task, used, rows, has_repeats(source))


def _require_meaningful(
    task: Task, used: SplitImages, known: SplitImages, repeats: bool
) -> list[str]:
    """Return warnings about the splits that a run uses.

    `known` includes unused splits, so that trainval can be compared with its parts. Raises
    `UserError` for the first broken rule that leaves the run's accuracy without a meaning.
    """
    broken = chain(
        integrity.broken_rules(task, used, repeats, copied=True),
        integrity.trainval_problems(task, known),
    )
    warnings = []
    for sentence in broken:
        if not sentence.startswith(TOLERATED_CODES):
            raise UserError(sentence)
        warnings.append(f"W{sentence[1:]}")
    return warnings + list(integrity.data_warnings(task, used))


def has_repeats(source: Source | None) -> bool:
    """Return whether a source's own test images include duplicates of training images."""
    return source is not None and source.repeats


def folder_images(folder: Path, splits: SplitExamples) -> dict[Split, list[FolderImage]]:
    """Return the images of splits in a folder; all files must exist.

    A file has one key, however its path is written or linked: the one by which it is first listed.
    """
    files = [file for examples in splits.values() for file in examples.files]
    hashes = dict(zip(files, hash_images(folder, files), strict=True))
    try:
        keys = file_keys(folder, files)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from None
    return {
        split: [
            FolderImage(label, "", keys[file], hashes[file], origin)
            for label, file, origin in zip(
                examples.labels.tolist(), examples.files, examples.origins, strict=True
            )
        ]
        for split, examples in splits.items()
    }


def file_keys(folder: Path, files: Iterable[Path]) -> dict[Path, str]:
    """Return the key of each file; paths to the same file, by its inode, share a key."""
    first: dict[object, str] = {}
    top = f"{folder}{os.sep}"
    keys = {}
    for file in dict.fromkeys(files):
        state = os.stat(file)
        identity = (state.st_dev, state.st_ino) if state.st_ino else os.path.realpath(file)
        keys[file] = first.setdefault(identity, str(file).removeprefix(top))
    return keys


def is_trainval_of_parts(suite: Suite) -> bool:
    """Return whether trainval has the list files of its parts, and so needs no comparison."""
    parted = [name for part in SPLIT_PARTS["trainval"] for name in suite.lists.get(part, ())]
    return sorted(suite.lists.get("trainval", ())) == sorted(parted)


def _trainval_parts(
    suite: Suite, task: Task, folder: Path, read: SplitExamples
) -> dict[Split, Examples]:
    """Read train and val, to compare trainval with them, if a run on trainval has both lists."""
    names = [suite.lists.get(part, ()) for part in SPLIT_PARTS["trainval"]]
    there = all(part and all((folder / name).is_file() for name in part) for part in names)
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
    """Return the warnings about a task that were recorded when it was prepared."""
    of_task = re.compile(rf"W-\w+ {re.escape(task.name)}[/:]")
    return [line for line in prepared.read_card(folder).get("warnings", []) if of_task.match(line)]


def missing_files(examples: Examples) -> Iterator[str]:
    """Yield a sentence about listed files that do not exist, if there are any."""
    lost = [i for i, file in enumerate(examples.files) if not os.path.isfile(file)]
    if lost:
        more = f"; {len(lost) - 1:,} more of its images are missing" if lost[1:] else ""
        yield f"{examples.origins[lost[0]]}: no image {examples.files[lost[0]]}{more}"
