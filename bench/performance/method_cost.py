"""Cost of methods on the same images, backbone, batch size and machine: time, memory, throughput.

All methods alternate, with one training step and one evaluation each per round, so that other load
on the machine affects them alike. Peak memory is measured in a separate process. For throughput
methods are built, measured and dropped one by one, so that only one is in memory.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

import methods
from bench.config.recipe import load_recipe
from bench.config.suite import load_suite
from bench.models import backbones, compatibility, frozen_trunk, weight_files
from bench.models.training_mode import set_training_mode
from bench.performance.measurement import (
    TEST_THROUGHPUT,
    TRAIN_THROUGHPUT,
    VTAB_HOURS,
    PerformanceRow,
)
from bench.report.ledger_files import read_costs
from bench.training import devices, trainer
from bench.utils.files import write_atomically
from bench.utils.tables import csv_from_dicts
from methods import Method, Unsupported
from methods.shared.base import Model
from methods.shared.merge import merge_adapters

CLASSES, SEED, WARM_UP = 10, 0, 2
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


@dataclass
class BenchmarkedModel:
    """A model with its optimiser and one batch."""

    job: CostJob
    method: Method
    model: Model
    backbone_tensor_ids: set[int]
    images: Tensor  # (B, 3, H, W)
    labels: Tensor  # (B,)
    optimiser: torch.optim.Optimizer
    precision: str

    def train_step(self) -> None:
        """Run one training step."""
        set_training_mode(self.model)
        scores = frozen_trunk.forward_fn(self.model)
        loss = trainer.loss_fn(self.method, self.model, scores, self.precision)
        trainer.train_step(loss, self.optimiser, self.images, self.labels)

    @torch.no_grad()
    def eval_step(self) -> None:
        """Evaluate one batch."""
        self.model.eval()
        with trainer.autocast(self.images.device, self.precision):
            frozen_trunk.forward_fn(self.model)(self.images)

    def merged(self) -> "BenchmarkedModel | None":
        """Return a copy whose method is folded into the backbone's weights; None: it cannot be."""
        twin = replace(self, model=copy.deepcopy(self.model))
        try:
            merge_adapters(twin.model)
        except Unsupported:
            return None
        return twin


def measure_costs(jobs: Sequence[CostJob], rounds: int) -> Iterator[Cost | str]:
    """Yield the cost of each job, or a sentence if its method does not support the backbone."""
    models = []
    for job in jobs:
        try:
            models.append(build_model(job))
        except Unsupported as error:
            yield f"{job.method}: n/a: {error}"
    times = time_interleaved([one.train_step for one in models], rounds, jobs[0].device)
    merged = {one.job.method: twin for one in models if (twin := one.merged())}
    every = [one.eval_step for one in (*models, *merged.values())]
    tests = time_interleaved(every, rounds, jobs[0].device)
    test_merged = dict(zip(merged, tests[len(models) :], strict=True))
    for one, train_ms, test_ms in zip(models, times, tests[: len(models)], strict=True):
        found = train_ms, test_ms, test_merged.get(one.job.method)
        yield _cost_row(one, rounds, found, peak_memory(one.job))


def build_model(job: CostJob) -> BenchmarkedModel:
    """Build the job's model, its optimiser and one batch of seeded noise."""
    recipe, device = load_recipe(job.recipe), torch.device(job.device)
    backbone = backbones.find(job.backbone)
    torch.manual_seed(SEED)
    side = backbone.input.size
    images = torch.randn(job.batch, 3, side, side).to(device)  # (B, 3, H, W)
    labels = torch.arange(job.batch, device=device) % CLASSES  # (B,)
    model = backbones.move_to_device(backbones.load(backbone, CLASSES, recipe), device)
    bare, method = weight_files.tensor_ids(model), methods.create(job.method)
    compatibility.require_attachable(backbone, method)
    method.prepare(model, [(images, labels)])
    model.to(device)
    rate = recipe.rates(job.method)["lr"]
    optimiser = trainer.OPTIMISERS[recipe.optimiser](
        trainer.param_groups(model, method, recipe, rate)
    )
    precision = devices.resolve_precision(recipe.precision, device)
    return BenchmarkedModel(job, method, model, bare, images, labels, optimiser, precision)


def time_interleaved(acts: Sequence[Callable[[], None]], rounds: int, device: str) -> list[float]:
    """Time the calls in alternation; return the median milliseconds of each over the rounds."""
    taken: list[list[float]] = [[] for _ in acts]
    for number in range(WARM_UP + rounds):
        for act, times in zip(acts, taken, strict=True):
            devices.synchronise(torch.device(device))
            start = perf_counter()
            act()
            devices.synchronise(torch.device(device))
            if number >= WARM_UP:
                times.append(1000 * (perf_counter() - start))
    return [median(times) for times in taken]


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
    one: BenchmarkedModel, rounds: int, times: tuple[float, float, float | None], peak_mb: float
) -> Cost:
    train_ms, test_ms, merged_ms = times
    kept = weight_files.stored_tensors(one.method, one.model, one.backbone_tensor_ids)
    about = devices.describe_environment(one.images.device)
    return Cost(
        backbone=one.job.backbone,
        method=one.job.method,
        batch=one.job.batch,
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


def image_counts() -> tuple[int, int]:
    """Count the images that all tasks of VTAB-1k train on, over all epochs, and are tested on."""
    counts = [task.counts for task in load_suite(THROUGHPUT_SUITE).task]
    epochs = load_recipe(THROUGHPUT_RECIPE).epochs
    return epochs * sum(c["trainval"][0] for c in counts), sum(c["test"][0] for c in counts)
