"""Scaling of time and memory with images, prompts and layers: of initialisation and of a step.

One quantity is varied at a time, and a setting that occurs twice is measured once. The network is
small, so that everything takes minutes, but it has as many tokens as ViT-B/16.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import timm
import torch
from timm.models import VisionTransformer

import methods
from bench.performance import training_step
from bench.performance.initialisation import (
    METHODS,
    SyntheticBatches,
    smooth_noise,
    time_forward,
    time_prepare,
)
from bench.performance.measurement import MIB, PerformanceRow, Usage, measure_usage
from methods.shared.prompts import FORMS

BATCH = 8  # of images that prompts are initialised from; small against a layer's tokens
NETWORK: dict[str, Any] = {
    "model_name": "vit_tiny_patch16_224",
    "img_size": 112,
    "patch_size": 8,
    "num_classes": training_step.CLASSES,
}
NETWORK_TEXT = "ViT-Ti/8 (width 192) on images of 112 pixels: 196 tokens; random weights, fp32"
BARE_PASS = "bare"  # the forward pass that every initialisation needs
INITIALISATION, TRAINING_STEP = "initialisation", "training step"


@dataclass(frozen=True)
class ScalingSetting:
    """Sizes of the work; the images are those of an initialisation, or a step's batch."""

    images: int
    prompts: int  # with k-means, clusters
    layers: int


@dataclass(frozen=True)
class ScalingPlan:
    """A base setting, the sizes of each field to vary, and the repetitions."""

    base: ScalingSetting
    sizes: dict[str, tuple[int, ...]]
    rounds: int


PLANS = {
    INITIALISATION: ScalingPlan(
        ScalingSetting(images=128, prompts=20, layers=4),
        {"images": (32, 128, 512), "prompts": (5, 20, 80, 320), "layers": (2, 4, 8, 16)},
        rounds=3,
    ),
    TRAINING_STEP: ScalingPlan(
        ScalingSetting(images=16, prompts=20, layers=4),
        {"images": (4, 16, 64), "prompts": (5, 20, 80, 320), "layers": (2, 4, 8, 16)},
        rounds=3,
    ),
}


def measure_scaling(
    plans: dict[str, ScalingPlan], device: str, network: dict[str, Any] = NETWORK
) -> Iterator[PerformanceRow]:
    """Measure additional MiB and seconds, one row per series and size."""
    for what, plan in plans.items():
        series, acts = SERIES[what]
        for name in series:
            found: dict[ScalingSetting, Usage] = {}
            for against, size in ((a, s) for a, sizes in plan.sizes.items() for s in sizes):
                setting = replace(plan.base, **{against: size})
                if setting not in found:
                    act = acts(setting, name, device, network)
                    rounds = plan.rounds if found else plan.rounds + 1  # the first is a warm-up
                    found[setting] = measure_repeatedly(act, rounds, plan.rounds, device)
                one = found[setting]
                row = PerformanceRow(f"{what}, {name}", one.mib, one.seconds, plan.rounds, unit=MIB)
                yield replace(row, against=against, at=float(size))


def describe_base(what: str) -> str:
    """Describe a plan's base setting."""
    base = PLANS[what].base
    return f"{base.images} images, {base.prompts} prompts and {base.layers} layers"


def measure_repeatedly(act: Callable[[], object], times: int, count: int, device: str) -> Usage:
    """Measure `times` times; return the median time and peak memory of the last `count`."""
    taken = [measure_usage(act, device) for _ in range(times)][-count:]
    return Usage(median(one.seconds for one in taken), max(one.mib for one in taken))


def _make_initialisation(
    setting: ScalingSetting, strategy: str, device: str, network: dict[str, Any]
) -> Callable[[], object]:
    model = _make_network(setting, device, network).eval()
    side = model.patch_embed.img_size[0]
    shown = SyntheticBatches(smooth_noise(setting.images, side, torch.device(device)), BATCH)
    if strategy == BARE_PASS:
        return partial(time_forward, model, shown)
    method = methods.create(METHODS[strategy], prompts=setting.prompts, share=1.0)
    return partial(time_prepare, model, method, shown)


def _make_training_step(
    setting: ScalingSetting, form: str, device: str, network: dict[str, Any]
) -> Callable[[], object]:
    model = _make_network(setting, device, network).requires_grad_(False)
    model.get_classifier().requires_grad_(True)
    methods.create("vpt_deep", prompts=setting.prompts, form=form).attach(model)
    side = model.patch_embed.img_size[0]
    return training_step.make_step(
        model.to(device), torch.randn(setting.images, 3, side, side, device=device)
    )


def _make_network(
    setting: ScalingSetting, device: str, network: dict[str, Any]
) -> VisionTransformer:
    torch.manual_seed(0)
    return timm.create_model(**network, depth=setting.layers).to(device)


SERIES = {
    INITIALISATION: ((BARE_PASS, *METHODS), _make_initialisation),
    TRAINING_STEP: (FORMS, _make_training_step),
}
