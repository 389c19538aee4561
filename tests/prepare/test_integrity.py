"""The rules that a task's splits must keep, broken one at a time."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from bench.config.suite import HashRange, LabelRule, Split, Task
from bench.data.prepared import SplitEntry
from bench.prepare import integrity
from bench.prepare.sampling import digest_of_keys, order_by_hash

Splits = dict[Split, list[SplitEntry]]
Change = Callable[[Splits], object]
SOURCE: Mapping[Split, str] = {"train": "train", "val": "train", "test": "test"}
KEYS = order_by_hash("train", [f"{i}.png" for i in range(12)])
PARTS: Mapping[Split, list[str]] = {
    "train": KEYS[:8],
    "val": KEYS[8:],
    "test": order_by_hash("test", KEYS),
}


def row(split: Split, key: str, label: int, content: str = "") -> SplitEntry:
    return SplitEntry(
        label, SOURCE[split], key, "images-000.tar", 0, 1, content or f"{split}/{key}"
    )


def splits() -> Splits:
    """A sound task: two classes by turns, every image once, in the order of the hashes."""
    return {s: [row(s, key, i % 2) for i, key in enumerate(keys)] for s, keys in PARTS.items()}


def task(**changed: Any) -> Task:
    ranks = {s: HashRange(SOURCE[s], 0, 1, digest_of_keys(keys)) for s, keys in PARTS.items()}
    known: dict[str, Any] = {
        "counts": {split: [len(keys)] for split, keys in PARTS.items()},
        "present": {"train": 2, "val": 2, "test": 2},
    }
    return Task("light", "Natural", 2, label=LabelRule("class"), ranks=ranks, **(known | changed))


def broken(found: Splits, of: Task, repeats: bool = False, copied: bool = False) -> list[str]:
    return list(integrity.broken_rules(of, found, repeats, copied))


def test_a_sound_task_breaks_no_rule_and_gives_no_warning() -> None:
    assert broken(splits(), task()) == []
    assert list(integrity.data_warnings(task(), splits())) == []
    assert broken(splits(), task(counts={}, present={})) == []


def relabelled(split: Split, index: int, label: int) -> Change:
    def change(found: Splits) -> None:
        found[split][index] = replace(found[split][index], label=label)

    return change


def swapped(found: Splits) -> None:
    found["train"][0], found["train"][1] = found["train"][1], found["train"][0]


def another(found: Splits) -> None:
    found["train"][0] = row("train", "99.png", 0)


def shared(first: Split, second: Split) -> Change:
    """An image of one split is in another, too, as another file."""

    def change(found: Splits) -> None:
        found[second][0] = replace(found[first][0], sha256="other")

    return change


def same_bytes(found: Splits) -> None:
    found["test"][0] = replace(found["test"][0], sha256=found["val"][0].sha256)


OTHER = f"expected {digest_of_keys(PARTS['train'])}"
FAULTS: dict[str, tuple[Change, list[str]]] = {
    "an image too few": (
        lambda found: found["test"].pop(),
        ["E-COUNT light/test: 11 images; there must be 12", "E-SELECTION light/test: other images"],
    ),
    "no image": (
        lambda found: found["val"].clear(),
        ["E-COUNT light/val: 0 images; there must be 4", "E-LABEL light/val: 0 classes"],
    ),
    "another order": (swapped, ["E-SELECTION light/train: the right images in another order"]),
    "another image": (
        another,
        ["E-SELECTION light/train: other images than VTAB's: digest .*, " + OTHER],
    ),
    "val in train": (
        shared("train", "val"),
        ["E-OVERLAP light: 1 train keys are in val, too", "E-SELECTION light/val: other images"],
    ),
    "a training image in test": (
        shared("train", "test"),
        ["E-OVERLAP light: 1 train keys are in test, too", "E-SELECTION light/test"],
    ),
    "a validation image in test": (
        shared("val", "test"),
        ["E-OVERLAP light: 1 val keys are in test, too", "E-SELECTION light/test"],
    ),
    "labels from 1": (
        lambda found: [
            relabelled("test", i, r.label + 1)(found) for i, r in enumerate(found["test"])
        ],
        ["E-LABEL light/test: labels from 1 to 2; expected 0 to 1"],
    ),
    "a label below 0": (
        relabelled("train", 0, -1),
        ["E-LABEL light/train: labels from -1 to 1; expected 0 to 1", "E-LABEL .*: 3 classes"],
    ),
    "a class less": (
        lambda found: [relabelled("test", i, 0)(found) for i in range(12)],
        ["E-LABEL light/test: 1 classes; there must be 2"],
    ),
    "bytes of val in test": (
        same_bytes,
        ["E-DUP light: 1 images of test are those of train or val"],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_rule_says_what_breaks_it_and_no_other_does(fault: str) -> None:
    change, says = FAULTS[fault]
    found = splits()
    change(found)
    said = broken(found, task())
    assert len(said) == len(says)
    for sentence, want in zip(said, says, strict=True):
        assert re.match(want, sentence), sentence


def test_any_of_the_counts_of_a_card_will_do() -> None:
    assert broken(splits(), task(counts={"test": [11, 12]})) == []
    (said,) = broken(splits(), task(counts={"test": [6084, 6085]}))
    assert said == "E-COUNT light/test: 12 images; there must be 6,084 or 6,085"


def test_a_digest_that_is_not_known_is_not_asked_for() -> None:
    found = splits()
    swapped(found)
    ranks = {split: HashRange(SOURCE[split], 0, 1) for split in PARTS}
    assert broken(found, replace(task(), ranks=ranks)) == []


def test_a_copys_names_are_not_held_to_the_selection() -> None:
    found = splits()
    swapped(found)
    another(found)
    assert broken(found, task(), copied=True) == []


def test_one_key_in_two_splits_of_the_source_is_two_images() -> None:
    """CIFAR's test image 5 is not its training image 5."""
    keys = {split: {r.key for r in found} for split, found in splits().items()}
    assert keys["train"] & keys["test"]
    assert broken(splits(), task()) == []


