"""Resizing, cropping, flipping and normalisation."""

from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from bench.config.recipe import Views
from bench.data import image_cache, splits, transforms
from bench.data.loader import BatchLoader
from bench.data.splits import Examples
from bench.data.transforms import Transform, tf1_bilinear
from bench.execution import plan
from bench.execution.plan import Request
from bench.records.store import Store
from bench.training.cell import make_test_loader
from support import tiny

CPU = torch.device("cpu")
ALL = {**transforms.DETERMINISTIC_GEOMETRIES, **transforms.RANDOM_GEOMETRIES}
BY_HAND = [  # input, output
    ([[0, 100], [200, 240]],
     [[0, 50, 100, 100], [100, 135, 170, 170], [200, 220, 240, 240], [200, 220, 240, 240]]),
    ([[0, 30, 60, 90]], [[0, 40, 80]]),  # at 0, 4/3 and 8/3
    ([[70, 0, 140, 70, 210]], [[70, 20, 60, 130, 80, 150, 210]]),  # at 0, 5/7, 10/7 ... 30/7
    ([[9, 1, 7, 3]], [[9, 7]]),  # no antialiasing: of four pixels two are never looked at
]  # fmt: skip
BY_TENSORFLOW = {  # tf.compat.v1.image.resize of TensorFlow 2.21, row by row
    3: ([[248, 69, 205, 61], [29, 19, 59, 81], [120, 208, 64, 89], [127, 128, 76, 154]],
        [248.0, 114.33334350585938, 108.99998474121094, 59.333335876464844, 74.88890075683594,
         76.00000762939453, 124.66666412353516, 127.1111068725586, 112.22222900390625]),
    4: ([[95, 217], [15, 215]],
        [95.0, 156.0, 217.0, 217.0, 55.0, 135.5, 216.0, 216.0,
         15.0, 115.0, 215.0, 215.0, 15.0, 115.0, 215.0, 215.0]),
}  # fmt: skip


