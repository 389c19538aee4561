"""Selections by hash: those of VTAB-1k that need no archive equal the published; class shares."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from bench.config.suite import ClassShare, HashRange, SourceKeys, Task, load_suite
from bench.prepare.sampling import (
    digest_of_keys,
    keys_by_rank,
    keys_by_share,
    order_by_hash,
)
from support.source_keys import numbered_keys

TASKS = load_suite("vtab1k").task
SPLITS = ("train", "val", "test")
NUMBERED = [task for task in TASKS if task.keys and all(k.template for k in task.keys.values())]
EUROSAT = {
    "AnnualCrop": 3000,
    "Forest": 3000,
    "HerbaceousVegetation": 3000,
    "Highway": 2500,
    "Industrial": 2500,
    "Pasture": 2000,
    "PermanentCrop": 2500,
    "Residential": 3000,
    "River": 2500,
    "SeaLake": 3000,
}


def of_numbers(task: Task, split: str) -> list[str]:
    ranks = task.ranks[split]  # type: ignore[index]
    return keys_by_rank(ranks, numbered_keys(task.keys[ranks.source]))


def test_the_tasks_whose_records_are_numbered_need_no_archive() -> None:
    assert {task.name for task in NUMBERED} == {
        *("cifar", "svhn", "patch_camelyon", "clevr_count", "clevr_dist", "dsprites_loc"),
        *("dsprites_ori", "smallnorb_azi", "smallnorb_ele"),
    }


@pytest.mark.sample(2)
@pytest.mark.parametrize("task", NUMBERED, ids=lambda task: task.name)
def test_the_numbered_selections_have_the_digests_of_their_cards(task: Task) -> None:
    for split in SPLITS:
        assert digest_of_keys(of_numbers(task, split)) == task.ranks[split].digest  # type: ignore[index]


def test_eurosat_s_selection_follows_from_its_class_counts() -> None:
    task = load_suite("vtab1k").find("eurosat")
    keys = [f"{c}_{c}_{i + 1}.jpg" for c, count in EUROSAT.items() for i in range(count)]
    assert len(keys) == task.keys["train"].counts[0]
    for split in SPLITS:
        assert digest_of_keys(keys_by_rank(task.ranks[split], keys)) == task.ranks[split].digest  # type: ignore[index]


def test_resisc45_s_selection_follows_from_its_class_counts(shared: Path) -> None:
    task, golden = load_suite("vtab1k").find("resisc45"), selections(shared)["resisc45"]
    classes = {key.rsplit("_", 1)[0] for key in [*golden["train800"], *golden["val200"]]}
    halves = {name[: len(name) // 2] for name in classes}  # palace_palace -> palace
    assert len(halves) == 45
    keys = [f"{name}_{name}_{i:03d}.jpg" for name in halves for i in range(1, 701)]
    for split in SPLITS:
        assert digest_of_keys(keys_by_rank(task.ranks[split], keys)) == task.ranks[split].digest  # type: ignore[index]


def selections(shared: Path) -> dict[str, dict[str, list[str]]]:
    found = json.loads(
        (shared / "golden" / "vtab1k_selection_keys.json").read_text(encoding="utf-8")
    )
    return {
        task: {split: list(map(str, found[task][split])) for split in ("train800", "val200")}
        for task in found
    }


@pytest.mark.sample(2)
@pytest.mark.parametrize("task", NUMBERED, ids=lambda task: task.name)
def test_the_numbered_selections_are_the_published_ones_key_by_key(
    task: Task, shared: Path
) -> None:
    golden = selections(shared)[task.name]
    assert of_numbers(task, "train") == golden["train800"]
    assert of_numbers(task, "val") == golden["val200"]


def test_every_digest_known_is_that_of_the_published_keys_in_hash_order(shared: Path) -> None:
    for name, golden in selections(shared).items():
        task = load_suite("vtab1k").find(name)
        for split, keys in (("train", golden["train800"]), ("val", golden["val200"])):
            ranks = task.ranks[split]  # type: ignore[index]
            assert digest_of_keys(order_by_hash(ranks.source, keys)) == ranks.digest, (name, split)


@pytest.mark.parametrize("task", [t for t in TASKS if t.ranks], ids=lambda task: task.name)
def test_the_ranks_are_as_many_as_the_split_has_images_and_lie_in_the_source(task: Task) -> None:
    for split in SPLITS:
        ranks = task.ranks[split]  # type: ignore[index]
        assert ranks.last - ranks.first in task.counts[split]  # type: ignore[index]
        assert ranks.last <= max(task.keys[ranks.source].counts)
    assert not set(of_ranks(task, "train")) & set(of_ranks(task, "val"))
    assert not set(of_ranks(task, "val")) & set(of_ranks(task, "test"))


def of_ranks(task: Task, split: str) -> list[tuple[str, int]]:
    ranks = task.ranks[split]  # type: ignore[index]
    start = task.keys[ranks.source].counts[0] * ranks.after_percent // 100
    return [(ranks.source, start + rank) for rank in range(ranks.first, ranks.last)]


def test_the_order_of_the_source_changes_nothing_and_the_salt_does() -> None:
    keys = numbered_keys(SourceKeys("image_{index:05d}.jpg", [50]))
    assert order_by_hash("train", keys[::-1]) == order_by_hash("train", keys)
    assert order_by_hash("test", keys) != order_by_hash("train", keys)
    assert keys_by_rank(HashRange("train", 3, 5), keys) == order_by_hash("train", keys)[3:5]


CLASSES = {f"n{c:02}": [f"{c}_{i}.jpg" for i in range(20 + 31 * c)] for c in range(7)}


def of_share(first: float, last: float, salt: str = "one") -> list[str]:
    return keys_by_share(ClassShare("train", first, last, salt), CLASSES)


def test_a_smaller_share_lies_inside_a_larger_one_and_begins_it() -> None:
    sizes = (1, 2, 5, 10, 30, 50, 100)
    for small, large in pairwise(of_share(0, size) for size in sizes):
        assert large[: len(small)] == small
        assert len(large) > len(small)


def test_two_shares_that_meet_are_disjoint_and_make_the_larger_one() -> None:
    train, val = of_share(0, 9), of_share(9, 10)
    assert not set(train) & set(val)
    assert train + val == of_share(0, 10)
    assert sorted(of_share(0, 100)) == sorted(key for keys in CLASSES.values() for key in keys)


def test_a_record_where_two_shares_meet_is_in_the_second_alone() -> None:
    five = {"n": [f"{i}.jpg" for i in range(5)]}  # at 10, 30, 50, 70 and 90 percent
    first, second = (
        keys_by_share(ClassShare("train", *ends, "one"), five) for ends in ((0, 50), (50, 100))
    )
    assert (len(first), len(second)) == (2, 3)


def test_every_class_has_its_part_of_a_share_to_within_one_record() -> None:
    for last in (1, 4.5, 10, 33, 90):
        chosen = set(of_share(0, last))
        for keys in CLASSES.values():
            assert abs(len(chosen & set(keys)) - len(keys) * last / 100) < 1


def test_a_share_depends_on_its_salt_and_not_on_the_order_of_the_source() -> None:
    reversed_classes = {name: keys[::-1] for name, keys in reversed(CLASSES.items())}
    assert keys_by_share(ClassShare("train", 0, 10, "one"), reversed_classes) == of_share(0, 10)
    assert set(of_share(0, 10, "two")) != set(of_share(0, 10))


def test_the_first_of_a_class_in_a_share_is_the_first_by_hash() -> None:
    assert [key for key in of_share(0, 100) if key in CLASSES["n03"]] == order_by_hash(
        "one", CLASSES["n03"]
    )
