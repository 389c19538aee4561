"""Cost of methods on the same images, backbone, batch size and machine: time, memory, throughput.

All methods alternate, with one training step and one evaluation each per round, so that other load
on the machine affects them alike. Peak memory is measured in a separate process. For throughput
methods are built, measured and dropped one by one, so that only one is in memory.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from multiprocessing import get_context
from pathlib import Path

import torch

import methods
from bench.config.recipe import load_recipe
from bench.config.suite import load_suite
from bench.models import backbones, weight_files
from bench.performance import benchmarked_model
from bench.performance.benchmarked_model import WARM_UP, BenchmarkedModel, time_interleaved
from bench.performance.measurement import (
    PEAK_MEMORY,
    TEST_THROUGHPUT,
    TRAIN_THROUGHPUT,
    VTAB_HOURS,
    PerformanceRow,
)
from bench.report.ledger_files import read_costs
from bench.training import devices
from bench.utils.files import write_atomically
from bench.utils.tables import csv_from_dicts
from methods import Unsupported

CLASSES = 10
FILE = "cost.csv"
THROUGHPUT_SUITE, THROUGHPUT_RECIPE = "vtab1k", "unified"


@dataclass(frozen=True)
class CostJob:
    """A method and the work that is the same for all methods."""

    method: str
    backbone: str
    recipe: str
    batch: int
    device: str
    threads: int


@dataclass(frozen=True)
class Cost:
    """A line of ``cost.csv``."""

    backbone: str
    method: str
    batch: int
    precision: str
    device: str
    threads: int
    torch: str
    rounds: int
    params: int  # trainable, including the head of `CLASSES` classes
    stored_bytes: int  # size of an export: all that was trained or added
    train_step_ms: float  # median over rounds
    test_batch_ms: float  # likewise
    test_merged_ms: float | None  # likewise, with the method folded into the backbone's weights
    peak_memory_mb: float  # above the process's memory before the model was built


def num_rounds(rounds: int) -> int:
    """Return how often `measure_costs` calls its `after_round`."""
    return 2 * (WARM_UP + rounds)


def measure_costs(
    jobs: Sequence[CostJob], rounds: int, after_round: Callable[[], None] = lambda: None
) -> Iterator[Cost | str]:
    """Yield the cost of each job, or a sentence if its method does not support the backbone.

    `after_round` is called after each round of training steps, and then of test batches.
    """
    models: dict[CostJob, BenchmarkedModel] = {}
    for job in jobs:
        try:
            models[job] = build_model(job)
        except Unsupported as error:
            yield f"{job.method}: n/a: {error}"
    device, own = jobs[0].device, list(models.values())
    times = time_interleaved([one.train_step for one in own], rounds, device, after_round)
    merged = {job: twin for job, one in models.items() if (twin := one.merged())}
    every = [one.eval_step for one in (*own, *merged.values())]
    tests = time_interleaved(every, rounds, device, after_round)
    test_merged = dict(zip(merged, tests[len(models) :], strict=True))
    for job, train_ms, test_ms in zip(models, times, tests[: len(models)], strict=True):
        found = train_ms, test_ms, test_merged.get(job)
        yield _cost_row(job, models[job], rounds, found, peak_memory(job))


def build_model(job: CostJob) -> BenchmarkedModel:
    """Build the job's model, its optimiser and one batch of seeded noise."""
    recipe, method = load_recipe(job.recipe), methods.create(job.method)
    backbone, lr = backbones.find(job.backbone), recipe.rates(job.method)["lr"]
    where = torch.device(job.device)
    return benchmarked_model.build(backbone, method, recipe, lr, CLASSES, job.batch, where)


