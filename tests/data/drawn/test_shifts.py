"""The drawn shifts: a digest of each set is golden; stronger is farther; the same each time."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.config.suite import load_suite
from bench.data import shifts, splits
from bench.data.drawn import shifts as drawn
from bench.utils.errors import UserError
from support import paths

SUITE = load_suite("shift_mini")
GOLDEN = json.loads((paths.GOLDEN / "shift_mini.json").read_text(encoding="utf-8"))
GREY = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3)).astype(np.uint8)
LABELS = [i % 10 for i in range(20)]


def digests(name: str) -> dict[str, str]:
    task = SUITE.find(name)
    return {
        one.name: splits.fingerprint(shifts.load_shift(SUITE, task, one, Path()))
        for one in SUITE.shifts_of(task)
    }


@pytest.mark.long
@pytest.mark.parametrize("task", ["digits", "letters"])
def test_every_set_has_the_images_that_it_had(task: str) -> None:
    assert digests(task) == GOLDEN[task]


@pytest.mark.parametrize("name", ["noise", "blur", "contrast", "photograph"])
def test_a_stronger_shift_is_farther_from_the_images(name: str) -> None:
    found = [drawn.change(name, n, GREY, LABELS).astype(np.int64) for n in drawn.STRENGTHS]
    distances = [np.abs(images - GREY).mean() for images in found]
    assert distances == sorted(distances)
    assert distances[0] > 0


def test_the_strongest_inversion_is_the_negative() -> None:
    assert (drawn.change("inversion", 3, GREY, LABELS) == 255 - GREY).all()


@pytest.mark.parametrize("name", drawn.CHANGES)
def test_a_shift_is_the_same_each_time_and_leaves_the_images_alone(name: str) -> None:
    before = GREY.copy()
    once, again = (drawn.change(name, 2, GREY, LABELS) for _ in range(2))
    assert (once == again).all()
    assert once.shape == GREY.shape
    assert once.dtype == np.uint8
    assert (before == GREY).all()


def test_a_blur_is_the_mean_over_a_square() -> None:
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[0, 9:12, 9:12] = 90
    assert drawn.change("blur", 1, image, [0])[0, 10, 10].tolist() == [90, 90, 90]
    assert drawn.change("blur", 1, image, [0])[0, 10, 12].tolist() == [30, 30, 30]


def test_a_set_of_some_classes_has_their_images_alone() -> None:
    task = SUITE.find("digits")
    five = next(one for one in SUITE.shifts_of(task) if one.name == "five_noise_1")
    examples = shifts.load_shift(SUITE, task, five, Path())
    assert set(examples.labels.tolist()) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("name", "strength", "said"),
    [("nose", 1, "did you mean noise"), ("noise", 4, "strengths 1 to 3; 4 was given")],
)
def test_an_unknown_shift_or_strength_is_refused(name: str, strength: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        drawn.change(name, strength, GREY, LABELS)
