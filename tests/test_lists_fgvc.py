"""VPT's lists of FGVC: their sizes, and why classes are numbered once for all lists."""

import json
from pathlib import Path

import pytest

from bench import lists as reading
from bench.cards import load_suite
from bench.prepare.choosing import choose
from bench.prepare.formats.base import Entry
from bench.tasks import Task

TABLE_S1 = json.loads((Path(__file__).parent / "golden" / "table_s1.json").read_text())
SUITE = load_suite("fgvc")
LISTED = [task for task in SUITE.task if task.name != "stanfordcars"]  # whose lists at hand differ


def lists(shared: Path, task: Task) -> dict[str, dict[str, int]]:
    """The class of each image, by its path, in each list."""
    folder = shared / "golden" / "fgvc" / task.name
    return {
        split: {path: int(label) for path, label in json.loads((folder / name).read_text()).items()}
        for split, name in (("train", "train.json"), ("val", "val.json"), ("test", "test.json"))
    }


@pytest.mark.parametrize("task", LISTED, ids=lambda task: task.name)
def test_the_lists_are_as_long_as_in_table_s1(task: Task, shared: Path) -> None:
    held = lists(shared, task)
    assert {split: [len(held[split])] for split in held} == {s: task.counts[s] for s in held}  # type: ignore[index]
    assert len(held["test"]) == TABLE_S1[task.name]["test"]
    assert len({label for part in held.values() for label in part.values()}) == task.classes


@pytest.mark.parametrize("task", LISTED, ids=lambda task: task.name)
def test_no_image_is_in_two_lists(task: Task, shared: Path) -> None:
    held = lists(shared, task)
    assert len({path for part in held.values() for path in part}) == sum(map(len, held.values()))


@pytest.mark.parametrize("task", LISTED, ids=lambda task: task.name)
def test_each_list_holds_as_many_classes_as_the_card_says(task: Task, shared: Path) -> None:
    held = {split: set(part.values()) for split, part in lists(shared, task).items()}
    assert {split: len(classes) for split, classes in held.items()} == task.present


def numbers(shared: Path, task: Task, split: str) -> list[int]:
    """What labels reading a folder as found gives a list."""
    folder = shared / "golden" / "fgvc" / task.name

    def content(name: str) -> bytes:
        return (folder / name).read_bytes()

    found = reading.lines(str(folder), f"{split}.json", content)
    return reading.class_numbers(SUITE, task, str(folder), content, found)


def test_numbering_nabirds_val_alone_would_shift_1440_of_its_2393_labels(shared: Path) -> None:
    task = SUITE.find("nabirds")
    val = lists(shared, task)["val"]
    alone = {label: number for number, label in enumerate(sorted(set(val.values())))}
    ours = numbers(shared, task, "val")
    shifted = sum(alone[label] != n for label, n in zip(val.values(), ours, strict=True))
    assert (len(alone), len(val), shifted) == (553, 2393, 1440)


def test_a_class_has_one_number_in_all_lists_of_nabirds(shared: Path) -> None:
    task = SUITE.find("nabirds")
    seen: dict[int, set[int]] = {}
    for split, part in lists(shared, task).items():
        for label, number in zip(part.values(), numbers(shared, task, split), strict=True):
            seen.setdefault(label, set()).add(number)
    assert [seen[label] for label in sorted(seen)] == [{number} for number in range(555)]


def test_preparing_nabirds_gives_the_same_numbers(shared: Path) -> None:
    task = SUITE.find("nabirds")
    folder, held = shared / "golden" / "fgvc" / "nabirds", lists(shared, task)
    files = {f"{split}.json": folder / f"{split}.json" for split in held}
    entries = [
        Entry("test" if split == "test" else "train", path, {"class": label})
        for split, part in held.items()
        for path, label in part.items()
    ]
    chosen = choose(task, entries, files)
    assert {split: chosen.labels(split) for split in held} == {
        split: numbers(shared, task, split) for split in held
    }
