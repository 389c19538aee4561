"""The device of these tests. Without a GPU they are skipped; GPU_TESTS_DEVICE=cpu tries them."""

import os
from collections.abc import Iterator

import pytest
import torch

from bench.training import numerics

DEVICE = os.environ.get("GPU_TESTS_DEVICE", "cuda")


@pytest.fixture(scope="session")
def device() -> torch.device:
    if DEVICE == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return torch.device(DEVICE)


@pytest.fixture(autouse=True)
def _fp32_means_fp32() -> Iterator[None]:
    """No TF32: cuDNN's convolutions use it by default."""
    with numerics.arithmetic("fp32"):
        yield