def pictures(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


def slow_tf1(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixel by pixel, of one channel."""
    before_h, before_w = image.shape
    found = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            y, x = i * before_h / height, j * before_w / width
            top, left = int(y), int(x)
            bottom, right = min(top + 1, before_h - 1), min(left + 1, before_w - 1)
            upper = image[top, left] * (1 - x + left) + image[top, right] * (x - left)
            lower = image[bottom, left] * (1 - x + left) + image[bottom, right] * (x - left)
            found[i, j] = upper * (1 - y + top) + lower * (y - top)
    return found


def given(folder, count: int = 3, size: tuple[int, int] = (50, 34)) -> Examples:
    names = tiny.write_images(folder, count, size=size)
    return Examples(torch.zeros(count), files=tuple(folder / name for name in names))


def seen(
    examples: Examples, view: Transform, size: int = 24, order: int | None = None
) -> torch.Tensor:
    """Every image in [0, 1], in the order of one pass."""
    generator = None if order is None else torch.Generator().manual_seed(order)
    found = BatchLoader(examples, view, size, 2, (0.0,) * 3, (1.0,) * 3, CPU, generator)
    return torch.cat([images for images, _ in found])


# Interpolation


@pytest.mark.parametrize(("before", "after"), BY_HAND)
def test_tensorflows_bilinear_is_as_by_hand(before, after):
    wanted = torch.tensor(after, dtype=torch.float32)
    found = tf1_bilinear(torch.tensor(before, dtype=torch.uint8), list(wanted.shape))
    assert torch.allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("side", BY_TENSORFLOW)
def test_tensorflows_bilinear_is_tensorflows_to_the_last_bit(side):
    before, after = BY_TENSORFLOW[side]
    found = tf1_bilinear(torch.tensor(before, dtype=torch.uint8), [side, side])
    assert found.flatten().tolist() == after


@pytest.mark.parametrize("seed", range(6))
def test_tensorflows_bilinear_is_a_slow_loops_up_and_down(seed):
    height, width, new_height, new_width = np.random.default_rng(seed).integers(1, 40, 4).tolist()
    images = pictures(2, 3, height, width, seed=seed)
    found = tf1_bilinear(images, [new_height, new_width])
    for image, resized in zip(images.flatten(0, 1), found.flatten(0, 1), strict=True):
        wanted = slow_tf1(image.numpy().astype(float), new_height, new_width)
        assert np.allclose(resized.numpy(), wanted, atol=2e-3)


def test_tensorflows_bilinear_keeps_an_image_of_the_wanted_size_and_its_input():
    images = pictures(2, 3, 8, 8).float()
    before = images.clone()
    assert torch.equal(tf1_bilinear(images, [8, 8]), before)
    tf1_bilinear(images, [5, 9])
    assert torch.equal(images, before)


def test_torchs_bilinear_is_pillows_to_a_level():
    image = pictures(3, 40, 60)
    found = Transform("squash", "bilinear")(image, 24)
    whole = Image.fromarray(image.permute(1, 2, 0).numpy())
    wanted = np.asarray(whole.resize((24, 24), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.abs(found.numpy().astype(int) - wanted).max() <= 1


def test_no_two_interpolations_are_alike():
    image = pictures(3, 40, 60)
    bicubic, bilinear, tf1 = (
        Transform("squash", name)(image, 24) for name in transforms.INTERPOLATIONS
    )
    for first, second in ((bicubic, bilinear), (bilinear, tf1), (bicubic, tf1)):
        assert (first.float() - second.float()).abs().mean() > 2


# Geometry


def test_cards_and_code_know_the_same_transforms():
    named = {name: set(get_args(kind)) for name, kind in get_type_hints(Views).items()}
    assert named["interpolation"] == set(transforms.INTERPOLATIONS)
    assert named["test"] == set(transforms.DETERMINISTIC_GEOMETRIES)
    assert named["train"] | named["test"] == set(ALL)


@pytest.mark.parametrize("interpolation", transforms.INTERPOLATIONS)
@pytest.mark.parametrize("geometry", ALL)
def test_every_transform_gives_squares_in_range(tmp_path, geometry, interpolation):
    found = seen(given(tmp_path), Transform(geometry, interpolation), order=0)
    assert found.shape == (3, 3, 24, 24)
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("interpolation", transforms.INTERPOLATIONS)
@pytest.mark.parametrize("geometry", transforms.DETERMINISTIC_GEOMETRIES)
def test_many_images_at_once_become_what_each_becomes_alone(geometry, interpolation):
    images, view = pictures(5, 3, 34, 50), Transform(geometry, interpolation)
    alone = torch.stack([view(image, 23) for image in images])
    assert torch.equal(view(images, 23), alone)


@pytest.mark.parametrize("interpolation", transforms.INTERPOLATIONS)
def test_memory_files_and_workers_give_the_same(tmp_path, monkeypatch, interpolation):
    examples, view = given(tmp_path, 5), Transform("squash", interpolation)
    decoded = torch.stack([splits.decode(examples, i) for i in range(5)])
    ways = [seen(Examples(torch.zeros(5), pixels=decoded), view), seen(examples, view)]
    monkeypatch.setattr(image_cache, "MAX_CACHE_BYTES", 0)
    for workers in (0, 2):
        monkeypatch.setattr(image_cache, "worker_count", lambda _, workers=workers: workers)
        ways.append(seen(examples, view))
    assert all(torch.equal(way, ways[0]) for way in ways)


def test_tensorflows_floats_count_four_times_in_memory(tmp_path, monkeypatch):
    examples = given(tmp_path)
    monkeypatch.setattr(image_cache, "MAX_CACHE_BYTES", 3 * 3 * 24**2)
    kept = {
        name: BatchLoader(examples, Transform("squash", name), 24, 2, (0.0,), (1.0,), CPU).note
        for name in transforms.INTERPOLATIONS
    }
    assert [name for name, note in kept.items() if note != "decoded once"] == ["tf1_bilinear"]


@pytest.mark.parametrize("interpolation", transforms.INTERPOLATIONS)
@pytest.mark.parametrize("geometry", sorted({*ALL} - {"random_resized_crop_flip"}))
def test_a_squash_alone_changes_proportions(geometry, interpolation):
    """On a 2:1 image a chessboard's fields stay square, but for a squash: there they are half."""
    fields = torch.ones(8, 16)
    fields[::2, ::2] = fields[1::2, 1::2] = 0
    board = torch.kron(fields, torch.full((16, 16), 255.0)).to(torch.uint8)  # (128, 256)
    light = Transform(geometry, interpolation)(board.expand(3, -1, -1), 112)[0] > 127
    borders = [int((light.diff(dim=dim) != 0).sum()) for dim in (0, 1)]
    assert borders[1] / borders[0] == pytest.approx(2 if "squash" in geometry else 1, rel=0.25)


@pytest.mark.parametrize(("size", "margin"), [(224, 256), (384, 438), (448, 512)])
def test_the_margin_of_a_crop_is_the_vpt_codes(size, margin):
    image = pictures(3, 300, 500)
    resized = transforms.INTERPOLATIONS["bilinear"](image, [margin, margin * 500 // 300])
    inset = [round((side - size) / 2) for side in resized.shape[-2:]]
    wanted = resized[:, inset[0] : inset[0] + size, inset[1] : inset[1] + size]
    assert torch.equal(Transform("resize256_crop", "bilinear")(image, size), wanted)


BICUBIC = InterpolationMode.BICUBIC
CHAINS = {
    "random_resized_crop_flip": [
        lambda size: v2.RandomResizedCrop(size, interpolation=BICUBIC),
    ],
    "random_crop_flip": [
        lambda size: v2.Resize(size * 256 // 224, BICUBIC),
        v2.RandomCrop,
    ],
    "squash256_random_crop_flip": [
        lambda size: v2.Resize((size * 256 // 224,) * 2, BICUBIC),
        v2.RandomCrop,
    ],
}


@pytest.mark.parametrize("geometry", transforms.RANDOM_GEOMETRIES)
def test_an_augmentation_is_torchvisions_chain_draw_by_draw(geometry):
    chain = [make(28) for make in CHAINS[geometry]] + [v2.RandomHorizontalFlip()]
    for seed in range(8):
        image = pictures(3, 50, 70, seed=seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            wanted = v2.Compose(chain)(image)
            torch.manual_seed(seed)
            assert torch.equal(Transform(geometry, "bicubic")(image, 28), wanted)


@pytest.mark.parametrize("interpolation", transforms.INTERPOLATIONS)
@pytest.mark.parametrize("geometry", transforms.RANDOM_GEOMETRIES)
def test_an_augmentation_is_seeded_image_by_image(tmp_path, geometry, interpolation):
    examples, view = given(tmp_path), Transform(geometry, interpolation)
    first, again, other = (seen(examples, view, order=order) for order in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first.sort(0).values, other.sort(0).values)


# Normalisation


def test_without_normalisation_pixels_stay_in_0_to_1(tmp_path, monkeypatch):
    tiny.write_all(tmp_path)
    changes = {"normalisation": "none"}
    request = Request(str(tmp_path / "tiny.toml"), changes=changes, root=tmp_path / "data")
    (cell, *_) = plan.make_plan(request, Store(tmp_path)).cells
    images = torch.cat([found for found, _ in make_test_loader(cell, CPU)])
    assert images.min() >= 0
    assert 0.9 < images.max() <= 1
    assert cell.settings.recipe["normalisation"] == "none"
