"""The sections of the page: what each measures, and with how much work."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from bench.performance import epochs, growth, initialisation, memory, steps, tables, throughput
from bench.performance.epochs import Work
from bench.performance.initialisation import CUB
from bench.performance.rows import Row

BASE, MINI = "vit_base_patch16_224", "vit_mini_mae"


@dataclass(frozen=True)
class Sizes:
    """How much work there is on a kind of device."""

    batch: int  # of `base`
    started: int  # images that prompts start from
    clustered: int  # images whose tokens are clustered
    backbone: str  # whose images a second are told
    base: str = BASE
    mini: str = MINI
    large: str = f"{BASE}@random"
    kept: tuple[int, int] = (1000, 100)  # images and epochs on kept features
    rounds: int = 9
    shallow: dict[str, Any] = field(default_factory=lambda: memory.SHALLOW)
    plans: dict[str, growth.Plan] = field(default_factory=lambda: growth.PLANS)


SIZES = {
    "cpu": Sizes(batch=8, started=512, clustered=CUB, backbone=MINI),
    "cuda": Sizes(batch=32, started=CUB, clustered=CUB, backbone=f"{BASE}@random"),
}


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    title: str
    says: str
    measure: Callable[[Sizes, str], Iterator[Row]]  # sizes, device
    table: Callable[[Sequence[Row]], str] = tables.pairs


def _steps(sizes: Sizes, device: str) -> Iterator[Row]:
    yield from steps.rows(sizes.base, sizes.batch, sizes.rounds, device)
    yield from steps.differences(sizes.base, sizes.batch, device)


def _initialisation(sizes: Sizes, device: str) -> Iterator[Row]:
    place, count = torch.device(device), sizes.started
    yield from initialisation.rows(sizes.base, count, sizes.batch, 20, 2, place)


def _features(sizes: Sizes, device: str) -> Iterator[Row]:
    images, many = sizes.kept
    for method in ("linear", "vpt_deep"):
        yield epochs.outside_steps(Work(method, sizes.mini, min(images, 320), 32, device), epochs=2)
    few = Work("vpt_deep", sizes.large, 4 * sizes.batch, sizes.batch, device)
    yield replace(epochs.outside_steps(few, epochs=2), bar=0.05)
    yield epochs.kept_features(Work("linear", sizes.mini, images, 32, device), many, rounds=3)


def _memory(sizes: Sizes, device: str) -> Iterator[Row]:
    yield from memory.of_steps(sizes.base, sizes.batch, device)
    yield from memory.of_clustering(sizes.clustered, device, sizes.shallow)


def _growth(sizes: Sizes, device: str) -> Iterator[Row]:
    yield from growth.rows(sizes.plans, device)


def _throughput(sizes: Sizes, device: str) -> Iterator[Row]:
    yield from throughput.rows(sizes.backbone, 32, 3, device)


SECTIONS = {
    "steps": Section(
        "Training steps",
        "A step with deep prompts as keys and values beside the concatenation of the papers, and "
        "beside the floor: forward, and backward through the activations alone. All take turns in "
        "one process on the same batch; fp32, random weights. Both forms must compute the same.",
        _steps,
    ),
    "initialisation": Section(
        "Initialisation",
        "A start of 20 deep prompts beside the one forward pass that it cannot do without. The "
        "paper's seconds, on CUB-200, stand beside those of a GPU.",
        _initialisation,
    ),
    "features": Section(
        "Features that are kept",
        "Epochs on features of a frozen network beside epochs on images, the pass that makes them "
        "included; and what of an epoch is neither forward, nor backward, nor the optimiser's.",
        _features,
    ),
    "memory": Section(
        "Memory",
        "The most that is held beyond what was held before, resident on a CPU and allocated on a "
        "GPU; each in a process of its own. K-means clusters as many tokens as CUB-200's 5,394 "
        "training images give in a layer of ViT-B/16.",
        _memory,
    ),
    "growth": Section(
        "Growth",
        f"One thing is made larger at a time. The network: {growth.SAID}. The base is "
        f"{growth.said(growth.START)} for a start, {growth.said(growth.STEP)} for a step, whose "
        "images are its batch.",
        _growth,
        tables.growth,
    ),
    "throughput": Section(
        "Throughput",
        "Images a second of every method, on images: what is kept of frozen networks comes on "
        "top. On a CPU the network is the small one that comes with the project, whose hours say "
        "nothing of ViT-B/16's. Hours are projected from them for one seed of VTAB-1k: 19 tasks "
        "of 1,000 images for 100 epochs, and 387,904 test images once.",
        _throughput,
        tables.methods,
    ),
}
