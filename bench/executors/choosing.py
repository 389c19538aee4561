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
    processes: int = 1  # that train a cell together


def make(name: str, results: Path, device: str, asked: Asked) -> Executor:
    """The executor of that name."""
    return EXECUTORS[name](results, device, asked)


def _local(results: Path, device: str, asked: Asked) -> Executor:
    gpus = visible_gpus() if device == "cuda" else []
    require_room(asked.processes, device, len(gpus))
    places = teams(gpus, asked.processes)
    count = max(1, len(places) * asked.per_gpu) if asked.workers is None else asked.workers
    if not count:
        if asked.timeout:
            raise UserError("--timeout needs a process to stop: --workers from 1 was expected")
        return here.Here(results)
    shares = list(environments(count, places))
    return local.Local(local.command(results, asked.plugins), shares, asked.timeout)


def require_room(processes: int, device: str, gpus: int) -> None:
    """Raise `UserError` where so many processes cannot train a cell on such a device."""
    if processes == 1 or device == "cpu" or (device == "cuda" and processes <= gpus):
        return
    here = f"{gpus} GPUs are visible" if device == "cuda" else f"--device {device} names one device"
    raise UserError(
        f"--processes {processes} takes a GPU for each, and {here}: from 1 to {max(1, gpus)}, "
        "or --device cpu, was expected"
    )


def teams(gpus: Sequence[str], processes: int) -> list[str]:
    """So many GPUs for each worker, as `CUDA_VISIBLE_DEVICES` names them; none is in two teams."""
    starts = range(0, len(gpus) - processes + 1, processes)
    return [",".join(gpus[start : start + processes]) for start in starts]


def environments(workers: int, gpus: Sequence[str]) -> Iterator[dict[str, str]]:
    """What each worker's environment says: its share of the threads, and its GPUs."""
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
