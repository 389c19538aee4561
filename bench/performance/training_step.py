"""Time, memory and accuracy of a training step with deep prompts, for each form of prompts.

The floor to compare with is a step of the frozen network alone. All forms alternate in one process
on the same batch of seeded noise, with random weights; memory is measured in a fresh process, since
what an allocator keeps from earlier work would hide part of it.
"""

from collections.abc import Callable, Iterator
from functools import partial

import timm
import torch
import torch.nn.functional as F
from timm.models import VisionTransformer
from torch import Tensor

import methods
from bench.performance import benchmarked_model, measurement
from bench.performance.measurement import (
    ABSOLUTE_DIFFERENCE,
    MEMORY_RATIO,
    PerformanceRow,
    Usage,
    measure_usage,
)
from methods.shared.prompts import FORMS
from methods.shared.structure import embed_images

CLASSES = 10
# Prompts -> time of keys and values, at most, relative to concatenation and to the floor.
CONCATENATION_BARS = {20: 0.93, 50: 0.84, 100: 0.72}
FLOOR_BARS = {20: 1.10, 50: 1.15, 100: 1.25}
TimedFunction = Callable[[], None]


def measure_steps(network: str, batch: int, rounds: int, device: str) -> Iterator[PerformanceRow]:
    """Measure ratios of step times, in fp32, for each number of prompts."""
    acts: dict[tuple[str, int], TimedFunction] = {
        (form, count): make_step(
            prompted_network(network, count, form, device), noise_images(network, batch, device)
        )
        for count in CONCATENATION_BARS
        for form in FORMS
    }
    acts["floor", 0] = make_floor(
        frozen_network(network, device), noise_images(network, batch, device)
    )
    times = dict(
        zip(
            acts,
            benchmarked_model.time_interleaved(list(acts.values()), rounds, device),
            strict=True,
        )
    )
    for count in CONCATENATION_BARS:
        fast, act = times["keys_and_values", count], acts["keys_and_values", count]
        others = {
            "concatenation": (times["concatenation", count], CONCATENATION_BARS[count]),
            "the floor": (times["floor", 0], FLOOR_BARS[count]),
        }
        for other, (taken, bar) in others.items():
            said = f"a step, {count} deep prompts, {network}, batch {batch}"
            name = f"keys and values to {other}: {said}"
            row = PerformanceRow(name, fast / taken, fast / 1000, rounds, bar)
            yield measurement.with_profile(row, act, device)


def measure_form_differences(network: str, batch: int, device: str) -> Iterator[PerformanceRow]:
    """Measure the largest differences of logits and gradients between the two forms."""
    images = noise_images(network, batch, device)
    for count in CONCATENATION_BARS:
        one, other = (
            scores_and_gradients(prompted_network(network, count, form, device), images)
            for form in FORMS
        )
        said = f"{count} deep prompts, {network}, batch {batch}"
        apart = (one[0] - other[0]).abs().max().item()
        yield PerformanceRow(
            f"largest difference of a score: {said}", apart, bar=1e-5, unit=ABSOLUTE_DIFFERENCE
        )
        most = max(map(relative_difference, one[1:], other[1:]))
        name = f"largest difference of a gradient, to its tensor's largest: {said}"
        yield PerformanceRow(name, most, bar=1e-4, unit=ABSOLUTE_DIFFERENCE)


def scores_and_gradients(model: VisionTransformer, images: Tensor) -> list[Tensor]:
    """Return the logits, (B, classes), and the gradients of all trainable parameters."""
    make_step(model, images)()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [model(images).detach(), *gradients]


def relative_difference(one: Tensor, other: Tensor) -> float:
    """Return the largest absolute difference, relative to the largest value of `other`."""
    return ((one - other).abs().max() / other.abs().max()).item()


def frozen_network(network: str, device: str) -> VisionTransformer:
    """Create the frozen network with seeded random weights."""
    torch.manual_seed(0)
    model = timm.create_model(network, pretrained=False, num_classes=CLASSES)
    return model.requires_grad_(False).train().to(device)


def prompted_network(network: str, count: int, form: str, device: str) -> VisionTransformer:
    """Create the network with deep prompts in one of `FORMS` and a trainable head."""
    model = frozen_network(network, device)
    model.get_classifier().requires_grad_(True)
    methods.create("vpt_deep", prompts=count, form=form).attach(model)
    return model.to(device)


def noise_images(network: str, batch: int, device: str) -> Tensor:
    """Draw seeded noise images, (B, 3, H, W), of the network's input size."""
    side = timm.get_pretrained_cfg(network).input_size[-1]
    generator = torch.Generator(device).manual_seed(0)
    return torch.randn(batch, 3, side, side, generator=generator, device=device)


def make_step(model: VisionTransformer, images: Tensor) -> TimedFunction:
    """Return a function that runs a training step without the optimiser."""
    labels = torch.arange(len(images), device=images.device) % CLASSES

    def act() -> None:
        model.zero_grad(set_to_none=True)
        F.cross_entropy(model(images), labels).backward()

    return act


def make_floor(model: VisionTransformer, images: Tensor) -> TimedFunction:
    """Return a step that backpropagates to the first block through activations only."""

    def act() -> None:
        with torch.no_grad():
            state = embed_images(model, images)
        for block in model.blocks:
            state = block(state.requires_grad_(True))
        model.forward_head(model.norm(state)).sum().backward()

    return act


def measure_step_memory(network: str, batch: int, device: str) -> Iterator[PerformanceRow]:
    """Measure the memory of a step with keys and values, relative to concatenation."""
    for count in CONCATENATION_BARS:
        fast, plain = (
            measurement.run_in_subprocess(step_usage, network, count, form, batch, device)
            for form in FORMS
        )
        said = f"a step, {count} deep prompts, {network}, batch {batch}"
        note = f"{fast.mib:.0f} MiB to {plain.mib:.0f}"
        name = f"memory of keys and values to concatenation: {said}"
        row = PerformanceRow(
            name, fast.mib / plain.mib, fast.seconds, bar=1.0, unit=MEMORY_RATIO, note=note
        )
        act = partial(step_usage, network, count, FORMS[0], batch, device)
        yield measurement.with_profile(row, act, device, measurement.MEMORY_KEYS)


def step_usage(network: str, count: int, form: str, batch: int, device: str) -> Usage:
    """Measure a step, after a first one of a single image as a warm-up."""
    model = prompted_network(network, count, form, device)
    images = noise_images(network, batch, device)
    make_step(model, images[:1])()
    return measure_usage(make_step(model, images), device)
