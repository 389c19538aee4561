"""Checks of a task's data: against the rules and, if prepared, against its manifest."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from bench.config.suite import DISJOINT_SPLITS, SPLITS, Source, Split, Suite, Task
from bench.data import images, prepared, splits
from bench.data.locations import DataLocation
from bench.data.prepared import SplitEntry
from bench.data.splits import Examples
from bench.prepare import folder_check, integrity, jpeg_quality
from bench.prepare.build import split_digests
from bench.utils import files
from bench.utils.errors import UserError


def check_task(
    suite: Suite, task: Task, source: Source | None, place: DataLocation, deep: bool
) -> Iterator[str]:
    """Yield a sentence for every broken rule, and warnings.

    `source` is the one that the task is made from, if any. With `deep`, every byte is read, even if
    an earlier check has read it, and every image decoded.
    """
    try:
        if place.variant:
            yield from _check_prepared(task, source, place.folder, deep)
        else:
            problems = _check_folder(suite, task, source, place.folder, deep)
            yield from dict.fromkeys(problems)  # two splits may list the same images
    except UserError as error:
        yield str(error)


def _check_folder(
    suite: Suite, task: Task, source: Source | None, folder: Path, deep: bool
) -> Iterator[str]:
    """Check a folder as found, which has no manifest: every list, then the images."""
    complete: dict[Split, Examples] = {}
    seen: set[Path] = set()
    for split in (split for split in SPLITS if suite.lists.get(split)):
        try:
            examples = splits.from_list_files(suite, task, split, folder)
            splits.require_counts(task, split, len(examples), folder)
        except UserError as error:
            yield str(error)
            continue
        missing = list(folder_check.missing_files(examples))
        yield from missing
        new = [i for i, f in enumerate(examples.files) if f not in seen and os.path.isfile(f)]
        seen.update(examples.files)
        unseen = splits.subset(examples, torch.tensor(new, dtype=torch.long))
        damage = list(_damaged_images(unseen, deep))
        yield from damage
        if deep and not damage:
            yield from _image_warnings(task, split, unseen)
        if not missing:
            complete[split] = examples
    if folder_check.is_trainval_of_parts(suite):
        complete.pop("trainval", None)
    rows = folder_check.folder_images(folder, complete)
    yield from integrity.findings(task, rows, folder_check.has_repeats(source), copied=True)


def _damaged_images(examples: Examples, deep: bool) -> Iterator[str]:
    """Yield a sentence for files that are no images; with `deep`, for each undecodable one."""
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
    """Yield warnings about properties of image files that decoding ignores."""
    for code, (applies, says) in images.IMAGE_WARNINGS.items():
        count = sum(applies(splits.read_bytes(examples, index)) for index in range(len(examples)))
        if count:
            yield f"{code} {task.name}/{split}: {count:,} of {len(examples):,} images {says}"


def _check_prepared(task: Task, source: Source | None, folder: Path, deep: bool) -> Iterator[str]:
    card = prepared.require_complete(folder)
    certified = card["certificates"].get(task.name, {})  # of every split prepared
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
    splits.require_unchanged(folder)  # as a run does; it is remembered
    for listed in rows.values():
        splits.require_images(splits.from_prepared(folder, listed))


def _check_all_bytes(
    task: Task, folder: Path, rows: dict[Split, list[SplitEntry]], card: dict[str, Any]
) -> Iterator[str]:
    """Read every byte and decode every image; compare both with the manifest and the card."""
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
    yield from integrity.findings(
        task, rows, folder_check.has_repeats(source), copied="imported" in card
    )
    try:
        jpeg_quality.require_variant(
            jpeg_quality.native_encoding(source), str(card["variant"]), folder, task, rows
        )
    except UserError as error:
        yield str(error)


def _damaged_files(folder: Path) -> Iterator[str]:
    """Yield a sentence for each file that differs from the manifest."""
    for name, sha256 in prepared.read_manifest(folder).items():
        path = folder / name
        if not path.is_file():
            yield f"E-MANIFEST {path} is missing"
            continue
        if files.sha256_of_file(path) != sha256:
            yield f"E-MANIFEST {path}: its bytes have changed since it was prepared"


def _undecodable_images(folder: Path, rows: dict[Split, list[SplitEntry]]) -> Iterator[str]:
    """Yield a sentence for each image that differs from its list or cannot be decoded."""
    for listed in rows.values():
        examples = splits.from_prepared(folder, listed)
        for index, row in enumerate(listed):
            content = splits.read_bytes(examples, index)
            if hashlib.sha256(content).hexdigest() != row.sha256:
                yield f"E-MANIFEST {examples.origins[index]}: its bytes are another image's"
                continue
            try:
                images.decode(content)
            except images.DECODE_ERRORS as error:
                yield f"E-DECODE {examples.origins[index]}: {error}"
