"""What methods cost on the same work: the same images, backbone, batch and machine.

Every method takes one training step and one evaluation in each round, in turn, so that whatever
else the machine does falls on all alike. Memory is taken in a process of its own.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from timm.models import VisionTransformer
from torch import Tensor

import methods
from bench.config.recipe import load_recipe
from bench.models import backbones, compatibility, frozen_trunk, weight_files
from bench.training import devices, trainer
from bench.utils.files import write_atomically
from methods import Unsupported

CLASSES, SEED, WARM_UP = 10, 0, 2
FILE = "cost.csv"


@dataclass(frozen=True)
class CostJob:
    """A method and the work that all methods get."""

    method: str
    backbone: str
    recipe: str
    batch: int
    device: str
    threads: int


@dataclass(frozen=True)
class Cost:
    """A line of the file."""

    backbone: str
    method: str
    batch: int
    precision: str
    device: str
    threads: int
    torch: str
    rounds: int
    params: int  # trainable, the head of `CLASSES` scores included
    stored_bytes: int  # what `export` writes: what was trained, and what a method adds beside
    train_step_ms: float  # median over rounds
    test_batch_ms: float  # likewise
    peak_memory_mb: float  # beyond what the process held before it built the model


@dataclass
class BenchmarkedModel:
    """A model at work."""

    job: CostJob
    model: VisionTransformer
    backbone_tensor_ids: set[int]
    images: Tensor  # (B, 3, H, W)
    labels: Tensor  # (B,)
    optimiser: torch.optim.Optimizer
    precision: str

    def train_step(self) -> None:
        """One training step."""
        self.model.train()
        scores = frozen_trunk.forward_fn(self.model)
        trainer.train_step(scores, self.optimiser, self.images, self.labels, self.precision)

    @torch.no_grad()
    def eval_step(self) -> None:
        """One evaluation."""
        self.model.eval()
        with trainer.autocast(self.images.device, self.precision):
            frozen_trunk.forward_fn(self.model)(self.images)


def measure_costs(jobs: Sequence[CostJob], rounds: int) -> Iterator[Cost | str]:
    """The cost of each job's method; a sentence for one that cannot serve the backbone."""
    at_work = []
    for job in jobs:
        try:
            at_work.append(build_model(job))
        except Unsupported as error:
            yield f"{job.method}: n/a: {error}"
    times = time_interleaved([one.train_step for one in at_work], rounds, jobs[0].device)
    tests = time_interleaved([one.eval_step for one in at_work], rounds, jobs[0].device)
    for one, train_ms, test_ms in zip(at_work, times, tests, strict=True):
        yield _cost_row(one, rounds, train_ms, test_ms, peak_memory(one.job))


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
    return BenchmarkedModel(job, model, bare, images, labels, optimiser, precision)


def time_interleaved(acts: Sequence[Callable[[], None]], rounds: int, device: str) -> list[float]:
    """Milliseconds that each act takes, the median over rounds in which they take turns."""
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
    """MiB that building the model and a few training steps take, in a process of their own."""
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
    one: BenchmarkedModel, rounds: int, train_ms: float, test_ms: float, peak_mb: float
) -> Cost:
    kept = weight_files.adapter_state_dict(one.model, one.backbone_tensor_ids).values()
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
        stored_bytes=sum(tensor.numel() * tensor.element_size() for tensor in kept),
        train_step_ms=round(train_ms, 3),
        test_batch_ms=round(test_ms, 3),
        peak_memory_mb=round(peak_mb, 1),
    )


def write_csv(found: Sequence[Cost], results: Path) -> Path:
    """Keep the lines as ``cost.csv`` in the results folder; the file's path."""
    text = io.StringIO()
    lines = csv.DictWriter(text, [f.name for f in fields(Cost)], lineterminator="\n")
    lines.writeheader()
    lines.writerows(asdict(cost) for cost in found)
    path = results / FILE
    write_atomically(path, text.getvalue().encode())
    return path
