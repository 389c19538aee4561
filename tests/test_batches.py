"""Batches: images with their own labels, crops of their own, shares of each class."""

import dataclasses
from itertools import pairwise

import pytest
import torch

from bench import data
from bench.batches import Batches
from bench.data import Examples
from bench.views import View

CPU, HALF = torch.device("cpu"), (0.5,) * 3


def batches(examples: Examples, view: str = "squash", size: int = 8, batch: int = 4) -> Batches:
    order = torch.Generator().manual_seed(0)
    return Batches(examples, View(view, "bicubic"), size, batch, HALF, HALF, CPU, order)


def numbered(count: int, side: int = 8) -> Examples:
    """Each image is as bright as its number says, and that is its label."""
    levels = torch.arange(count, dtype=torch.uint8)
    pixels = levels.view(-1, 1, 1, 1).expand(-1, 3, side, side).contiguous()
    return Examples(torch.arange(count), pixels)


def levels(images: torch.Tensor) -> list[int]:
    return ((images[:, 0, 0, 0] * 0.5 + 0.5) * 255).round().int().tolist()


def test_shuffled_images_keep_their_labels():
    found = [(levels(images), labels.tolist()) for images, labels in batches(numbered(10))]
    assert all(seen == labels for seen, labels in found)
    order = [label for _, labels in found for label in labels]
    assert order != sorted(order) == list(range(10))


def test_there_are_as_many_batches_as_a_pass_gives():
    for count in (7, 8, 9):
        shown = batches(numbered(count))
        assert len(shown) == len(list(shown)) == (2 if count < 9 else 3)


def test_rows_name_the_images_that_a_pass_would_give():
    rows = [(index.tolist(), labels.tolist()) for index, labels in batches(numbered(10)).rows()]
    seen = [levels(images) for images, _ in batches(numbered(10))]
    assert [index for index, _ in rows] == [labels for _, labels in rows] == seen


@pytest.mark.parametrize("view", ["random_resized_crop_flip", "random_crop_flip"])
def test_equal_images_of_a_pass_are_cropped_each_at_its_own_place(view):
    pixels = torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8).expand(8, -1, -1, -1)
    same = Examples(torch.zeros(8, dtype=torch.long), pixels.contiguous())
    [images] = [images for images, _ in batches(same, view, 32, 8)]
    assert len({image.numpy().tobytes() for image in images}) > 4  # the chance of less: 1e-6


def classes(*counts: int) -> Examples:
    """So many images of each class, in turn as far as they go."""
    labels = [label for i in range(max(counts)) for label, n in enumerate(counts) if i < n]
    whole = numbered(len(labels))
    return dataclasses.replace(whole, labels=torch.tensor(labels))


def test_a_share_is_rounded_up_in_each_class_and_keeps_the_order_and_the_labels():
    whole = classes(9, 4, 1)
    found = data.part(whole, 0.3, seed=0)
    assert found.labels.bincount().tolist() == [3, 2, 1]
    numbers = found.pixels[:, 0, 0, 0].tolist()
    assert numbers == sorted(numbers)
    assert found.labels.tolist() == whole.labels[numbers].tolist()


def test_a_share_is_drawn_by_its_seed_and_lies_within_a_larger_one():
    whole = classes(20, 20)

    def chosen(share, seed):
        return set(data.part(whole, share, seed).pixels[:, 0, 0, 0].tolist())

    assert chosen(0.5, 1) == chosen(0.5, 1)
    assert len({frozenset(chosen(0.5, seed)) for seed in range(4)}) > 1
    assert chosen(0.2, 1) < chosen(0.5, 1) < chosen(1.0, 1) == set(range(40))


def test_random_views_resize_as_their_interpolation_says():
    image = torch.randint(256, (3, 40, 40), dtype=torch.uint8)

    def drawn(how):
        torch.manual_seed(0)
        return View("random_resized_crop_flip", how)(image, 16).float()

    looks = [drawn(how) for how in ("bicubic", "bilinear", "tf1_bilinear")]
    apart = [(one - other).abs().mean() for one, other in pairwise(looks)]
    assert min(apart) > 1
