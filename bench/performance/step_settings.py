"""Training steps of chosen methods by batch size and precision: speed, memory, how busy a GPU is.

At batch 32 a large GPU may wait for the launch of kernels: the share of a step in which one runs
says so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from time import perf_counter
from typing import Any

import torch
from torch.profiler import ProfilerActivity

import methods
from bench.config.overrides import override_recipe
from bench.config.recipe import load_recipe
from bench.models import backbones
from bench.performance import benchmarked_model
from bench.performance.benchmarked_model import BenchmarkedModel, time_interleaved
from bench.performance.measurement import PEAK_MEMORY, TRAIN_THROUGHPUT, PerformanceRow
from bench.training import devices
from methods import Unsupported
from methods.shared.memory import is_out_of_memory

CLASSES, RECIPE = 10, "unified"
PROFILED_STEPS = 5
BUSY = "% of a step in which a kernel runs"  # unit
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "full": ("full", {}),
    "linear": ("linear", {}),
    "bias": ("bias", {}),
    "lora": ("lora", {}),
    "adapter": ("adapter", {}),
    "peft_lora": ("peft_lora", {}),
    "spt_deep": ("spt_deep", {}),
    **{f"vpt_deep, {n} prompts": ("vpt_deep", {"prompts": n}) for n in (20, 50, 100)},
    **{
        f"vpt_deep, {n} prompts, concatenation": (
            "vpt_deep",
            {"prompts": n, "form": "concatenation"},
        )
        for n in (20, 50, 100)
    },
}


@dataclass(frozen=True)
class StepSettings:
    """Batch sizes and precisions, each measured with each."""

    batches: tuple[int, ...]
    precisions: tuple[str, ...]


def measure_settings(
    backbone: str, settings: StepSettings, rounds: int, device: str
) -> Iterator[PerformanceRow]:
    """Measure a step of each method in each setting; what does not fit is named."""
    for batch, precision in product(settings.batches, settings.precisions):
        for label, (method, fields) in METHODS.items():
            name = f"{label}, batch {batch}, {precision}"
            try:
                one = _build(backbone, method, fields, batch, precision, device)
                yield from _measure(name, one, rounds, device)
            except Unsupported as error:
                yield PerformanceRow(name, None, note=f"n/a: {error}")
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                yield PerformanceRow(name, None, note="out of memory")


def _build(
    backbone: str, method: str, fields: dict[str, Any], batch: int, precision: str, device: str
) -> BenchmarkedModel:
    devices.reset_peak_memory(torch.device(device))
    recipe = override_recipe(load_recipe(RECIPE), {"precision": precision})
    parts = backbones.find(backbone), methods.create(method, **fields), recipe
    lr = recipe.rates(method)["lr"]
    return benchmarked_model.build(*parts, lr, CLASSES, batch, torch.device(device))


def _measure(
    name: str, one: BenchmarkedModel, rounds: int, device: str
) -> Iterator[PerformanceRow]:
    [milliseconds] = time_interleaved([one.train_step], rounds, device)
    seconds, batch = milliseconds / 1000, len(one.images)
    yield PerformanceRow(name, batch / seconds, seconds, rounds, unit=TRAIN_THROUGHPUT)
    if one.images.device.type == "cuda":  # a CPU's resident memory keeps what went before
        peak = devices.peak_memory_mb(one.images.device)
        yield PerformanceRow(name, peak, n=rounds, unit=PEAK_MEMORY)
        yield PerformanceRow(name, 100 * busy_share(one), n=PROFILED_STEPS, unit=BUSY)


def busy_share(one: BenchmarkedModel) -> float:
    """Return the share of the time of a few steps in which a kernel of the GPU runs."""
    device = one.images.device
    with torch.profiler.profile(activities=[ProfilerActivity.CUDA]) as found:
        devices.synchronise(device)
        start = perf_counter()
        for _ in range(PROFILED_STEPS):
            one.train_step()
        devices.synchronise(device)
        seconds = perf_counter() - start
    spans = [(e.time_range.start, e.time_range.end) for e in found.events() if _is_kernel(e)]
    return covered(spans) / 1e6 / seconds


def _is_kernel(event: Any) -> bool:
    return event.device_type == torch.autograd.DeviceType.CUDA


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """Return the length of the union of spans of time, which may overlap, in their unit."""
    length, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        length += max(0.0, end - max(start, until))
        until = max(until, end)
    return length
