"""The loader: batches and their order, the image cache, and prefetching within bounds."""

import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torchvision.transforms.v2.functional as F
from torch.utils.data import Dataset
from torchvision.transforms import InterpolationMode

from bench.data import image_cache, loader, splits, transforms
from bench.data.image_cache import PREFETCH_FACTOR, PrefetchLoader
from bench.data.loader import BatchLoader
from bench.data.splits import Examples
from bench.data.transforms import Transform
from support import tiny

CPU, HALF = torch.device("cpu"), (0.5,) * 3


def batches_of(
    examples: Examples, view: str = "squash", size: int = 8, batch: int = 4
) -> BatchLoader:
    order = torch.Generator().manual_seed(0)
    return BatchLoader(examples, Transform(view, "bicubic"), size, batch, HALF, HALF, CPU, order)


def numbered(count: int, side: int = 8) -> Examples:
    """Each image is as bright as its number says, and that is its label."""
    levels = torch.arange(count, dtype=torch.uint8)
    pixels = levels.view(-1, 1, 1, 1).expand(-1, 3, side, side).contiguous()
    return Examples(torch.arange(count), pixels)


def levels(images: torch.Tensor) -> list[int]:
    return ((images[:, 0, 0, 0] * 0.5 + 0.5) * 255).round().int().tolist()


def test_shuffled_images_keep_their_labels():
    found = [(levels(images), labels.tolist()) for images, labels in batches_of(numbered(10))]
    assert all(seen == labels for seen, labels in found)
    order = [label for _, labels in found for label in labels]
    assert order != sorted(order) == list(range(10))


def test_there_are_as_many_batches_as_a_pass_gives():
    for count in (7, 8, 9):
        shown = batches_of(numbered(count))
        assert len(shown) == len(list(shown)) == (2 if count < 9 else 3)


def test_rows_name_the_images_that_a_pass_would_give():
    rows = [
        (index.tolist(), labels.tolist())
        for index, labels in batches_of(numbered(10)).indices_and_labels()
    ]
    seen = [levels(images) for images, _ in batches_of(numbered(10))]
    assert [index for index, _ in rows] == [labels for _, labels in rows] == seen


@pytest.mark.parametrize("view", ["random_resized_crop_flip", "random_crop_flip"])
def test_equal_images_of_a_pass_are_cropped_each_at_its_own_place(view):
    pixels = torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8).expand(8, -1, -1, -1)
    same = Examples(torch.zeros(8, dtype=torch.long), pixels.contiguous())
    [images] = [images for images, _ in batches_of(same, view, 32, 8)]
    assert len({image.numpy().tobytes() for image in images}) > 4  # the chance of less: 1e-6


def test_random_transforms_resize_with_their_interpolation():
    image = torch.randint(256, (3, 40, 40), dtype=torch.uint8)

    def drawn(how):
        torch.manual_seed(0)
        return Transform("random_resized_crop_flip", how)(image, 16).float()

    looks = [drawn(how) for how in ("bicubic", "bilinear", "tf1_bilinear")]
    apart = [(one - other).abs().mean() for one, other in pairwise(looks)]
    assert min(apart) > 1


CPU = torch.device("cpu")


SIZES = [(50, 34), (34, 50), (40, 40), (90, 60)]


@pytest.fixture
def photos(tmp_path: Path) -> Examples:
    """Twelve files of four sizes."""
    folders = [tmp_path / str(i) for i in range(len(SIZES))]
    files = [
        folder / name
        for folder, size in zip(folders, SIZES, strict=True)
        for name in tiny.write_images(folder, 3, seed=size[0], size=size)
    ]
    return Examples(torch.arange(12), files=tuple(files), origins=tuple(map(str, files)))


def batches(examples: Examples, view: Transform, batch: int = 5) -> BatchLoader:
    order = torch.Generator().manual_seed(3)
    return BatchLoader(examples, view, 24, batch, (0.5,) * 3, (0.2,) * 3, CPU, order)


def two_passes(found: BatchLoader) -> torch.Tensor:
    return torch.cat([images for _ in range(2) for images, _ in found])


# Random views
@pytest.mark.parametrize("interpolation", transforms.INTERPOLATIONS)
@pytest.mark.parametrize("geometry", transforms.RANDOM_GEOMETRIES)
def test_random_transforms_of_cached_images_equal_those_of_decoded_ones_to_the_bit(
    photos, monkeypatch, geometry, interpolation
):
    view = Transform(geometry, interpolation)
    kept = batches(photos, view)
    monkeypatch.setattr(loader, "_transforms_fast", lambda _: True)
    together = batches(photos, view)
    monkeypatch.setattr(image_cache, "MAX_CACHE_BYTES", 0)
    uncached = batches(photos, view)
    wanted = two_passes(uncached)
    assert torch.equal(two_passes(kept), wanted)
    assert torch.equal(two_passes(together), wanted)
    assert [found.note for found in (kept, together, uncached)] == [
        "decoded once, views made on cpu",
        "decoded once, views made on cpu",
        "decoded for each pass, views made on cpu",
    ]


@pytest.mark.parametrize("geometry", transforms.RANDOM_GEOMETRIES)
def test_what_is_drawn_for_an_image_does_not_hang_on_its_batch(photos, geometry):
    view = Transform(geometry, "bicubic")
    assert torch.equal(*(two_passes(batches(photos, view, batch)) for batch in (2, 7)))


