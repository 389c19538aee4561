"""Speed of epochs on cached features against epochs on images, and the training loop's overhead.

Images are seeded noise of the backbone's input size, since time does not depend on their content.
The two of a pair alternate in one process, so that other load on the machine affects both alike.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

import methods
from bench.config.backbone import load_backbone
from bench.config.recipe import Recipe, load_recipe
from bench.data.distributed import ProcessGroup
from bench.data.loader import BatchLoader
from bench.data.splits import Examples
from bench.data.transforms import Transform
from bench.models import backbones
from bench.performance import measurement
from bench.performance.measurement import EPOCH_SHARE, SPEEDUP, PerformanceRow
from bench.training import devices, trainer
from bench.training.feature_cache import FeatureCache
from methods.shared.base import Model

CLASSES, RATE, RECIPE = 10, 1e-3, "unified"
MAX_OVERHEAD = 0.15  # share of an epoch
MIN_CACHE_SPEEDUP = 30.0  # times as fast


@dataclass(frozen=True)
class Workload:
    """A method, its backbone, and the number and batch size of the images that it trains on."""

    method: str
    backbone: str
    images: int
    batch: int
    device: str
    precision: str = "fp32"

    @property
    def name(self) -> str:
        return f"{self.method}, {self.backbone}, {self.images} images, batch {self.batch}"

    def model(self) -> Model:
        torch.manual_seed(0)
        backbone = backbones.resolve(load_backbone(self.backbone))
        model = backbones.load(backbone, CLASSES, load_recipe(RECIPE))
        backbones.move_to_device(model, torch.device(self.device))
        methods.create(self.method).prepare(model, self.batches())
        return model.to(self.device)

    def batches(self) -> BatchLoader:
        size = backbones.resolve(load_backbone(self.backbone)).input.size
        order = torch.Generator().manual_seed(0)
        shape = (self.images, 3, size, size)
        pixels = torch.randint(256, shape, generator=order, dtype=torch.uint8)
        examples, view = (
            Examples(torch.arange(self.images) % CLASSES, pixels),
            Transform("squash", "bicubic"),
        )
        half, device = (0.5,) * 3, torch.device(self.device)
        return BatchLoader(examples, view, size, self.batch, half, half, device, order)

    def recipe(self, epochs: int) -> Recipe:
        return replace(load_recipe(RECIPE), batch=self.batch, epochs=epochs, warmup_epochs=0)

    def fit(self, model: Model, batches: trainer.BatchSource, epochs: int) -> list[float]:
        """Train; return the times of the start and of the end of each epoch, by `perf_counter`."""
        device = torch.device(self.device)

        def ended(*_: object) -> None:
            devices.synchronise(device)
            times.append(perf_counter())

        devices.synchronise(device)
        times = [perf_counter()]
        method = methods.create(self.method)
        trainer.fit(model, method, batches, self.recipe(epochs), RATE, self.precision, ended)
        return times


def cache_speedup(work: Workload, epochs: int, rounds: int) -> PerformanceRow:
    """Measure the speed-up of epochs on cached features, including the pass that computes them.

    Each of the `rounds` trains all epochs on features, and one on images, which counts `epochs`
    times. The seconds are those on features.
    """
    model, ratios, seconds = work.model(), [], []
    images = work.batches()
    work.fit(model, images, 1)  # the first pass of a process is slower
    for _ in range(rounds):
        features = work.fit(model, FeatureCache(images, work.precision, epochs), epochs)
        plain = work.fit(model, images, 1)
        seconds.append(features[-1] - features[0])
        ratios.append(epochs * (plain[-1] - plain[0]) / seconds[-1])
    name = f"{epochs} epochs on features to as many on images: {work.name}"
    row = PerformanceRow(
        name, median(ratios), median(seconds), rounds, MIN_CACHE_SPEEDUP, least=True, unit=SPEEDUP
    )
    act = partial(work.fit, model, FeatureCache(images, work.precision, epochs), epochs)
    return measurement.with_profile(row, act, work.device)


@dataclass
class TimedBatches:
    """Batches that time how long the loop works on each of them."""

    batches: BatchLoader
    busy_seconds: float = 0.0

    @property
    def device(self) -> torch.device:
        return self.batches.device

    @property
    def process_group(self) -> ProcessGroup:
        return self.batches.process_group

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self.batches:
            devices.synchronise(self.device)
            start = perf_counter()
            yield batch
            devices.synchronise(self.device)
            self.busy_seconds += perf_counter() - start

    def forward_fn(self, model: Model) -> Callable[[Tensor], Tensor]:
        return self.batches.forward_fn(model)


def loop_overhead(work: Workload, epochs: int) -> PerformanceRow:
    """Measure the share of an epoch spent outside forward pass, backward pass and optimiser.

    The scheduler, some microseconds per step, counts as part of the optimiser. The seconds are
    those of an epoch.
    """
    model, batches = work.model(), TimedBatches(work.batches())
    work.fit(model, batches, 1)
    batches.busy_seconds = 0.0
    times = work.fit(model, batches, epochs)
    whole = times[-1] - times[0]
    name, share = f"outside the steps: {work.name}", 1 - batches.busy_seconds / whole
    row = PerformanceRow(name, share, whole / epochs, epochs, MAX_OVERHEAD, unit=EPOCH_SHARE)
    return measurement.with_profile(row, partial(work.fit, model, batches, 1), work.device)
