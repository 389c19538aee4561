"""Which executor a run has, and with how many processes of how many threads."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch

from bench.execution.executors import Executor, local
from bench.utils import parallel
from bench.utils.errors import UserError


@dataclass(frozen=True)
class ExecutorOptions:
    """What the command line says of it."""

    workers: int | None  # None: one a GPU, or one; 0: this process
    per_gpu: int  # workers that share one
    timeout: float | None  # seconds that a cell may take
    plugins: Sequence[Path]
    processes: int  # that train a cell together
    address: str | None  # of a Ray cluster
    slurm: Mapping[str, str]  # what is asked of Slurm, as sbatch names it


def make_executor(name: str, results: Path, device: str, asked: ExecutorOptions) -> Executor:
    """The executor of that name; raises `UserError` where it cannot be had."""
    for option, given, of in (
        ("--address", asked.address, "ray"),
        ("--slurm", asked.slurm, "slurm"),
    ):
        if given and not name.startswith(of):
            raise UserError(f"{option} is for --executor {of}, not {name}")
    return EXECUTORS[name](results, device, asked)


def _make_local(results: Path, device: str, asked: ExecutorOptions) -> Executor:
    gpus = visible_gpus() if device == "cuda" else []
    require_gpus(asked.processes, device, len(gpus))
    places = gpu_groups(gpus, asked.processes)
    count = max(1, len(places) * asked.per_gpu) if asked.workers is None else asked.workers
    if not count:
        if asked.timeout:
            raise UserError("--timeout needs a process to stop: --workers from 1 was expected")
        return local.InProcessExecutor(results)
    shares = list(worker_environments(count, places))
    return local.LocalExecutor(local.worker_command(results, asked.plugins), shares, asked.timeout)


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
    """So many GPUs for each worker, as `CUDA_VISIBLE_DEVICES` names them; none is in two teams."""
    starts = range(0, len(gpus) - processes + 1, processes)
    return [",".join(gpus[start : start + processes]) for start in starts]


def _make_ray(results: Path, device: str, asked: ExecutorOptions) -> Executor:
    _require_package("ray", asked)
    if asked.processes > 1:
        raise UserError(
            f"--processes {asked.processes} needs one machine's GPUs for a cell, and ray gives it "
            "one: --executor local or slurm was expected"
        )
    from bench.execution.executors.ray import RayExecutor

    parts = (asked.address, asked.workers, asked.per_gpu, asked.timeout, asked.plugins)
    return RayExecutor(results, device, *parts)


def _make_slurm(cluster: str, results: Path, device: str, asked: ExecutorOptions) -> Executor:
    _require_package("submitit", asked)
    from bench.execution.executors.slurm import SlurmExecutor

    parts = (asked.slurm, asked.workers, asked.timeout, asked.plugins)
    return SlurmExecutor(results, device, cluster, *parts)


def _require_package(package: str, asked: ExecutorOptions) -> None:
    """Raise `UserError` where what the executor rests on is not installed, or nothing may run."""
    extra = {"ray": "ray", "submitit": "slurm"}[package]
    if find_spec(package) is None:
        raise UserError(
            f"--executor {extra} needs the package {package}: pip install -e '.[{extra}]'"
        )
    if asked.workers == 0:
        raise UserError(f"--executor {extra} needs --workers from 1")


def worker_environments(workers: int, gpus: Sequence[str]) -> Iterator[dict[str, str]]:
    """What each worker's environment says: its share of the threads, and its GPUs."""
    own = parallel.omp_env(max(1, parallel.available_cores() // workers))
    for number in range(workers):
        yield own | ({"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {})


def visible_gpus() -> list[str]:
    """The GPUs that are ours to use, as `CUDA_VISIBLE_DEVICES` names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]


EXECUTORS: dict[str, Callable[[Path, str, ExecutorOptions], Executor]] = {
    "local": _make_local,
    "ray": _make_ray,
    "slurm": partial(_make_slurm, "slurm"),
    "slurm-local": partial(_make_slurm, "local"),  # Slurm's way, without it
}