def peak_memory(job: CostJob) -> float:
    """Peak memory, in MiB, of building the model and a few training steps in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        return alone.submit(_measure_peak_memory, job).result()


def _measure_peak_memory(job: CostJob) -> float:
    torch.set_num_threads(job.threads)
    device = torch.device(job.device)
    devices.reset_peak_memory(device)
    before = devices.peak_memory_mb(device)
    one = build_model(job)
    for _ in range(WARM_UP):
        one.train_step()
    devices.synchronise(device)
    return devices.peak_memory_mb(device) - before


def _cost_row(
    job: CostJob,
    one: BenchmarkedModel,
    rounds: int,
    times: tuple[float, float, float | None],
    peak_mb: float,
) -> Cost:
    train_ms, test_ms, merged_ms = times
    kept = weight_files.stored_tensors(one.method, one.model, one.backbone_tensor_ids)
    about = devices.describe_environment(one.images.device)
    return Cost(
        backbone=job.backbone,
        method=job.method,
        batch=job.batch,
        precision=one.precision,
        device=about["device_name"],
        threads=about["threads"],
        torch=about["torch"],
        rounds=rounds,
        params=sum(p.numel() for p in one.model.parameters() if p.requires_grad),
        stored_bytes=weight_files.num_bytes(kept),
        train_step_ms=round(train_ms, 3),
        test_batch_ms=round(test_ms, 3),
        test_merged_ms=None if merged_ms is None else round(merged_ms, 3),
        peak_memory_mb=round(peak_mb, 1),
    )


def write_csv(found: Sequence[Cost], results: Path) -> Path:
    """Write ``cost.csv`` into the results folder, and keep its lines of other backbones.

    Return its path; raises `UserError` for a file there that is none of this command's.
    """
    path, heads = results / FILE, [field.name for field in fields(Cost)]
    measured = {one.backbone for one in found}
    kept = [line for line in read_costs(results) if line["backbone"] not in measured]
    write_atomically(path, csv_from_dicts(heads, [*kept, *map(asdict, found)]).encode())
    return path


def measure_throughput(
    backbone: str, batch: int, rounds: int, device: str
) -> Iterator[PerformanceRow]:
    """Measure every method's images per second, and project the hours of VTAB-1k for one seed."""
    threads = torch.get_num_threads()
    for name in methods.names():
        job = CostJob(name, backbone, THROUGHPUT_RECIPE, batch, device, threads)
        try:
            yield from method_throughput(job, rounds)
        except Unsupported as error:
            yield PerformanceRow(name, None, unit=TRAIN_THROUGHPUT, note=f"n/a: {error}")


def method_throughput(job: CostJob, rounds: int) -> Iterator[PerformanceRow]:
    """Measure images per second in training and evaluation; project the hours of both."""
    devices.reset_peak_memory(torch.device(job.device))
    one = build_model(job)
    times = time_interleaved((one.train_step, one.eval_step), rounds, job.device)
    seconds = [ms / 1000 for ms in times]
    note = f"{job.backbone}, images of {one.images.shape[-1]} pixels, batch {job.batch}, "
    note += one.precision
    for unit, taken in zip((TRAIN_THROUGHPUT, TEST_THROUGHPUT), seconds, strict=True):
        yield PerformanceRow(job.method, job.batch / taken, taken, rounds, unit=unit, note=note)
    hours = (
        sum(n * taken for n, taken in zip(image_counts(), seconds, strict=True)) / job.batch / 3600
    )
    yield PerformanceRow(job.method, hours, n=rounds, unit=VTAB_HOURS, note=note)
    if one.images.device.type == "cuda":  # a CPU's resident memory keeps what went before
        peak = devices.peak_memory_mb(one.images.device)
        yield PerformanceRow(job.method, peak, n=rounds, unit=PEAK_MEMORY, note=note)


def image_counts() -> tuple[int, int]:
    """Count the images that all tasks of VTAB-1k train on, over all epochs, and are tested on."""
    counts = [task.counts for task in load_suite(THROUGHPUT_SUITE).task]
    epochs = load_recipe(THROUGHPUT_RECIPE).epochs
    return epochs * sum(c["trainval"][0] for c in counts), sum(c["test"][0] for c in counts)
