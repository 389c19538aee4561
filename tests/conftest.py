"""What all tests share."""

import os
from pathlib import Path

import pytest
import torch

from bench import contract

torch.set_num_threads(1)  # more only wait for each other where several tests run at once

SHARED = Path(os.environ.get("BENCH_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture
def double_precision():
    """New tensors are float64."""
    with contract.double_precision():
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """A folder of data and weights that lies beside some checkouts and never in the project."""
    if not (SHARED / "weights").is_dir():
        pytest.skip(f"needs the folder of real data and weights at {SHARED}")
    return SHARED