def test_a_source_that_repeats_images_is_forgiven_with_a_warning() -> None:
    found = splits()
    same_bytes(found)
    assert broken(found, task(), repeats=True) == []
    (said,) = integrity.data_warnings(task(), found)
    assert said == "W-DUP light: 1 images of test are those of train or val, byte for byte"


@pytest.mark.parametrize(("repeated", "problems"), [(10, 0), (11, 1)])
def test_data_sets_may_repeat_one_image_in_a_hundred(repeated: int, problems: int) -> None:
    found = splits()
    found["test"] = [row("test", str(i), i % 2) for i in range(1000)]
    for i in range(repeated):
        found["test"][i] = replace(found["test"][i], sha256=found["train"][0].sha256)
    loose = replace(task(counts={}), ranks={"train": HashRange("train", 0, 1)})
    assert len(broken(found, loose)) == problems
    assert len(list(integrity.data_warnings(loose, found))) == 1


def test_repeats_within_a_split_are_no_leak() -> None:
    found = splits()
    for split in ("train", "test"):
        found[split][0] = replace(found[split][0], sha256=found[split][1].sha256)
    assert broken(found, task()) == []


def test_absent_classes_are_a_warning_where_the_card_knows_no_number() -> None:
    found = splits()
    wide = replace(task(present={"val": 2}), classes=5)
    assert broken(found, wide) == []
    assert list(integrity.data_warnings(wide, found)) == [
        "W-COVERAGE light/train: 3 of 5 classes are absent",
        "W-COVERAGE light/test: 3 of 5 classes are absent",
    ]
    (said,) = broken(found, replace(wide, present={"trainval": 3}))
    assert said == "E-LABEL light/trainval: 2 classes; there must be 3"
    known = replace(task(present={"train": 2, "test": 2}), classes=5)
    assert list(integrity.data_warnings(known, found)) == []
    (said,) = broken(found, replace(known, present={"train": 3}))
    assert said == "E-LABEL light/train: 2 classes; there must be 3"


def test_splits_that_are_not_there_break_only_their_own_rules() -> None:
    found = splits()
    del found["val"], found["test"]
    assert broken(found, task()) == []
    assert list(integrity.data_warnings(task(), found)) == []
