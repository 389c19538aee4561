"""Classes of VTAB-1k from annotations, edge by edge; sizes and class numbers of FGVC's lists."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.config.suite import Task, load_suite
from bench.data import locations
from bench.prepare.readers.base import SourceRecord
from bench.prepare.splits import classes_of, select_all
from bench.utils.errors import UserError
from support import paths

VTAB, FGVC = load_suite("vtab1k"), load_suite("fgvc")
CLASS_OF_VALUE: dict[str, dict[float, int]] = {
    "svhn": {1: 1, 9: 9, 10: 0},
    "oxford_flowers102": {1: 0, 102: 101},
    "oxford_iiit_pet": {1: 0, 37: 36},
    "clevr_count": {3: 0, 4: 1, 10: 7},
    "clevr_dist": {0.1: 0, 8.0: 0, 8.01: 1, 8.5: 1, 9.0: 2, 9.5: 3, 9.6: 4, 10.0: 4, 10.01: 5},
    "kitti": {-50: 0, 8.0: 0, 8.1: 1, 20.0: 1, 20.1: 2, 999.0: 2, 1000.0: 3},
    "dsprites_loc": {0: 0, 1: 0, 2: 1, 30: 15, 31: 15},
    "dsprites_ori": {0: 0, 2: 0, 3: 1, 4: 1, 5: 2, 37: 14, 38: 15, 39: 15},
    "smallnorb_azi": {0: 0, 2: 1, 34: 17},
    "smallnorb_ele": {0: 0, 8: 8},
}


@pytest.mark.parametrize("name", CLASS_OF_VALUE)
def test_an_annotation_becomes_the_class_that_the_task_defines(name: str) -> None:
    label = VTAB.find(name).label
    assert label is not None
    entries = [
        SourceRecord("train", str(i), {label.fact: v}) for i, v in enumerate(CLASS_OF_VALUE[name])
    ]
    assert classes_of(label, entries) == list(CLASS_OF_VALUE[name].values())
    assert max(CLASS_OF_VALUE[name].values()) == VTAB.find(name).classes - 1


def test_ranks_are_in_the_order_of_the_names_over_all_records() -> None:
    label = VTAB.find("eurosat").label
    assert label is not None
    entries = [
        SourceRecord("train", n, {"class": n}) for n in ("River", "AnnualCrop", "Sea", "River")
    ]
    assert classes_of(label, entries) == [1, 0, 2, 1]


def listed(folder: Path, ids: dict[str, dict[str, int]], classes: dict[str, int]) -> None:
    """Select by lists of class ids from a source that has classes of its own."""
    task = replace(FGVC.find("nabirds"), keys={}, classes=2, counts={}, present={})
    files = {}
    for split in ("train", "val", "test"):
        files[f"{split}.json"] = folder / f"{split}.json"
        files[f"{split}.json"].write_text(json.dumps(ids.get(split, {})), encoding="utf-8")
    entries = [SourceRecord("train", key, {"class": c}) for key, c in classes.items()]
    select_all([task], entries, files)


SOURCE = {"a": 0, "b": 1, "c": 0, "d": 1}


def test_lists_whose_ids_are_the_source_s_classes_are_taken(tmp_path: Path) -> None:
    listed(tmp_path, {"train": {"a": 7, "b": 9}, "test": {"c": 7, "d": 9}}, SOURCE)


def test_an_id_that_is_two_classes_of_the_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="class 7 maps to several classes of the source"):
        listed(tmp_path, {"train": {"a": 7, "b": 7}}, SOURCE)


def test_two_ids_that_are_one_class_of_the_source_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="several class ids of its lists map to one class of the source"
    ):
        listed(tmp_path, {"train": {"a": 7, "b": 9}, "test": {"c": 8}}, SOURCE)


TABLE_S1 = json.loads((paths.GOLDEN / "table_s1.json").read_text(encoding="utf-8"))
SUITE = load_suite("fgvc")
LISTED = [task for task in SUITE.task if task.name != "stanfordcars"]  # whose lists at hand differ


def lists(shared: Path, task: Task) -> dict[str, dict[str, int]]:
    """The class of each image, by its path, in each list."""
    folder = shared / "golden" / "fgvc" / task.name
    return {
        split: {
            path: int(label)
            for path, label in json.loads((folder / name).read_text(encoding="utf-8")).items()
        }
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
    """The classes of a list when its folder is read as found."""
    folder = shared / "golden" / "fgvc" / task.name

    def content(name: str) -> bytes:
        return (folder / name).read_bytes()

    found = locations.read_list(str(folder), f"{split}.json", content)
    return locations.class_numbers(SUITE, task, str(folder), content, found)


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
        SourceRecord("test" if split == "test" else "train", path, {"class": label})
        for split, part in held.items()
        for path, label in part.items()
    ]
    [chosen] = select_all([task], entries, files)
    for split, keys in chosen.splits.items():
        assert [chosen.classes[key] for key in keys] == numbers(shared, task, split)
    assert chosen.splits.keys() == held.keys()
