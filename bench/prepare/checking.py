"""Whether prepared data are still what was prepared, and sound."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from bench import data, images, stores
from bench.cards import Suite
from bench.data import Examples
from bench.errors import UserError
from bench.places import Place
from bench.prepare import as_found, rules, variants
from bench.prepare.building import certificates
from bench.sources import Source
from bench.stores import Row
from bench.tasks import APART, SPLITS, Split, Task


def check(
    suite: Suite, task: Task, source: Source | None, place: Place, deep: bool
) -> Iterator[str]:
    """Every rule that a task's data break, and what is odd about them.

    `source` is what the task is made from, if anything. With `deep`, every byte is read, whether
    or not it was read before, and every image decoded.
    """
    try:
        if place.variant:
            yield from _prepared(task, source, place.folder, deep)
        else:
            found = _as_found(suite, task, source, place.folder, deep)
            yield from dict.fromkeys(found)  # lists of two splits may hold the same images
    except UserError as error:
        yield str(error)


def _as_found(
    suite: Suite, task: Task, source: Source | None, folder: Path, deep: bool
) -> Iterator[str]:
    """What is wrong with a folder as found, for which no manifest vouches; every list is read."""
    sound: dict[Split, Examples] = {}
    seen: set[Path] = set()
    for split in (split for split in SPLITS if suite.lists.get(split)):
        try:
            examples = data.listed(suite, task, split, folder)
            data.require_counts(task, split, len(examples), folder)
        except UserError as error:
            yield str(error)
            continue
        lost = list(as_found.missing(examples))
        yield from lost
        new = [i for i, f in enumerate(examples.files) if f not in seen and f.is_file()]
        seen.update(examples.files)
        some = data.chosen(examples, torch.tensor(new, dtype=torch.long))
        damage = list(_damaged_images(some, deep))
        yield from damage
        if deep and not damage:
            yield from _oddities(task, split, some)
        if not lost:
            sound[split] = examples
    if as_found.is_of_parts(suite):
        sound.pop("trainval", None)
    rows = as_found.images(folder, sound)
    yield from rules.findings(task, rows, as_found.repeats(source), copied=True)


def _damaged_images(examples: Examples, deep: bool) -> Iterator[str]:
    """The files that are no images; with `deep`, all that cannot be decoded."""
    if not deep:
        try:
            data.require_images(examples)
        except UserError as error:
            yield str(error)
        return
    for index in range(len(examples)):
        try:
            data.opened(examples, index)
        except UserError as error:
            yield str(error)


def _oddities(task: Task, split: Split, examples: Examples) -> Iterator[str]:
    """What the images of a split say of themselves, and is not heeded."""
    for code, (is_so, says) in images.ODDITIES.items():
        count = sum(is_so(data.content(examples, index)) for index in range(len(examples)))
        if count:
            yield f"{code} {task.name}/{split}: {count:,} of {len(examples):,} images {says}"


def _prepared(task: Task, source: Source | None, folder: Path, deep: bool) -> Iterator[str]:
    card = stores.require_whole(folder)
    certified = card["certificates"].get(task.name, {})  # every split that was prepared
    if not certified:
        raise UserError(f"E-MANIFEST {folder / stores.CARD} certifies no split of {task.name}")
    rows = {split: stores.rows(folder, task.name, split) for split in APART if split in certified}
    yield from _rules(task, source, rows, card, folder)
    if deep:
        yield from _read_through(task, folder, rows, card)
        return
    data.require_unchanged(folder)  # as a run does, and remembers
    for listed in rows.values():
        data.require_images(data.in_store(folder, listed))


def _read_through(
    task: Task, folder: Path, rows: dict[Split, list[Row]], card: dict[str, Any]
) -> Iterator[str]:
    """What shows when every byte is read and every image decoded."""
    damage = [*_damaged(folder), *_undecodable(folder, rows)]
    yield from damage
    if damage:
        return
    for split, listed in rows.items():
        yield from _oddities(task, split, data.in_store(folder, listed))
    if certificates(folder, {task.name: rows})[task.name] != card["certificates"][task.name]:
        yield (
            f"W-PIXELS {task.name}: images decode to other pixels here than where they were "
            f"prepared, with {card.get('versions')}"
        )


def _rules(
    task: Task,
    source: Source | None,
    rows: dict[Split, list[Row]],
    card: dict[str, object],
    folder: Path,
) -> Iterator[str]:
    yield from rules.findings(task, rows, as_found.repeats(source), copied="imported" in card)
    try:
        variants.require(variants.native(source), str(card["variant"]), folder, task, rows)
    except UserError as error:
        yield str(error)


def _damaged(folder: Path) -> Iterator[str]:
    """The files whose bytes are not those of the manifest."""
    for name, wanted in stores.manifest(folder).items():
        path = folder / name
        if not path.is_file():
            yield f"E-MANIFEST {path} is missing"
            continue
        if stores.sha256_of(path) != wanted:
            yield f"E-MANIFEST {path}: its bytes have changed since it was prepared"


def _undecodable(folder: Path, rows: dict[Split, list[Row]]) -> Iterator[str]:
    """The images that are not what their list says, or cannot be decoded."""
    for found in rows.values():
        examples = data.in_store(folder, found)
        for index, row in enumerate(found):
            content = data.content(examples, index)
            if hashlib.sha256(content).hexdigest() != row.sha256:
                yield f"E-MANIFEST {examples.origins[index]}: its bytes are another image's"
                continue
            try:
                images.decoded(content)
            except images.UNREADABLE as error:
                yield f"E-DECODE {examples.origins[index]}: {error}"
