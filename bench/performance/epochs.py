"""Epochs on kept features against epochs on images, and what of an epoch is not the network's.

Images are seeded noise at the backbone's size, for time does not hang on what they show. Pairs take
turns in one process, so that whatever else the machine does falls on both alike.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from time import perf_counter

import torch
from timm.models import VisionTransformer
from torch import Tensor

import methods
from bench.config.backbone import load_backbone
from bench.config.recipe import Recipe, load_recipe
from bench.data.distributed import ProcessGroup
from bench.data.loader import BatchLoader
from bench.data.splits import Examples
from bench.data.transforms import Transform
from bench.models import backbones, frozen_trunk
from bench.performance import measurement, method_cost
from bench.performance.measurement import EPOCH_SHARE, SPEEDUP, PerformanceRow
from bench.training import devices, trainer
from bench.training.feature_cache import FeatureCache

CLASSES, RATE, RECIPE = 10, 1e-3, "unified"
MAX_OVERHEAD, MIN_CACHE_SPEEDUP = 0.15, 30.0  # of an epoch, at most; times as fast, at least


@dataclass(frozen=True)
class Workload:
    """What is trained on what: a method's model on so many images, in batches."""

    method: str
    backbone: str
    images: int
    batch: int
    device: str
    precision: str = "fp32"

    @property
    def name(self) -> str:
        return f"{self.method}, {self.backbone}, {self.images} images, batch {self.batch}"

    def model(self) -> VisionTransformer:
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

    def fit(
        self, model: VisionTransformer, batches: trainer.BatchSource, epochs: int
    ) -> list[float]:
        """When training began and when each epoch ended, on `perf_counter`'s clock."""
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
    """How many times faster so many epochs are on features, the first pass of images included.

    In each of the `rounds` all epochs are trained on features, and one on images, which counts
    `epochs` times. The seconds are those of the former.
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


def class_token_speedup(work: Workload, rounds: int) -> PerformanceRow:
    """How many times faster a step is where the last block is computed for the class token alone.

    The seconds are those of a step in that form.
    """
    model, method = work.model().train(), methods.create(work.method)
    groups = trainer.param_groups(model, method, work.recipe(1), RATE)
    optimiser, (inputs, labels) = torch.optim.SGD(groups), next(iter(work.batches()))

    def step(scores: Callable[[Tensor], Tensor]) -> None:
        trainer.train_step(scores, optimiser, inputs, labels, work.precision)

    forms = (lambda: step(model), lambda: step(frozen_trunk.forward_fn(model)))
    plain, alone = method_cost.time_interleaved(forms, rounds, work.device)
    name = f"class token alone: {work.name}"
    return PerformanceRow(name, plain / alone, alone / 1000, rounds, unit=SPEEDUP)


@dataclass
class TimedBatches:
    """Batches that count the seconds for which the loop works on what they gave."""

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

    def forward_fn(self, model: VisionTransformer) -> Callable[[Tensor], Tensor]:
        return self.batches.forward_fn(model)


def loop_overhead(work: Workload, epochs: int) -> PerformanceRow:
    """The share of an epoch that is neither forward, nor backward, nor the optimiser's.

    The scheduler, some microseconds a step, is not told apart from the optimiser. The seconds are
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
