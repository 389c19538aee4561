"""A model with a method, its optimiser and one batch of noise, to measure a training step."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from bench.config.recipe import Recipe
from bench.models import backbones, compatibility, frozen_trunk, weight_files
from bench.models.backbones import Backbone
from bench.models.training_mode import set_training_mode
from bench.training import devices, numerics, trainer
from methods import Method, Unsupported
from methods.shared.base import Model
from methods.shared.merge import merge_adapters

SEED, WARM_UP = 0, 2


@dataclass
class BenchmarkedModel:
    """A model with its optimiser and one batch."""

    method: Method
    model: Model
    backbone_tensor_ids: set[int]
    images: Tensor  # (B, 3, H, W)
    labels: Tensor  # (B,)
    optimiser: torch.optim.Optimizer
    precision: str

    def train_step(self) -> None:
        """Run one training step."""
        set_training_mode(self.model)
        scores = frozen_trunk.forward_fn(self.model)
        loss = trainer.loss_fn(self.method, self.model, scores, self.precision)
        with numerics.arithmetic(self.precision):
            trainer.train_step(loss, self.optimiser, self.images, self.labels)

    @torch.no_grad()
    def eval_step(self) -> None:
        """Evaluate one batch."""
        self.model.eval()
        device = self.images.device
        with numerics.arithmetic(self.precision), trainer.autocast(device, self.precision):
            frozen_trunk.forward_fn(self.model)(self.images)

    def merged(self) -> "BenchmarkedModel | None":
        """Return a copy whose method is folded into the backbone's weights; None: it cannot be."""
        twin = replace(self, model=copy.deepcopy(self.model))
        try:
            merge_adapters(twin.model)
        except Unsupported:
            return None
        return twin


def build(
    backbone: Backbone,
    method: Method,
    recipe: Recipe,
    lr: float,
    classes: int,
    batch: int,
    device: torch.device,
) -> BenchmarkedModel:
    """Build a model as a cell does, with one batch of seeded noise.

    Raises `Unsupported` if the method does not support the backbone.
    """
    torch.manual_seed(SEED)
    side = backbone.input.size
    images = torch.randn(batch, 3, side, side).to(device)  # (B, 3, H, W)
    labels = torch.arange(batch, device=device) % classes  # (B,)
    model = backbones.move_to_device(backbones.load(backbone, classes, recipe), device)
    bare = weight_files.tensor_ids(model)
    compatibility.require_attachable(backbone, method)
    method.prepare(model, [(images, labels)])
    model.to(device)
    optimiser = trainer.OPTIMISERS[recipe.optimiser](
        trainer.param_groups(model, method, recipe, lr)
    )
    precision = devices.resolve_precision(recipe.precision, device)
    return BenchmarkedModel(method, model, bare, images, labels, optimiser, precision)


def time_interleaved(
    acts: Sequence[Callable[[], None]],
    rounds: int,
    device: str,
    after_round: Callable[[], None] = lambda: None,
) -> list[float]:
    """Time the calls in alternation; return the median milliseconds of each over the rounds."""
    taken: list[list[float]] = [[] for _ in acts]
    for number in range(WARM_UP + rounds):
        for act, times in zip(acts, taken, strict=True):
            devices.synchronise(torch.device(device))
            start = perf_counter()
            act()
            devices.synchronise(torch.device(device))
            if number >= WARM_UP:
                times.append(1000 * (perf_counter() - start))
        after_round()
    return [median(times) for times in taken]
