"""Executor factory: builds the executor of a run's options, with its GPUs and threads."""

import os
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch

from bench.execution import room
from bench.execution.executors import Executor, in_process, local, worker_process
from bench.execution.request import RunOptions
from bench.training.cell import Cell
from bench.utils import parallel
from bench.utils.errors import UserError
from methods.shared.memory import free_memory

SMALL_BACKBONE = 30_000_000  # parameters: ViT-S has 22 million, ViT-B 86
WORKER_MEMORY = 2e9  # bytes that a worker with a small backbone may take


def make_executor(
    results: Path, device: str, options: RunOptions, cells: Sequence[Cell]
) -> Executor:
    """Make the executor of cells that keeps its records in `results`.

    Raises `UserError` where it cannot be had, or not with such options.
    """
    if options.trials_per_pass > 1 and options.executor != "local":
        raise UserError(
            f"--trials-per-pass {options.trials_per_pass} is for --executor local, not "
            f"{options.executor}"
        )
    for option, value, prefix in (
        ("--address", options.address, "ray"),
        ("--slurm", options.slurm, "slurm"),
    ):
        if value and not options.executor.startswith(prefix):
            raise UserError(f"{option} is for --executor {prefix}, not {options.executor}")
    return EXECUTORS[options.executor](results, device, options, cells)


def _make_local(results: Path, device: str, options: RunOptions, cells: Sequence[Cell]) -> Executor:
    gpus = visible_gpus() if device == "cuda" else []
    require_gpus(options.processes, device, len(gpus))
    groups = gpu_groups(gpus, options.processes)
    parameters = {} if groups else room.count_parameters(cell.backbone for cell in cells)
    if device == "cpu":  # a GPU asked for its free memory would lose some for as long as the run
        room.require_memory(parameters)
    if options.workers == 0:
        if options.timeout:
            raise UserError("--timeout needs a process to stop: --workers from 1 was expected")
        return in_process.InProcessExecutor(results)
    small = all(count <= SMALL_BACKBONE for count in parameters.values())
    count = options.workers or len(groups) * options.per_gpu
    if not count:  # one cell of large backbones, or of many processes, has all cores
        count = workers_on_cpu(len(cells)) if small and options.processes == 1 else 1
    argv = worker_process.worker_command(results, options.plugins)
    environments = list(worker_environments(count, groups, passive=not small))
    return local.LocalExecutor(argv, environments, options.timeout)


def workers_on_cpu(cells: int) -> int:
    """Return how many one-threaded workers train so many cells with small backbones fastest.

    One for each core: the threads of one cell wait for each other at every step, and for long where
    the machine is busy (`tests/speed/test_workers.py`). Memory bounds their number, and so do the
    threads that the user's environment gives each.
    """
    room = int(min(free_memory(torch.device("cpu")) / WORKER_MEMORY, cells))
    return max(1, min(room, parallel.available_cores() // parallel.requested_threads()))


def require_gpus(processes: int, device: str, gpus: int) -> None:
    """Raise `UserError` where so many processes cannot train a cell on such a device."""
    if processes == 1 or device == "cpu" or (device == "cuda" and processes <= gpus):
        return
    here = f"{gpus} GPUs are visible" if device == "cuda" else f"--device {device} names one device"
    raise UserError(
        f"--processes {processes} takes a GPU for each, and {here}: from 1 to {max(1, gpus)}, "
        "or --device cpu, was expected"
    )


def gpu_groups(gpus: Sequence[str], processes: int) -> list[str]:
    """Group GPUs for the workers, as `CUDA_VISIBLE_DEVICES` names them; no GPU is in two groups."""
    starts = range(0, len(gpus) - processes + 1, processes)
    return [",".join(gpus[start : start + processes]) for start in starts]


def _make_ray(results: Path, device: str, options: RunOptions, _: Sequence[Cell]) -> Executor:
    _require_package("ray", options)
    if options.processes > 1:
        raise UserError(
            f"--processes {options.processes} needs one machine's GPUs for a cell, and ray gives "
            "it one: --executor local or slurm was expected"
        )
    from bench.execution.executors.ray import RayExecutor

    return RayExecutor(results, device, options)


def _make_slurm(results: Path, device: str, options: RunOptions, _: Sequence[Cell]) -> Executor:
    _require_package("submitit", options)
    from bench.execution.executors.slurm import SlurmExecutor

    return SlurmExecutor(results, device, options)


def _require_package(package: str, options: RunOptions) -> None:
    """Raise `UserError` where an executor's package is not installed, or no worker may run."""
    extra = {"ray": "ray", "submitit": "slurm"}[package]
    if find_spec(package) is None:
        raise UserError(
            f"--executor {extra} needs the package {package}: pip install -e '.[{extra}]'"
        )
    if options.workers == 0:
        raise UserError(f"--executor {extra} needs --workers from 1")


def worker_environments(
    workers: int, gpus: Sequence[str], passive: bool = False
) -> Iterator[dict[str, str]]:
    """Yield each worker's environment variables: its share of the threads, and its GPUs."""
    threads = parallel.omp_env(max(1, parallel.available_cores() // workers), passive)
    for number in range(workers):
        yield threads | ({"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {})


def visible_gpus() -> list[str]:
    """Return the GPUs of this process, as `CUDA_VISIBLE_DEVICES` names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]


EXECUTORS: dict[str, Callable[[Path, str, RunOptions, Sequence[Cell]], Executor]] = {
    "local": _make_local,
    "ray": _make_ray,
    "slurm": _make_slurm,
    "slurm-local": _make_slurm,  # Slurm's way of running, without Slurm
}
