"""What deep prompts cost a training step: in each form, and beside the frozen network's own floor.

All forms take turns in one process on the same batch of seeded noise, without weights.
"""

from collections.abc import Callable, Iterator

import timm
import torch
import torch.nn.functional as F
from timm.models import VisionTransformer
from torch import Tensor

import methods
from bench import cost
from bench.performance import profiles
from bench.performance.rows import ERROR, Row
from methods.prompts import FORMS
from methods.surgery import embed

CLASSES = 10
FAST = {20: 0.93, 50: 0.84, 100: 0.72}  # prompts -> what keys and values may take of concatenation
FLOOR = {20: 1.10, 50: 1.15, 100: 1.25}  # and of the floor
Act = Callable[[], None]


def rows(network: str, batch: int, rounds: int, device: str) -> Iterator[Row]:
    """Ratios of steps, in fp32, for each number of prompts."""
    acts: dict[tuple[str, int], Act] = {
        (form, count): step(prompted(network, count, form, device), noise(network, batch, device))
        for count in FAST
        for form in FORMS
    }
    acts["floor", 0] = floor(bare(network, device), noise(network, batch, device))
    times = dict(zip(acts, cost.timed(list(acts.values()), rounds, device), strict=True))
    for count in FAST:
        fast, act = times["keys_and_values", count], acts["keys_and_values", count]
        others = {
            "concatenation": (times["concatenation", count], FAST[count]),
            "the floor": (times["floor", 0], FLOOR[count]),
        }
        for other, (taken, bar) in others.items():
            said = f"a step, {count} deep prompts, {network}, batch {batch}"
            name = f"keys and values to {other}: {said}"
            row = Row(name, fast / taken, fast / 1000, rounds, bar)
            yield profiles.explained(row, act, device)


def differences(network: str, batch: int, device: str) -> Iterator[Row]:
    """How far the two forms are apart on the same images: scores, and gradients."""
    images = noise(network, batch, device)
    for count in FAST:
        one, other = (outcome(prompted(network, count, form, device), images) for form in FORMS)
        said = f"{count} deep prompts, {network}, batch {batch}"
        apart = (one[0] - other[0]).abs().max().item()
        yield Row(f"largest difference of a score: {said}", apart, bar=1e-5, unit=ERROR)
        most = max(map(relative, one[1:], other[1:]))
        name = f"largest difference of a gradient, to its tensor's largest: {said}"
        yield Row(name, most, bar=1e-4, unit=ERROR)


def outcome(model: VisionTransformer, images: Tensor) -> list[Tensor]:
    """The scores, (B, classes), and the gradient of whatever learns."""
    step(model, images)()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [model(images).detach(), *gradients]


def relative(one: Tensor, other: Tensor) -> float:
    """The largest difference, to the largest number of the other."""
    return ((one - other).abs().max() / other.abs().max()).item()


def bare(network: str, device: str) -> VisionTransformer:
    """The frozen network, of seeded random weights."""
    torch.manual_seed(0)
    model = timm.create_model(network, pretrained=False, num_classes=CLASSES)
    return model.requires_grad_(False).train().to(device)


def prompted(network: str, count: int, form: str, device: str) -> VisionTransformer:
    """The same with deep prompts in one of `FORMS`, and a head that learns."""
    model = bare(network, device)
    model.get_classifier().requires_grad_(True)
    methods.create("vpt_deep", prompts=count, form=form).attach(model)
    return model.to(device)


def noise(network: str, batch: int, device: str) -> Tensor:
    """Seeded images, (B, 3, H, W), as large as the network wants."""
    side = timm.get_pretrained_cfg(network).input_size[-1]
    generator = torch.Generator(device).manual_seed(0)
    return torch.randn(batch, 3, side, side, generator=generator, device=device)


def step(model: VisionTransformer, images: Tensor) -> Act:
    """A training step but for the optimiser's part."""
    labels = torch.arange(len(images), device=images.device) % CLASSES

    def act() -> None:
        model.zero_grad(set_to_none=True)
        F.cross_entropy(model(images), labels).backward()

    return act


def floor(model: VisionTransformer, images: Tensor) -> Act:
    """Forward, and backward through activations alone: what a gradient at the first block costs."""

    def act() -> None:
        with torch.no_grad():
            state = embed(model, images)
        for block in model.blocks:
            state = block(state.requires_grad_(True))
        model.forward_head(model.norm(state)).sum().backward()

    return act
