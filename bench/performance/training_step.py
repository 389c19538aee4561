"""What deep prompts cost a training step: in each form, and beside the frozen network's own floor.

All forms take turns in one process on the same batch of seeded noise, without weights.
"""

# MERGED bench.performance.training_step: """Images a second of every method, and the hours that a paper's worth of runs would take.
#
# Each method is built, measured and dropped before the next, so that one at a time lies in memory.
# """
from collections.abc import Callable, Iterator

import timm
import torch
import torch.nn.functional as F
from timm.models import VisionTransformer
from torch import Tensor

import methods
from bench.config import recipe, suite
from bench.performance import measurement, method_cost
from bench.performance.measurement import (
    ABSOLUTE_DIFFERENCE,
    TEST_THROUGHPUT,
    TRAIN_THROUGHPUT,
    VTAB_HOURS,
    PerformanceRow,
)
from methods import Unsupported
from methods.shared.backbone import embed_images
from methods.shared.prompts import FORMS

CLASSES = 10
CONCATENATION_BARS = {
    20: 0.93,
    50: 0.84,
    100: 0.72,
}  # prompts -> what keys and values may take of concatenation
FLOOR_BARS = {20: 1.10, 50: 1.15, 100: 1.25}  # and of the floor
TimedFunction = Callable[[], None]


def measure_steps(network: str, batch: int, rounds: int, device: str) -> Iterator[PerformanceRow]:
    """Ratios of steps, in fp32, for each number of prompts."""
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
        zip(acts, method_cost.time_interleaved(list(acts.values()), rounds, device), strict=True)
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
    """How far the two forms are apart on the same images: scores, and gradients."""
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
    """The scores, (B, classes), and the gradient of whatever learns."""
    make_step(model, images)()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [model(images).detach(), *gradients]


def relative_difference(one: Tensor, other: Tensor) -> float:
    """The largest difference, to the largest number of the other."""
    return ((one - other).abs().max() / other.abs().max()).item()


def frozen_network(network: str, device: str) -> VisionTransformer:
    """The frozen network, of seeded random weights."""
    torch.manual_seed(0)
    model = timm.create_model(network, pretrained=False, num_classes=CLASSES)
    return model.requires_grad_(False).train().to(device)


def prompted_network(network: str, count: int, form: str, device: str) -> VisionTransformer:
    """The same with deep prompts in one of `FORMS`, and a head that learns."""
    model = frozen_network(network, device)
    model.get_classifier().requires_grad_(True)
    methods.create("vpt_deep", prompts=count, form=form).attach(model)
    return model.to(device)


def noise_images(network: str, batch: int, device: str) -> Tensor:
    """Seeded images, (B, 3, H, W), as large as the network wants."""
    side = timm.get_pretrained_cfg(network).input_size[-1]
    generator = torch.Generator(device).manual_seed(0)
    return torch.randn(batch, 3, side, side, generator=generator, device=device)


def make_step(model: VisionTransformer, images: Tensor) -> TimedFunction:
    """A training step but for the optimiser's part."""
    labels = torch.arange(len(images), device=images.device) % CLASSES

    def act() -> None:
        model.zero_grad(set_to_none=True)
        F.cross_entropy(model(images), labels).backward()

    return act


def make_floor(model: VisionTransformer, images: Tensor) -> TimedFunction:
    """Forward, and backward through activations alone: what a gradient at the first block costs."""

    def act() -> None:
        with torch.no_grad():
            state = embed_images(model, images)
        for block in model.blocks:
            state = block(state.requires_grad_(True))
        model.forward_head(model.norm(state)).sum().backward()

    return act


SUITE, RECIPE = "vtab1k", "unified"


def measure_throughput(
    backbone: str, batch: int, rounds: int, device: str
) -> Iterator[PerformanceRow]:
    """For every registered method its images a second, and the hours of VTAB-1k for one seed."""
    threads = torch.get_num_threads()
    for name in methods.names():
        job = method_cost.CostJob(name, backbone, RECIPE, batch, device, threads)
        try:
            yield from method_throughput(job, rounds)
        except Unsupported as error:
            yield PerformanceRow(name, None, unit=TRAIN_THROUGHPUT, note=f"n/a: {error}")


def method_throughput(job: method_cost.CostJob, rounds: int) -> Iterator[PerformanceRow]:
    """What a training step and a test batch take, as images a second; hours of both."""
    ready = method_cost.build_model(job)
    seconds = [
        ms / 1000
        for ms in method_cost.time_interleaved(
            (ready.train_step, ready.eval_step), rounds, job.device
        )
    ]
    note = f"{job.backbone}, images of {ready.images.shape[-1]} pixels, batch {job.batch}, "
    note += ready.precision
    for unit, taken in zip((TRAIN_THROUGHPUT, TEST_THROUGHPUT), seconds, strict=True):
        yield PerformanceRow(job.method, job.batch / taken, taken, rounds, unit=unit, note=note)
    hours = (
        sum(n * taken for n, taken in zip(image_counts(), seconds, strict=True)) / job.batch / 3600
    )
    yield PerformanceRow(job.method, hours, n=rounds, unit=VTAB_HOURS, note=note)


def image_counts() -> tuple[int, int]:
    """How many images all tasks of VTAB-1k train on, all epochs, and are tested on once."""
    counts = [task.counts for task in suite.load_suite(SUITE).task]
    epochs = recipe.load_recipe(RECIPE).epochs
    return epochs * sum(c["trainval"][0] for c in counts), sum(c["test"][0] for c in counts)
