"""The built-in tasks: splits, labels, and pixels that never change unnoticed."""

import hashlib
import json
from collections.abc import Callable
from inspect import unwrap
from itertools import combinations

import numpy as np
import pytest

from bench.config.suite import Split, Task, load_suite
from bench.data import builtin_rendering, builtin_tasks
from bench.data.builtin_tasks import TASKS
from support import paths

CARDS = load_suite("mini").task
GOLDEN = json.loads((paths.GOLDEN / "embedded.json").read_text(encoding="utf-8"))
every_task = pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)


def digest(splits: dict[Split, builtin_tasks.LabelledImages]) -> str:
    """Of the pixels and labels of trainval, then of test."""
    sha256 = hashlib.sha256()
    for split in (splits["trainval"], splits["test"]):
        sha256.update(split.images.tobytes())
        sha256.update(split.labels.astype("<i8").tobytes())
    return sha256.hexdigest()


def pixels(split: builtin_tasks.LabelledImages) -> set[bytes]:
    return {image.tobytes() for image in split.images}


def test_every_card_names_a_task() -> None:
    assert [card.embedded for card in CARDS] == list(TASKS)


@every_task
def test_counts_are_the_cards(card: Task) -> None:
    splits = TASKS[card.embedded]()
    assert {name: [len(split.labels)] for name, split in splits.items()} == card.counts


@every_task
def test_images_are_32_by_32_in_colour(card: Task) -> None:
    for split in TASKS[card.embedded]().values():
        assert split.images.shape == (len(split.labels), 32, 32, 3)
        assert split.images.dtype == np.uint8


@every_task
def test_every_split_has_every_class_and_no_other(card: Task) -> None:
    for split in TASKS[card.embedded]().values():
        assert split.labels.dtype == np.int64
        assert set(split.labels.tolist()) == set(range(card.classes))


@every_task
def test_trainval_is_train_then_val(card: Task) -> None:
    splits = TASKS[card.embedded]()
    for field in ("images", "labels"):
        parts = [getattr(splits[name], field) for name in ("train", "val")]
        assert np.array_equal(np.concatenate(parts), getattr(splits["trainval"], field))


@every_task
def test_no_image_stands_twice(card: Task) -> None:
    splits = TASKS[card.embedded]()
    total = len(splits["trainval"].labels) + len(splits["test"].labels)
    assert len(pixels(splits["trainval"]) | pixels(splits["test"])) == total


@every_task
def test_a_second_making_is_equal_whatever_the_global_seed(card: Task) -> None:
    np.random.seed(7)
    assert digest(unwrap(TASKS[card.embedded])()) == digest(TASKS[card.embedded]())


@every_task
def test_pixels_and_labels_are_golden(card: Task) -> None:
    assert digest(TASKS[card.embedded]()) == GOLDEN[card.embedded]


@pytest.mark.parametrize("name", ["photo_crops", "count"])
def test_classes_are_balanced_in_every_split(name: str) -> None:
    for split in TASKS[name]().values():
        assert len(set(np.bincount(split.labels).tolist())) == 1


def test_two_positions_share_a_location() -> None:
    positions = np.array([0, 1, 2, 15, 16, 30, 31])
    assert builtin_tasks.location_label(positions).tolist() == [0, 0, 1, 7, 8, 15, 15]


def test_two_and_a_half_orientations_share_a_bin() -> None:
    orientations = np.array([0, 2, 3, 4, 5, 7, 8, 37, 38, 39])
    assert builtin_tasks.orientation_label(orientations).tolist() == [
        0,
        0,
        1,
        1,
        2,
        2,
        3,
        14,
        15,
        15,
    ]


def test_a_sprite_stands_where_its_factors_say() -> None:
    image = builtin_rendering.render_sprites(np.array([[0, 5, 0, 31, 8]]))[0, :, :, 0].astype(float)
    row, column = (np.average(np.arange(32), weights=image.sum(axis)) for axis in (1, 0))
    assert (row, column) == pytest.approx(((16 + 8 - 1) / 2, (16 + 31 - 1) / 2), abs=0.05)


def test_ten_orientations_turn_a_lying_ellipse_upright() -> None:
    lying, upright = (
        builtin_rendering.render_sprites(np.array([[1, 5, 0, 16, 16], [1, 5, 10, 16, 16]]))[..., 0]
        > 0
    )
    assert lying.any(axis=0).sum() > lying.any(axis=1).sum()  # columns, rows
    assert upright.any(axis=0).sum() < upright.any(axis=1).sum()


def test_the_first_and_last_orientation_look_alike() -> None:
    first, last = builtin_rendering.render_sprites(np.array([[2, 3, 0, 9, 9], [2, 3, 39, 9, 9]]))
    assert np.array_equal(first, last)


@pytest.mark.parametrize(
    "covers", [builtin_rendering._square, builtin_rendering._ellipse, builtin_rendering._heart]
)
def test_no_turn_cuts_a_sprite_off(covers: Callable[..., np.ndarray]) -> None:
    turns = np.linspace(0, 2 * np.pi, 1000)
    assert covers(np.zeros(1), np.zeros(1)).all()
    assert not covers(np.cos(turns), np.sin(turns)).any()


@pytest.mark.parametrize("seed", [3, 4])
def test_no_combination_of_factors_stands_twice(seed: int) -> None:
    factors = builtin_tasks.distinct_factors(seed)
    assert len(np.unique(factors, axis=0)) == 1800
    assert (factors.max(axis=0) == np.array(builtin_rendering.FACTORS) - 1).all()


@pytest.mark.parametrize("quarter", range(4))
def test_centres_lie_in_their_quarter_and_apart_from_the_other_splits(quarter: int) -> None:
    rng, photo = np.random.default_rng(0), np.zeros((427, 640, 3), np.uint8)
    trainval, test = (
        np.array([builtin_tasks._draw_centre(rng, photo, quarter, parity) for _ in range(200)])
        for parity in (0, 1)
    )
    for centres in (trainval, test):
        assert ((centres >= (213, 320)) == divmod(quarter, 2)).all()
    apart = abs(trainval[:, None] - test[None]).max(axis=-1)  # (200, 200)
    assert apart.min() > 40


def test_ten_objects_find_places_that_keep_clear() -> None:
    radii = [13] * 10
    places = builtin_rendering._place_objects(np.random.default_rng(0), radii)
    assert len(places) == 10
    for (x, y), (left, top) in combinations(places, 2):
        assert (x - left) ** 2 + (y - top) ** 2 >= (13 + 13 + 2) ** 2


def test_a_scene_without_objects_is_a_grey_gradient() -> None:
    image = builtin_rendering.render_scene(np.random.default_rng(0), 0).astype(int)
    assert (image == image[:, :1, :1]).all()
    assert image.min() >= 140
