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
from bench.performance.rows import Row
from methods.surgery import embed

CLASSES = 10
FAST = {20: 0.93, 50: 0.84, 100: 0.72}  # prompts -> what keys and values may take of concatenation
FLOOR = {20: 1.10, 50: 1.15, 100: 1.25}  # and of the floor
Act = Callable[[], None]


def rows(network: str, batch: int, rounds: int, device: str) -> Iterator[Row]:
    """Ratios of steps, in fp32, for each number of prompts."""
    with torch.device(device):
        side = timm.create_model(network, pretrained=False).patch_embed.img_size[0]
        generator = torch.Generator(device).manual_seed(0)
        images = torch.randn(batch, 3, side, side, generator=generator)
        acts: dict[tuple[str, int], Act] = {("floor", 0): _floor(_bare(network), images)}
        for count in FAST:
            for form in ("keys_and_values", "concatenation"):
                acts[form, count] = _step(_prompted(network, count, form), images)
    times = dict(zip(acts, cost.timed(list(acts.values()), rounds, device), strict=True))
    for count in FAST:
        fast, plain = times["keys_and_values", count], times["concatenation", count]
        work = f"step, {count} deep prompts, {network}, batch {batch}"
        yield Row(
            f"keys and values to concatenation: {work}",
            fast / plain,
            fast / 1000,
            rounds,
            FAST[count],
        )
        floor = fast / times["floor", 0]
        yield Row(f"keys and values to the floor: {work}", floor, fast / 1000, rounds, FLOOR[count])


def _bare(network: str) -> VisionTransformer:
    torch.manual_seed(0)
    model = timm.create_model(network, pretrained=False, num_classes=CLASSES)
    return model.requires_grad_(False).train()


def _prompted(network: str, count: int, form: str) -> VisionTransformer:
    model = _bare(network)
    model.get_classifier().requires_grad_(True)
    methods.create("vpt_deep", prompts=count, form=form).attach(model)
    return model


def _step(model: VisionTransformer, images: Tensor) -> Act:
    labels = torch.arange(len(images), device=images.device) % CLASSES

    def act() -> None:
        model.zero_grad(set_to_none=True)
        F.cross_entropy(model(images), labels).backward()

    return act


def _floor(model: VisionTransformer, images: Tensor) -> Act:
    """Forward, and backward through activations alone: what a gradient at the first block costs."""

    def act() -> None:
        with torch.no_grad():
            state = embed(model, images)
        for block in model.blocks:
            state = block(state.requires_grad_(True))
        model.forward_head(model.norm(state)).sum().backward()

    return act
