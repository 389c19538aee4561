"""Time of a pass over photographs with a random transform: cached, and decoded every time.

Run by ``tox -e speed``; compare the figures of one run with each other, not with another machine's.
"""

import numpy as np
import pytest
import torch
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from bench.data import image_cache
from bench.data.loader import BatchLoader
from bench.data.splits import Examples
from bench.data.transforms import RANDOM_GEOMETRIES, Transform

MANY, FEW = 512, 8  # few where nothing is measured, and only the code is tried


@pytest.fixture(scope="module")
def photos(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """JPEG files of 500 x 375 pixels, smooth as photographs are."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    count = MANY if pytestconfig.getoption("--benchmark-enable") else FEW
    files = tuple(folder / f"{i}.jpg" for i in range(count))
    for file in files:
        coarse = Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(file, quality=90)
    return Examples(torch.zeros(count), files=files, origins=tuple(map(str, files)))


def batches(photos: Examples, geometry: str) -> BatchLoader:
    half, order = (0.5,) * 3, torch.Generator().manual_seed(0)
    view, cpu = Transform(geometry, "bicubic"), torch.device("cpu")
    return BatchLoader(photos, view, 224, 32, half, half, cpu, order)


def consumed(found: BatchLoader) -> None:
    for _ in found:
        pass


@pytest.mark.parametrize(
    "in_memory", [0, image_cache.MAX_CACHE_BYTES], ids=["decoded every time", "kept"]
)
@pytest.mark.parametrize("geometry", sorted(RANDOM_GEOMETRIES))
@pytest.mark.benchmark(group="a pass over 512 photographs of 500 x 375")
def test_a_pass(
    benchmark: BenchmarkFixture,
    monkeypatch: pytest.MonkeyPatch,
    photos: Examples,
    geometry: str,
    in_memory: int,
) -> None:
    monkeypatch.setattr(image_cache, "MAX_CACHE_BYTES", in_memory)
    found = batches(photos, geometry)
    benchmark.pedantic(lambda: consumed(found), rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="decoding 512 photographs of 500 x 375")
def test_decoding_once(benchmark: BenchmarkFixture, photos: Examples) -> None:
    def decoded() -> None:
        image_cache._decode_all.cache_clear()
        batches(photos, "random_resized_crop_flip")

    benchmark.pedantic(decoded, rounds=3)
