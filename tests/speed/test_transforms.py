"""Time of resizing a batch with each interpolation.

Run by ``tox -e speed``; compare the figures of one run with each other, not with another machine's.
"""

import pytest
import torch

from bench.data.transforms import INTERPOLATIONS, Transform


def pictures(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.benchmark(group="32 images of 32 x 32 made 224 x 224")
def test_enlarging(benchmark, interpolation):
    benchmark(Transform("squash", interpolation), pictures(32, 3, 32, 32), 224)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.benchmark(group="8 images of 500 x 375 made 224 x 224")
def test_making_smaller(benchmark, interpolation):
    benchmark(Transform("squash", interpolation), pictures(8, 3, 375, 500), 224)
