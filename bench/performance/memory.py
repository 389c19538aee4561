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
from bench.performance import profiles, steps
from bench.performance.held import Held, alone, held
from bench.performance.rows import MEMORY, Row
from methods.clustering import cluster

BAR = 1.3  # of a layer's tokens may k-means take, these included
CLUSTERS, BATCH = 20, 32
SHALLOW = {  # tokens as many and as wide as ViT-B/16's, for little work
    "model_name": "vit_base_patch16_224",
    "img_size": 112,
    "patch_size": 8,
    "depth": 2,
    "mlp_ratio": 0.25,
}


def of_steps(network: str, batch: int, device: str) -> Iterator[Row]:
    """The memory of a step in the form of keys and values, to that of the concatenation."""
    for count in steps.FAST:
        fast, plain = (alone(step, network, count, form, batch, device) for form in steps.FORMS)
        said = f"a step, {count} deep prompts, {network}, batch {batch}"
        note = f"{fast.mib:.0f} MiB to {plain.mib:.0f}"
        name = f"memory of keys and values to concatenation: {said}"
        row = Row(name, fast.mib / plain.mib, fast.seconds, bar=1.0, unit=MEMORY, note=note)
        act = partial(step, network, count, steps.FORMS[0], batch, device)
        yield profiles.explained(row, act, device, profiles.MEMORY)


def step(network: str, count: int, form: str, batch: int, device: str) -> Held:
    """What the second step takes, of which the first, of one image, sets up what stays."""
    model, images = (
        steps.prompted(network, count, form, device),
        steps.noise(network, batch, device),
    )
    steps.step(model, images[:1])()
    return held(steps.step(model, images), device)


def of_clustering(images: int, device: str, network: dict[str, Any] = SHALLOW) -> Iterator[Row]:
    """The memory of k-means on a layer's tokens of so many images, to that of the tokens."""
    model = _model(network)
    shape = images, model.patch_embed.num_patches, model.embed_dim
    size = shape[0] * shape[1] * shape[2] * 4 / 2**20  # MiB of a layer, in fp32
    tokens = f"{shape[0] * shape[1]:,} tokens of width {shape[2]}"
    acts = {
        f"memory of k-means to the tokens: {CLUSTERS} clusters of {tokens}": clustered,
        f"memory of a k-means start to a layer's tokens: {shape[0]:,} images through "
        f"{len(model.blocks)} layers of {tokens}": started,
    }
    few = max(CLUSTERS, images // 16)  # for a profile
    for name, act in acts.items():
        found = alone(act, images, device, network)
        note = f"{found.mib:.0f} MiB, a layer {size:.0f}"
        row = Row(name, found.mib / size, found.seconds, bar=BAR, unit=MEMORY, note=note)
        yield profiles.explained(row, partial(act, few, device, network), device, profiles.MEMORY)


def clustered(images: int, device: str, network: dict[str, Any]) -> Held:
    """What clustering takes, the tokens included."""
    model = _model(network)
    shape = images * model.patch_embed.num_patches, model.embed_dim

    def act(count: int) -> Tensor:
        torch.manual_seed(0)
        return cluster(torch.randn(count, shape[1], device=device), CLUSTERS)

    act(2 * CLUSTERS)  # what is set up once is not counted
    return held(partial(act, shape[0]), device)


def started(images: int, device: str, network: dict[str, Any]) -> Held:
    """What a method's `prepare` takes, from images that are made as they are asked for."""
    model = _model(network).to(device)
    method = methods.create("spt_deep_kmeans", prompts=CLUSTERS)
    method.prepare(_model(network).to(device), Made(1, model.patch_embed.img_size[0], device))
    return held(
        partial(method.prepare, model, Made(images, model.patch_embed.img_size[0], device)), device
    )


@dataclass(frozen=True)
class Made:
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


def _model(network: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    return timm.create_model(num_classes=10, **network).eval()
