"""Whether prepared data are still what was prepared, and sound."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from bench.config.source import Source
from bench.config.suite import DISJOINT_SPLITS, SPLITS, Split, Suite, Task
from bench.data import images, prepared, splits
from bench.data.locations import DataLocation
from bench.data.prepared import SplitEntry
from bench.data.splits import Examples
from bench.prepare import folder_check, jpeg_quality, validation
from bench.prepare.build import split_digests
from bench.utils import files
from bench.utils.errors import UserError


def check_task(
    suite: Suite, task: Task, source: Source | None, place: DataLocation, deep: bool
) -> Iterator[str]:
    """Every rule that a task's data break, and what is odd about them.

    `source` is what the task is made from, if anything. With `deep`, every byte is read, whether
    or not it was read before, and every image decoded.
    """
    try:
        if place.variant:
            yield from _check_prepared(task, source, place.folder, deep)
        else:
            found = _check_folder(suite, task, source, place.folder, deep)
            yield from dict.fromkeys(found)  # lists of two splits may hold the same images
    except UserError as error:
        yield str(error)


def _check_folder(
    suite: Suite, task: Task, source: Source | None, folder: Path, deep: bool
) -> Iterator[str]:
    """What is wrong with a folder as found, for which no manifest vouches; every list is read."""
    sound: dict[Split, Examples] = {}
    seen: set[Path] = set()
    for split in (split for split in SPLITS if suite.lists.get(split)):
        try:
            examples = splits.from_list_files(suite, task, split, folder)
            splits.require_counts(task, split, len(examples), folder)
        except UserError as error:
            yield str(error)
            continue
        lost = list(folder_check.missing_files(examples))
        yield from lost
        new = [i for i, f in enumerate(examples.files) if f not in seen and f.is_file()]
        seen.update(examples.files)
        some = splits.subset(examples, torch.tensor(new, dtype=torch.long))
        damage = list(_damaged_images(some, deep))
        yield from damage
        if deep and not damage:
            yield from _image_warnings(task, split, some)
        if not lost:
            sound[split] = examples
    if folder_check.is_trainval_of_parts(suite):
        sound.pop("trainval", None)
    rows = folder_check.folder_images(folder, sound)
    yield from validation.findings(task, rows, folder_check.has_repeats(source), copied=True)


def _damaged_images(examples: Examples, deep: bool) -> Iterator[str]:
    """The files that are no images; with `deep`, all that cannot be decoded."""
    if not deep:
        try:
            splits.require_images(examples)
        except UserError as error:
            yield str(error)
        return
    for index in range(len(examples)):
        try:
            splits.decode(examples, index)
        except UserError as error:
            yield str(error)


def _image_warnings(task: Task, split: Split, examples: Examples) -> Iterator[str]:
    """What the images of a split say of themselves, and is not heeded."""
    for code, (is_so, says) in images.IMAGE_WARNINGS.items():
        count = sum(is_so(splits.read_bytes(examples, index)) for index in range(len(examples)))
        if count:
            yield f"{code} {task.name}/{split}: {count:,} of {len(examples):,} images {says}"


def _check_prepared(task: Task, source: Source | None, folder: Path, deep: bool) -> Iterator[str]:
    card = prepared.require_complete(folder)
    certified = card["certificates"].get(task.name, {})  # every split that was prepared
    if not certified:
        raise UserError(
            f"E-MANIFEST {folder / prepared.CARD_FILE} certifies no split of {task.name}"
        )
    rows = {
        split: prepared.read_entries(folder, task.name, split)
        for split in DISJOINT_SPLITS
        if split in certified
    }
    yield from _check_rules(task, source, rows, card, folder)
    if deep:
        yield from _check_all_bytes(task, folder, rows, card)
        return
    splits.require_unchanged(folder)  # as a run does, and remembers
    for listed in rows.values():
        splits.require_images(splits.from_prepared(folder, listed))


def _check_all_bytes(
    task: Task, folder: Path, rows: dict[Split, list[SplitEntry]], card: dict[str, Any]
) -> Iterator[str]:
    """What shows when every byte is read and every image decoded."""
    damage = [*_damaged_files(folder), *_undecodable_images(folder, rows)]
    yield from damage
    if damage:
        return
    for split, listed in rows.items():
        yield from _image_warnings(task, split, splits.from_prepared(folder, listed))
    if split_digests(folder, {task.name: rows})[task.name] != card["certificates"][task.name]:
        yield (
            f"W-PIXELS {task.name}: images decode to other pixels here than where they were "
            f"prepared, with {card.get('versions')}"
        )


def _check_rules(
    task: Task,
    source: Source | None,
    rows: dict[Split, list[SplitEntry]],
    card: dict[str, object],
    folder: Path,
) -> Iterator[str]:
    yield from validation.findings(
        task, rows, folder_check.has_repeats(source), copied="imported" in card
    )
    try:
        jpeg_quality.require_variant(
            jpeg_quality.native_encoding(source), str(card["variant"]), folder, task, rows
        )
    except UserError as error:
        yield str(error)


def _damaged_files(folder: Path) -> Iterator[str]:
    """The files whose bytes are not those of the manifest."""
    for name, wanted in prepared.read_manifest(folder).items():
        path = folder / name
        if not path.is_file():
            yield f"E-MANIFEST {path} is missing"
            continue
        if files.sha256_of_file(path) != wanted:
            yield f"E-MANIFEST {path}: its bytes have changed since it was prepared"


def _undecodable_images(folder: Path, rows: dict[Split, list[SplitEntry]]) -> Iterator[str]:
    """The images that are not what their list says, or cannot be decoded."""
    for found in rows.values():
        examples = splits.from_prepared(folder, found)
        for index, row in enumerate(found):
            content = splits.read_bytes(examples, index)
            if hashlib.sha256(content).hexdigest() != row.sha256:
                yield f"E-MANIFEST {examples.origins[index]}: its bytes are another image's"
                continue
            try:
                images.decode(content)
            except images.DECODE_ERRORS as error:
                yield f"E-DECODE {examples.origins[index]}: {error}"
