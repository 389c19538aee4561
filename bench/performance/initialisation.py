"""Time and memory of initialising self-prompts.

Time is relative to the one forward pass that every strategy needs. That pass and all strategies
alternate, round by round, on the same images in one process, and the ratio is of the minima over
rounds: a pass takes most of a minute on a CPU, and other load can only make it slower. Memory is
that of k-means on a large task, each time in a process of its own: on a CPU resident memory counts,
and what an allocator keeps from earlier work would hide part of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.models import VisionTransformer
from torch import Tensor

import methods
from bench.performance import measurement
from bench.performance.measurement import MEMORY_RATIO, PerformanceRow, Usage, measure_usage
from bench.training import devices
from methods import Method
from methods.shared.kmeans import cluster_centres
from methods.shared.structure import embed_images

METHODS = {  # by strategy
    "random": "spt_deep",
    "mean": "spt_deep_mean",
    "max": "spt_deep_max",
    "kmeans": "spt_deep_kmeans",
}
PUBLISHED_TIMES = {  # on CUB-200
    "random": "43.6 s",
    "mean": "42.6 s",
    "max": "64.9 s",
    "kmeans": "27.3 d",
}
CUB_IMAGES = 5394  # training images of CUB-200, validation included
DEFAULT_BAR, BARS = 1.10, {"kmeans": 1.6}  # a strategy's time, at most, in bare passes
CLUSTERING_BAR = 1.3  # memory of k-means, at most, in sizes of a layer's tokens, these included
CLUSTERS, CLUSTERING_BATCH = 20, 32
SHALLOW_NETWORK = {  # as many tokens as ViT-B/16's, and as wide, for little computation
    "model_name": "vit_base_patch16_224",
    "img_size": 112,
    "patch_size": 8,
    "depth": 2,
    "mlp_ratio": 0.25,
}


@dataclass(frozen=True)
class SyntheticBatches:
    """Batches of synthetic images that are already on a device."""

    images: Tensor  # (B, 3, H, W)
    batch: int

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for part in self.images.split(self.batch):
            yield part, torch.zeros(len(part))


def measure_initialisation(
    network: str, count: int, batch: int, prompts: int, rounds: int, device: torch.device
) -> Iterator[PerformanceRow]:
    """Time every strategy of deep prompts on a randomly initialised network and `count` images."""
    torch.manual_seed(0)
    bare = timm.create_model(network, num_classes=10, device=device).eval()
    shown = SyntheticBatches(smooth_noise(count, bare.patch_embed.img_size[0], device), batch)
    starts = {k: methods.create(v, prompts=prompts, share=1.0) for k, v in METHODS.items()}
    taken: dict[str, list[float]] = {name: [] for name in ("bare", *starts)}
    time_forward(bare, SyntheticBatches(shown.images[:batch], batch))  # warm-up
    for _ in range(rounds):
        taken["bare"].append(time_forward(bare, shown))
        for name, method in starts.items():
            taken[name].append(time_prepare(bare, method, shown))
    few = SyntheticBatches(shown.images[: max(batch, count // 8)], batch)
    for name, method in starts.items():
        row = _row(name, network, taken[name], taken["bare"], count)
        yield measurement.with_profile(row, partial(time_prepare, bare, method, few), device.type)


def smooth_noise(count: int, side: int, device: torch.device) -> Tensor:
    """Draw smooth noise, with uniform areas as in photographs, (count, 3, side, side)."""
    noise = torch.randn(count, 3, side // 8, side // 8, device=device)
    return F.interpolate(noise, side, mode="bilinear")


@torch.no_grad()
def time_forward(model: VisionTransformer, shown: SyntheticBatches) -> float:
    """Time a pass up to the input of the last block, which is all that deep prompts need."""
    start = _synchronised_time(shown)
    for images, _ in shown:
        state = embed_images(model, images)
        for block in model.blocks[:-1]:
            state = block(state)
    return _synchronised_time(shown) - start


def time_prepare(model: VisionTransformer, method: Method, shown: SyntheticBatches) -> float:
    """Time a method's `prepare`, and restore the model."""
    blocks, start = list(model.blocks), _synchronised_time(shown)
    method.prepare(model, shown)
    seconds = _synchronised_time(shown) - start
    for i, block in enumerate(blocks):
        model.blocks[i] = block
    return seconds


