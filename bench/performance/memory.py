"""The most memory that a training step with deep prompts takes, and k-means of a large task.

Each is measured in a process of its own: on a CPU resident memory counts, and what an allocator
keeps of earlier work would hide what is taken.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import timm
import torch
from torch import Tensor

import methods
from bench.performance import measurement, training_step
from bench.performance.measurement import (
    MEMORY_RATIO,
    PerformanceRow,
    Usage,
    measure_usage,
    run_in_subprocess,
)
from methods.shared.kmeans import cluster_centres

BAR = 1.3  # of a layer's tokens may k-means take, these included
CLUSTERS, BATCH = 20, 32
SHALLOW_NETWORK = {  # tokens as many and as wide as ViT-B/16's, for little work
    "model_name": "vit_base_patch16_224",
    "img_size": 112,
    "patch_size": 8,
    "depth": 2,
    "mlp_ratio": 0.25,
}


def measure_step_memory(network: str, batch: int, device: str) -> Iterator[PerformanceRow]:
    """The memory of a step in the form of keys and values, to that of the concatenation."""
    for count in training_step.CONCATENATION_BARS:
        fast, plain = (
            run_in_subprocess(step_usage, network, count, form, batch, device)
            for form in training_step.FORMS
        )
        said = f"a step, {count} deep prompts, {network}, batch {batch}"
        note = f"{fast.mib:.0f} MiB to {plain.mib:.0f}"
        name = f"memory of keys and values to concatenation: {said}"
        row = PerformanceRow(
            name, fast.mib / plain.mib, fast.seconds, bar=1.0, unit=MEMORY_RATIO, note=note
        )
        act = partial(step_usage, network, count, training_step.FORMS[0], batch, device)
        yield measurement.with_profile(row, act, device, measurement.MEMORY_KEYS)


def step_usage(network: str, count: int, form: str, batch: int, device: str) -> Usage:
    """What the second step takes, of which the first, of one image, sets up what stays."""
    model, images = (
        training_step.prompted_network(network, count, form, device),
        training_step.noise_images(network, batch, device),
    )
    training_step.make_step(model, images[:1])()
    return measure_usage(training_step.make_step(model, images), device)


def measure_clustering_memory(
    images: int, device: str, network: dict[str, Any] = SHALLOW_NETWORK
) -> Iterator[PerformanceRow]:
    """The memory of k-means on a layer's tokens of so many images, to that of the tokens."""
    model = _make_model(network)
    shape = images, model.patch_embed.num_patches, model.embed_dim
    size = shape[0] * shape[1] * shape[2] * 4 / 2**20  # MiB of a layer, in fp32
    tokens = f"{shape[0] * shape[1]:,} tokens of width {shape[2]}"
    acts = {
        f"memory of k-means to the tokens: {CLUSTERS} clusters of {tokens}": kmeans_usage,
        f"memory of a k-means start to a layer's tokens: {shape[0]:,} images through "
        f"{len(model.blocks)} layers of {tokens}": kmeans_prepare_usage,
    }
    few = max(CLUSTERS, images // 16)  # for a profile
    for name, act in acts.items():
        found = run_in_subprocess(act, images, device, network)
        note = f"{found.mib:.0f} MiB, a layer {size:.0f}"
        row = PerformanceRow(
            name, found.mib / size, found.seconds, bar=BAR, unit=MEMORY_RATIO, note=note
        )
        yield measurement.with_profile(
            row, partial(act, few, device, network), device, measurement.MEMORY_KEYS
        )


def kmeans_usage(images: int, device: str, network: dict[str, Any]) -> Usage:
    """What clustering takes, the tokens included."""
    model = _make_model(network)
    shape = images * model.patch_embed.num_patches, model.embed_dim

    def act(count: int) -> Tensor:
        torch.manual_seed(0)
        return cluster_centres(torch.randn(count, shape[1], device=device), CLUSTERS)

    act(2 * CLUSTERS)  # what is set up once is not counted
    return measure_usage(partial(act, shape[0]), device)


def kmeans_prepare_usage(images: int, device: str, network: dict[str, Any]) -> Usage:
    """What a method's `prepare` takes, from images that are made as they are asked for."""
    model = _make_model(network).to(device)
    method = methods.create("spt_deep_kmeans", prompts=CLUSTERS)
    method.prepare(
        _make_model(network).to(device), NoiseBatches(1, model.patch_embed.img_size[0], device)
    )
    return measure_usage(
        partial(method.prepare, model, NoiseBatches(images, model.patch_embed.img_size[0], device)),
        device,
    )


@dataclass(frozen=True)
class NoiseBatches:
    """Batches of noise, none of which is kept."""

    images: int
    side: int
    device: str

    def __len__(self) -> int:
        return -(-self.images // BATCH)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, self.images, BATCH):
            count = min(BATCH, self.images - start)
            yield (
                torch.randn(count, 3, self.side, self.side, device=self.device),
                torch.zeros(count),
            )


def _make_model(network: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    return timm.create_model(num_classes=10, **network).eval()
