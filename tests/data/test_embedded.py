"""The drawn tasks of `vtab_mini`: splits, labels, and pixels that never change unnoticed."""

import hashlib
import json
from collections import Counter
from inspect import unwrap
from itertools import product

import numpy as np
import pytest

from bench.config.suite import Split, Task, load_suite
from bench.data import difficulty, embedded
from bench.data.builtin_tasks import LabelledImages
from bench.data.drawn import natural, structured
from support import paths

CARDS = load_suite("vtab_mini").task
GOLDEN = json.loads((paths.GOLDEN / "vtab_mini.json").read_text(encoding="utf-8"))
every_task = pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)


def digest(splits: dict[Split, LabelledImages]) -> str:
    """Of the pixels and labels of trainval, then of test."""
    sha256 = hashlib.sha256()
    for split in (splits["trainval"], splits["test"]):
        sha256.update(split.images.tobytes())
        sha256.update(split.labels.astype("<i8").tobytes())
    return sha256.hexdigest()


def test_the_suite_has_vtabs_groups() -> None:
    groups = Counter(card.group for card in CARDS)
    assert groups == {"Natural": 7, "Specialized": 4, "Structured": 8}


def test_every_drawn_task_has_a_card_and_a_digest() -> None:
    assert {card.embedded for card in CARDS} == set(embedded.VTAB_MINI) == set(GOLDEN)


def test_no_two_drawn_tasks_share_a_seed() -> None:
    seeds = [seed for seed, _, _ in embedded.DRAWN.values()]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.sample(6)
@every_task
def test_splits_are_the_cards(card: Task) -> None:
    for name, split in embedded.TASKS[card.embedded]().items():
        assert [len(split.labels)] == card.counts[name]
        assert split.images.shape == (len(split.labels), 32, 32, 3)
        assert split.images.dtype == np.uint8
        assert set(split.labels.tolist()) == set(range(card.classes))


@pytest.mark.sample(6)
@every_task
def test_train_and_test_share_no_picture_and_no_picture_stands_twice(card: Task) -> None:
    splits = embedded.TASKS[card.embedded]()
    images = np.concatenate([splits["trainval"].images, splits["test"].images])
    assert len({image.tobytes() for image in images}) == len(images)


@pytest.mark.sample(6)
@pytest.mark.parametrize("name", [*embedded.DRAWN, "photo_regions"])
def test_labels_are_balanced_to_within_one_picture(name: str) -> None:
    for split in ("train", "val", "test"):
        assert np.ptp(np.bincount(embedded.TASKS[name]()[split].labels)) <= 1


@every_task
def test_pixels_and_labels_are_golden(card: Task) -> None:
    assert digest(embedded.TASKS[card.embedded]()) == GOLDEN[card.embedded]


@pytest.mark.parametrize("name", ["orientation", "photo_regions"])
def test_a_second_making_is_equal_whatever_the_global_seed(name: str) -> None:
    np.random.seed(7)
    assert digest(unwrap(embedded.TASKS[name])()) == digest(embedded.TASKS[name]())


@pytest.mark.parametrize(("shape", "quarter"), [*product([(427, 640), (606, 512)], range(4))])
def test_no_crop_of_a_split_overlaps_one_of_another(shape: tuple[int, int], quarter: int) -> None:
    rng, covered = np.random.default_rng(0), np.zeros((3, *shape), int)
    for index, split in enumerate(natural.TILES):
        for _ in range(300):
            top, left, side = natural.region_place(rng, shape, quarter, split)
            assert max(top + side - shape[0], left + side - shape[1]) <= 0
            covered[index, top : top + side, left : left + side] = 1
    assert covered.any(axis=(1, 2)).all()
    assert covered.sum(axis=0).max() == 1


def test_a_jpeg_copy_keeps_labels_and_changes_pixels_a_little() -> None:
    original, copy = (embedded.load("digits", "test", variant) for variant in (None, "jpeg75"))
    assert (original.labels == copy.labels).all()
    apart = abs(original.images.astype(int) - copy.images)
    assert 0 < apart.mean() < 8
    assert apart.reshape(len(apart), -1).any(axis=1).mean() > 0.99
    assert (embedded.load("digits", "test", "lossless").images == original.images).all()


def test_a_passage_narrows_with_every_cell_in_which_a_thing_can_lie() -> None:
    halves = [structured.half_passage(cells) for cells in range(1, 7)]
    assert halves == sorted(set(halves), reverse=True)


def test_a_box_from_above_shows_its_top_and_from_its_side_that_side() -> None:
    shown = structured._faces((-9, -9, 0), (9, 9, 9), np.array([100, 100, 100]), 0, 80)
    assert {shade[0] for _, _, shade in shown} >= {100}  # the top gets all the light
    assert len(shown) == 2


def test_a_nearest_neighbour_is_found_by_its_pixels() -> None:
    train = np.array([0, 90, 200], np.uint8).reshape(3, 1, 1, 1)
    test = np.array([190, 5], np.uint8).reshape(2, 1, 1, 1)
    known, asked = (LabelledImages(images, np.arange(len(images))) for images in (train, test))
    assert difficulty._nearest(known, asked).tolist() == [2, 0]
