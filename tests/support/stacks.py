"""A small ViT with a method, in double precision, and batches of noise to train it on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter, process_time

import timm
import torch
from torch import Tensor

import methods
from bench.data.distributed import SINGLE_PROCESS, ProcessGroup
from bench.models import backbones, frozen_trunk
from bench.models.training_mode import set_training_mode
from bench.training import devices, trainer
from bench.training.stacking import copy_model, stack_models
from bench.training.trainer import LossFunction
from methods import Method
from methods.shared.base import Model

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 2}
CLASSES, BATCH = 5, 8  # 8 images have more tokens than any method has prompts
CALLS = 6  # of a step that is timed; the first one warms up
# what keeps tensors in float32 that are no part of the model's state, whatever the model does
SINGLE = {"peft_adamss", "da_vpt", "da_vpt_plus"}


def dtype_of(name: str) -> torch.dtype:
    return torch.float32 if name in SINGLE else torch.float64


def noise(seed: int, count: int = BATCH) -> tuple[Tensor, Tensor]:
    """Images, (B, 3, 32, 32), and labels, (B,)."""
    images = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return images, torch.arange(count) % CLASSES


def adapted(name: str) -> tuple[Method, Model]:
    """A method, and a model that it is attached to, in training mode."""
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=CLASSES, **SMALL)
    model.requires_grad_(False).get_classifier().requires_grad_(True)
    backbones.use_plain_attention(model)
    method = methods.create(name)
    method.prepare(model, [noise(1)])
    set_training_mode(model.to(dtype_of(name)))
    return method, model


def shared_ids(model: Model) -> set[int]:
    """The identities of the parameters that do not learn."""
    return {id(p) for p in model.parameters() if not p.requires_grad}


def copies(model: Model, count: int) -> list[Model]:
    return [copy_model(model, shared_ids(model)) for _ in range(count)]


def loss_of(method: Method) -> Callable[[Model], LossFunction]:
    """The function from a model to its loss of images, in its own precision."""
    return lambda model: partial(method.loss, model, frozen_trunk.forward_fn(model))


def scattered(models: list[Model]) -> list[Model]:
    """The models, each with noise of its own on what it trains."""
    generator = torch.Generator().manual_seed(3)
    for model in models:
        for p in model.parameters():
            if p.requires_grad:
                p.data.add_(0.05 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return models


@dataclass
class NoiseBatches:
    """Batches of noise, the same in each epoch; the last one is smaller."""

    dtype: torch.dtype
    sizes: tuple[int, ...] = (BATCH, BATCH - 3)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    process_group: ProcessGroup = SINGLE_PROCESS

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for i, size in enumerate(self.sizes):
            images, labels = noise(10 + i, size)
            yield images.to(self.device, self.dtype), labels.to(self.device)

    def forward_fn(self, model: Model) -> Callable[[Tensor], Tensor]:
        return frozen_trunk.forward_fn(model)

    forward_fn_of_copy = forward_fn


def step_times(name: str, trials: int, batch: int, device: torch.device) -> dict[str, float]:
    """Seconds of a training step of all trials, at best, in float32: alone and in one pass."""
    method, model = adapted(name)
    models = copies(model.float().to(device), trials)
    images, labels = (x.to(device) for x in noise(2, batch))
    optimisers = [
        torch.optim.AdamW([p for p in one.parameters() if p.requires_grad]) for one in models
    ]
    losses = [loss_of(method)(one) for one in models]
    stack = stack_models(models)

    def alone() -> None:
        for loss, optimiser in zip(losses, optimisers, strict=True):
            trainer.train_step(loss, optimiser, images, labels)

    def together() -> None:
        for parameter, gradient in stack.gradients(losses[0], images, labels)[0].items():
            stack.set_gradients(parameter, gradient)
        for optimiser in optimisers:
            optimiser.step()

    return {"alone": _best_seconds(alone, device), "together": _best_seconds(together, device)}


def _best_seconds(step: Callable[[], None], device: torch.device) -> float:
    """The least seconds of some calls: the processor's on a CPU, else those of the clock."""
    clock, seconds = process_time if device.type == "cpu" else perf_counter, []
    for _ in range(CALLS):
        devices.synchronise(device)
        start = clock()
        step()
        devices.synchronise(device)
        seconds.append(clock() - start)
    return min(seconds)