def _synchronised_time(shown: SyntheticBatches) -> float:
    devices.synchronise(shown.images.device)
    return perf_counter()


def _row(
    name: str, network: str, seconds: list[float], bare: list[float], count: int
) -> PerformanceRow:
    least = min(seconds)
    said = f"{name} prompts to the bare pass: {network}, {count} images"
    note = f"{least:.3g} s; the paper {PUBLISHED_TIMES[name]}" if count == CUB_IMAGES else ""
    return PerformanceRow(
        said, least / min(bare), least, len(seconds), BARS.get(name, DEFAULT_BAR), note=note
    )


def measure_clustering_memory(
    images: int, device: str, network: dict[str, Any] = SHALLOW_NETWORK
) -> Iterator[PerformanceRow]:
    """Measure the memory of k-means on a layer's tokens of `images`, relative to the tokens."""
    model = _make_model(network)
    shape = images, model.patch_embed.num_patches, model.embed_dim
    size = shape[0] * shape[1] * shape[2] * 4 / 2**20  # MiB of a layer, in fp32
    tokens = f"{shape[0] * shape[1]:,} tokens of width {shape[2]}"
    acts = {
        f"memory of k-means to the tokens: {CLUSTERS} clusters of {tokens}": kmeans_usage,
        f"memory of a k-means start to a layer's tokens: {shape[0]:,} images through "
        f"{len(model.blocks)} layers of {tokens}": kmeans_prepare_usage,
    }
    few = max(CLUSTERS, images // 16)  # enough for a profile
    for name, act in acts.items():
        found = measurement.run_in_subprocess(act, images, device, network)
        note = f"{found.mib:.0f} MiB, a layer {size:.0f}"
        row = PerformanceRow(
            name, found.mib / size, found.seconds, bar=CLUSTERING_BAR, unit=MEMORY_RATIO, note=note
        )
        yield measurement.with_profile(
            row, partial(act, few, device, network), device, measurement.MEMORY_KEYS
        )


def kmeans_usage(images: int, device: str, network: dict[str, Any]) -> Usage:
    """Measure k-means on random tokens, including the tokens themselves."""
    model = _make_model(network)
    shape = images * model.patch_embed.num_patches, model.embed_dim

    def act(count: int) -> Tensor:
        torch.manual_seed(0)
        return cluster_centres(torch.randn(count, shape[1], device=device), CLUSTERS)

    act(2 * CLUSTERS)  # warm-up
    return measure_usage(partial(act, shape[0]), device)


def kmeans_prepare_usage(images: int, device: str, network: dict[str, Any]) -> Usage:
    """Measure a method's `prepare` on images that are generated batch by batch."""
    model = _make_model(network).to(device)
    method = methods.create("spt_deep_kmeans", prompts=CLUSTERS)
    side = model.patch_embed.img_size[0]
    method.prepare(_make_model(network).to(device), NoiseBatches(1, side, device))  # warm-up
    batches = NoiseBatches(images, side, device)
    return measure_usage(partial(method.prepare, model, batches), device)


@dataclass(frozen=True)
class NoiseBatches:
    """Batches of noise, generated on the fly."""

    images: int
    side: int
    device: str

    def __len__(self) -> int:
        return -(-self.images // CLUSTERING_BATCH)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, self.images, CLUSTERING_BATCH):
            count = min(CLUSTERING_BATCH, self.images - start)
            yield (
                torch.randn(count, 3, self.side, self.side, device=self.device),
                torch.zeros(count),
            )


def _make_model(network: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    return timm.create_model(num_classes=10, **network).eval()