def test_random_transforms_decode_a_file_once_for_all_passes(photos, monkeypatch):
    opened = []
    real = splits.decode
    monkeypatch.setattr(splits, "decode", lambda found, i: opened.append(i) or real(found, i))
    two_passes(batches(photos, Transform("random_resized_crop_flip", "bicubic")))
    assert sorted(opened) == list(range(12))


def test_images_are_cached_at_the_size_that_the_transform_crops_from(photos):
    boxes = image_cache.cache_images(photos, Transform("random_resized_crop_flip", "bicubic"), 28)
    crops = image_cache.cache_images(photos, Transform("random_crop_flip", "tf1_bilinear"), 28)
    sides = [tuple(boxes[i].shape[1:]) for i in range(0, 12, 3)]
    assert sides == [(height, width) for width, height in SIZES]
    assert [min(crops[i].shape[1:]) for i in range(12)] == [32] * 12
    assert (boxes.values.dtype, crops.values.dtype) == (torch.uint8, torch.float32)
    assert boxes.values.nbytes == sum(3 * 3 * height * width for width, height in SIZES)


def test_nothing_is_kept_that_takes_more_than_its_share_of_free_memory(photos, monkeypatch):
    monkeypatch.setattr(image_cache.memory, "free_memory", lambda _: 1000.0)
    found = batches(photos, Transform("random_resized_crop_flip", "bicubic"))
    assert found.note == "decoded for each pass, views made on cpu"


def as_a_gpu(image: torch.Tensor, size: list[int], how: InterpolationMode) -> torch.Tensor:
    """torchvision's arithmetic where it has no kernel for uint8: in floats, then rounded."""
    exact = F.resize(image.float(), size, interpolation=how, antialias=True)
    return exact.round().clamp(0, 255).to(torch.uint8)


def spread(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return (found.int() - wanted.int()).abs()


@pytest.mark.parametrize("how", [InterpolationMode.BICUBIC, InterpolationMode.BILINEAR])
@pytest.mark.parametrize("levels", [2, 256])
def test_resizing_on_a_gpu_is_within_two_levels_of_a_cpu_and_nearly_always_equal(how, levels):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(levels, (3, 150, 200), generator=generator) * (255 // (levels - 1))
    image = noise.to(torch.uint8)
    wanted = transforms._resize_antialiased(image, [64, 64], how)
    found = transforms.resize_axis_by_axis(lambda x, size: as_a_gpu(x, size, how), image, [64, 64])
    assert spread(found, wanted).max() <= 2
    assert (found == wanted).float().mean() > 0.95
    if how is InterpolationMode.BICUBIC and levels == 2:  # the reason for two steps
        assert spread(as_a_gpu(image, [64, 64], how), wanted).max() > 4


# Streams
class Told(Dataset[torch.Tensor]):
    """Numbers, each with the process that made it; every making is told in a file."""

    def __init__(self, file: Path):
        self.file = file

    def __getitem__(self, index: int) -> torch.Tensor:
        with self.file.open("ab") as file:
            file.write(b".")
        return torch.tensor([index, os.getpid()])

    def made(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path / "made")


def stream(told: Told, monkeypatch: pytest.MonkeyPatch, workers: int = 2) -> PrefetchLoader:
    monkeypatch.setattr(image_cache, "worker_count", lambda _: workers)
    return PrefetchLoader(told, 80)


KEYS = [list(range(at, at + 4)) for at in range(0, 80, 4)]


def waited_for(told: Told, count: int) -> int:
    """How many have been made, once they are `count` or a long time is over."""
    end = time.monotonic() + 30
    while told.made() < count and time.monotonic() < end:
        time.sleep(0.01)
    return told.made()


def test_workers_make_batches_ahead_and_no_more_than_the_bound(told, monkeypatch):
    ahead = PREFETCH_FACTOR * 2 * 4  # batches a worker, two workers, four numbers
    for taken, _ in enumerate(stream(told, monkeypatch).batches(KEYS), start=1):
        wanted = min(80, 4 * taken + ahead)
        assert waited_for(told, wanted) == wanted


def test_the_workers_of_a_pass_stay_for_the_next(told, monkeypatch):
    found = stream(told, monkeypatch)
    passes = [torch.cat(list(found.batches(KEYS))) for _ in range(3)]
    assert len(torch.cat(passes)[:, 1].unique()) == 2
    assert all(torch.equal(one[:, 0], torch.arange(80)) for one in passes)


@pytest.fixture(params=["spawn", "forkserver"])
def another_default(request: pytest.FixtureRequest) -> Iterator[None]:
    """Python starts processes in another way than by a fork, unless told."""
    usual = multiprocessing.get_start_method()
    multiprocessing.set_start_method(request.param, force=True)
    yield
    multiprocessing.set_start_method(usual, force=True)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
@pytest.mark.usefixtures("another_default")
def test_a_worker_has_all_that_its_parent_has_whatever_python_s_default(told, monkeypatch):
    class Unsendable(Told):
        """Of a class that no other process finds by its name."""

    found = torch.cat(list(stream(Unsendable(told.file), monkeypatch).batches(KEYS)))
    assert torch.equal(found[:, 0], torch.arange(80))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pass_may_be_left_or_begin_amid_another(told, monkeypatch, workers):
    found = stream(told, monkeypatch, workers)
    first, second = found.batches(KEYS), found.batches(KEYS[::-1])
    seen = [(next(first)[0, 0].item(), next(second)[0, 0].item()) for _ in range(20)]
    assert seen == [(4 * i, 76 - 4 * i) for i in range(20)]
    next(found.batches(KEYS))
    assert torch.equal(torch.cat(list(found.batches(KEYS)))[:, 0], torch.arange(80))
