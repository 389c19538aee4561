"""Source cards: checksums, URLs, and tasks that use what the readers list."""

import hashlib
import math
import re
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from bench.config.suite import (
    SOURCES_DIR,
    SPLITS,
    Source,
    SourceFile,
    Task,
    load_source,
    load_suite,
)
from bench.prepare.readers import READERS
from bench.prepare.sampling import order_by_hash
from support.source_keys import numbered_keys

CARDS = [load_source(path.stem) for path in sorted(SOURCES_DIR.glob("*.toml"))]
FILES = [(source, file) for source in CARDS for file in source.file]
LATENTS = (3, 6, 40, 32, 32)  # shapes, scales, orientations, x, y; the last runs fastest
ORIENTATIONS = (5491, 3700, 5495, 3702, 5528, 3616, 5548, 3647, 5593, 3726, 5605, 3705, 5501, 3782,
                5496, 3593)  # fmt: skip


@pytest.mark.parametrize("source", CARDS, ids=lambda source: source.name)
def test_a_source_is_called_what_its_file_is_and_its_reader_exists(source: Source) -> None:
    assert (SOURCES_DIR / f"{source.name}.toml").is_file()
    READERS[source.format]({}, **source.options)


@pytest.mark.parametrize(("source", "file"), FILES, ids=lambda card: card.name)
def test_a_file_s_checksums_and_addresses_are_whole(source: Source, file: SourceFile) -> None:
    assert re.fullmatch(r"([0-9a-f]{64})?", file.sha256)
    assert re.fullmatch(r"([0-9a-f]{32})?", file.md5)
    assert all(re.match(r"https?://[\w.-]+/", url) for url in file.urls)
    assert not file.urls or file.sha256 or file.md5, "what is fetched is checked"
    assert not file.how or f"archives/{source.name}/" in file.how
    assert file.how == " ".join(file.how.split())
    assert "- " not in file.how, "an address is broken in two"


@cache
def sprites() -> list[int]:
    """The numbers of all sprites, in hash order."""
    keys = load_suite("vtab1k").find("dsprites_ori").keys["train"]
    return list(map(int, order_by_hash("train", numbered_keys(keys))))


def labels(task: Task, split: str) -> list[int]:
    """A dSprites task's labels, which follow from the records' numbers alone."""
    ranks, label = task.ranks[split], task.label  # type: ignore[index]
    assert label is not None
    place = ("shape", "scale", "orientation", "x", "y").index(label.fact)
    facts = np.unravel_index(sprites()[ranks.first : ranks.last], LATENTS)[place]
    return [math.floor(fact / label.divide) for fact in facts.tolist()]


@pytest.mark.long
def test_the_orientations_of_dsprites_test_images_are_as_many_as_published() -> None:
    counts = Counter(labels(load_suite("vtab1k").find("dsprites_ori"), "test"))
    assert tuple(counts[label] for label in range(16)) == ORIENTATIONS


@pytest.mark.long
def test_the_places_of_dsprites_test_images_are_nearly_even() -> None:
    counts = Counter(labels(load_suite("vtab1k").find("dsprites_loc"), "test"))
    assert sorted(counts) == list(range(16))
    assert (min(counts.values()), max(counts.values())) == (4521, 4683)


@pytest.mark.parametrize("name", ["dsprites_loc", "dsprites_ori"])
def test_each_split_of_dsprites_holds_as_many_classes_as_its_card_says(name: str) -> None:
    task = load_suite("vtab1k").find(name)
    held = {split: set(labels(task, split)) for split in ("train", "val", "test")}
    held["trainval"] = held["train"] | held["val"]
    assert {split: len(held[split]) for split in SPLITS} == task.present


FGVC = load_suite("fgvc").task


@pytest.mark.parametrize("task", FGVC, ids=lambda task: task.name)
def test_the_records_of_an_fgvc_source_are_all_in_the_task(task: Task) -> None:
    assert sum(keys.counts[0] for keys in task.keys.values()) == sum(
        task.counts[split][0] for split in ("trainval", "test")
    )
    assert task.keys["test"].counts == task.counts["test"]


@pytest.mark.parametrize(
    "task",
    [t for t in FGVC if not t.ranks],
    ids=lambda t: t.name,  # flowers' split is official
)
def test_the_lists_of_an_fgvc_task_are_files_of_its_source(task: Task) -> None:
    assert set(task.members) == {"train", "val", "test"}
    assert set(task.members.values()) <= {file.name for file in load_source(task.source).file}


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["cub", "nabirds", "stanforddogs"])
def test_the_lists_on_the_card_are_those_at_hand(name: str, shared: Path) -> None:
    for file in load_source(name).file:
        path = shared / "golden" / "fgvc" / name / file.name
        if file.name.endswith(".json"):
            assert (path.stat().st_size, md5(path)) == (file.bytes, file.md5)
