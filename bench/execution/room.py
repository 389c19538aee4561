"""Whether a machine has room for a run: disk for its records, memory for the weights."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import torch

from bench.models import backbones
from bench.models.backbones import Backbone
from bench.prepare.downloads.checksums import format_bytes
from bench.utils.errors import UserError
from methods.shared.memory import free_memory

BYTES_PER_RUN = 200_000  # of a record and its predictions, of the largest test splits
SPARE_BYTES = 10**8  # for tables, pictures, and what others write meanwhile
BYTES_PER_WEIGHT = 4  # float32


def needed_disk(runs: int) -> int:
    """Return the bytes that a results folder may grow by."""
    return SPARE_BYTES + runs * BYTES_PER_RUN


def free_disk(results: Path) -> int:
    """Return the free bytes of a results folder that is there."""
    return shutil.disk_usage(results).free


def require_disk(results: Path, runs: int) -> None:
    """Raise `UserError` where the disk cannot hold the records of so many runs."""
    free, need = free_disk(results), needed_disk(runs)
    if free < need:
        raise UserError(
            f"{results} has {format_bytes(free)} of disk free, and {runs:,} runs may need "
            f"{format_bytes(need)}: make room, or choose another folder with --results"
        )


def count_parameters(found: Iterable[Backbone]) -> dict[str, int]:
    """Return the parameters of each backbone by its name."""
    distinct = {id(one): one for one in found}.values()
    return {one.card.name: backbones.num_parameters(one) for one in distinct}


def require_memory(parameters: dict[str, int]) -> None:
    """Raise `UserError` where the weights of a backbone alone are more than the free memory."""
    free = free_memory(torch.device("cpu"))
    for name, count in parameters.items():
        if (need := BYTES_PER_WEIGHT * count) > free:
            raise UserError(
                f"the weights of {name} take {format_bytes(need)}, and {format_bytes(free)} of "
                "memory are free: close other programs, or choose a smaller backbone"
            )
