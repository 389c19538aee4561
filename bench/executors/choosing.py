"""Which executor a run has, and with how many processes of how many threads."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.errors import UserError
from bench.executors import Executor, here, local


@dataclass(frozen=True)
class Asked:
    """What the command line says of it."""

    workers: int | None  # None: one a GPU, or one; 0: this process
    per_gpu: int  # workers that share one
    timeout: float | None  # seconds that a cell may take
    plugins: Sequence[Path]


def make(name: str, results: Path, device: str, asked: Asked) -> Executor:
    """The executor of that name."""
    return EXECUTORS[name](results, device, asked)


def _local(results: Path, device: str, asked: Asked) -> Executor:
    gpus = visible_gpus() if device == "cuda" else []
    count = max(1, len(gpus) * asked.per_gpu) if asked.workers is None else asked.workers
    if not count:
        if asked.timeout:
            raise UserError("--timeout needs a process to stop: --workers from 1 was expected")
        return here.Here(results)
    places = list(environments(count, gpus))
    return local.Local(local.command(results, asked.plugins), places, asked.timeout)


def environments(workers: int, gpus: Sequence[str]) -> Iterator[dict[str, str]]:
    """What each worker's environment says: its share of the threads, and its GPU."""
    threads = max(1, cores() // workers)
    for number in range(workers):
        own = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads)}
        mask = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}
        yield own | mask


def visible_gpus() -> list[str]:
    """The GPUs that are ours to use, as `CUDA_VISIBLE_DEVICES` names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]


def cores() -> int:
    """The cores that are ours to use."""
    ours = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(ours(0)) if ours else os.cpu_count() or 1


EXECUTORS = {"local": _local}
