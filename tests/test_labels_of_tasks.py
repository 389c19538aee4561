"""What VTAB-1k's cards make of annotations: the classes by the tasks' definitions, edge by edge."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cards import load_suite
from bench.errors import UserError
from bench.prepare.choosing import choose
from bench.prepare.formats.base import Entry
from bench.prepare.labels import classes_of

VTAB, FGVC = load_suite("vtab1k"), load_suite("fgvc")
CLASSES: dict[str, dict[float, int]] = {
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


@pytest.mark.parametrize("name", CLASSES)
def test_an_annotation_becomes_the_class_that_the_task_defines(name: str) -> None:
    label = VTAB.find(name).label
    assert label is not None
    entries = [Entry("train", str(i), {label.fact: v}) for i, v in enumerate(CLASSES[name])]
    assert classes_of(label, entries) == list(CLASSES[name].values())
    assert max(CLASSES[name].values()) == VTAB.find(name).classes - 1


def test_ranks_are_in_the_order_of_the_names_over_all_records() -> None:
    label = VTAB.find("eurosat").label
    assert label is not None
    entries = [Entry("train", n, {"class": n}) for n in ("River", "AnnualCrop", "Sea", "River")]
    assert classes_of(label, entries) == [1, 0, 2, 1]


def listed(folder: Path, ids: dict[str, dict[str, int]], classes: dict[str, int]) -> None:
    """Choose by lists of class ids from a source that has its own classes."""
    task = replace(FGVC.find("nabirds"), keys={}, classes=2, counts={}, present={})
    files = {}
    for split in ("train", "val", "test"):
        files[f"{split}.json"] = folder / f"{split}.json"
        files[f"{split}.json"].write_text(json.dumps(ids.get(split, {})))
    choose(task, [Entry("train", key, {"class": c}) for key, c in classes.items()], files)


SOURCE = {"a": 0, "b": 1, "c": 0, "d": 1}


def test_lists_whose_ids_are_the_source_s_classes_are_taken(tmp_path: Path) -> None:
    listed(tmp_path, {"train": {"a": 7, "b": 9}, "test": {"c": 7, "d": 9}}, SOURCE)


def test_an_id_that_is_two_classes_of_the_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="class 7 there is several of the source's"):
        listed(tmp_path, {"train": {"a": 7, "b": 7}}, SOURCE)


def test_two_ids_that_are_one_class_of_the_source_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="several class ids of its lists are one of the source"):
        listed(tmp_path, {"train": {"a": 7, "b": 9}, "test": {"c": 8}}, SOURCE)
