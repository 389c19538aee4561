"""The shots of built-in tasks: drawn by the list's number, from train alone, always alike."""

import json
from pathlib import Path

import pytest

from bench.config.suite import SPLITS, Split, Task, load_suite
from bench.data import embedded, splits
from bench.data.splits import Examples

SUITE = load_suite("fewshot_mini")
GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "fewshot_mini.json").read_text(encoding="utf-8")
)


def load(task: Task, split: Split) -> Examples:
    return splits.load_split(SUITE, task, split, Path())


@pytest.mark.parametrize("task", SUITE.task, ids=lambda task: task.name)
def test_a_task_s_images_are_golden(task: Task) -> None:
    found = [splits.fingerprint(load(task, split)) for split in ("trainval", "test")]
    assert "-".join(found) == GOLDEN[task.name]


@pytest.mark.parametrize("task", SUITE.task, ids=lambda task: task.name)
def test_a_task_is_trained_on_its_shots_of_each_class(task: Task) -> None:
    assert task.draw is not None
    for split in ("train", "trainval"):
        counts = load(task, split).labels.bincount(minlength=task.classes)
        assert counts.tolist() == [task.draw.shots] * task.classes


def test_no_shot_is_a_validation_or_a_test_image() -> None:
    task = SUITE.find("digits_16shot_0")
    images = {split: {bytes(one.numpy()) for one in load(task, split).pixels} for split in SPLITS}  # type: ignore[union-attr]
    assert images["train"] == images["trainval"]
    whole = embedded.load("digits", "train").images.transpose(0, 3, 1, 2)
    assert images["train"] < {one.tobytes() for one in whole}
    assert not images["train"] & (images["val"] | images["test"])


def test_lists_differ_and_larger_ones_hold_the_smaller_of_the_same_number() -> None:
    def drawn(name: str) -> set[bytes]:
        return {bytes(one.numpy()) for one in load(SUITE.find(name), "train").pixels}  # type: ignore[union-attr]

    assert drawn("digits_4shot_0") != drawn("digits_4shot_1")
    assert drawn("digits_4shot_1") < drawn("digits_16shot_1")
