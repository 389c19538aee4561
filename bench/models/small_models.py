"""A small backbone, batches of noise, and a method prepared and trained on them: for checks."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import timm
import torch
from torch import Tensor, nn

from bench.models.training_mode import set_training_mode
from methods import Method
from methods.shared.base import Model
from methods.shared.structure import heads_of

CLASSES, IMAGES, PIXELS = 5, 4, 64


class FakeBatches:
    """Batches of noise, (4, 3, 64, 64) each, which can be iterated over repeatedly."""

    def __init__(self, dtype: torch.dtype = torch.float32, count: int = 2, relabelled: int = 0):
        generator = torch.Generator().manual_seed(1)
        shape = (IMAGES, 3, PIXELS, PIXELS)
        self.batches = [
            (
                torch.randn(shape, generator=generator, dtype=dtype),
                (torch.randint(CLASSES, (IMAGES,), generator=generator) + relabelled) % CLASSES,
            )
            for _ in range(count)
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.batches)


def small_backbone(pooling: str = "token") -> Model:
    """Build a small frozen ViT with a trainable head: 64 patches, width 64, 3 blocks."""
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224",
        num_classes=CLASSES,
        global_pool=pooling,
        img_size=PIXELS,
        patch_size=8,
        embed_dim=64,
        depth=3,
        num_heads=4,
    )
    for p in model.parameters():  # biases and norms at their initial values would hide faults
        if p.ndim == 1:
            p.data.add_(torch.randn_like(p) * 0.1)
    nn.init.normal_(model.head.weight, std=0.02)
    model.requires_grad_(False)
    heads_of(model).requires_grad_(True)
    return model.eval()


def prepare_copy(method: Method, bare: Model, seed: int = 0) -> Model:
    """Return a copy of the backbone that the method has prepared for training."""
    torch.manual_seed(seed)
    model = copy.deepcopy(bare)
    method.prepare(model, FakeBatches(dtype_of(model)))
    return model.eval()


def dtype_of(model: Model) -> torch.dtype:
    """Return the precision of the model's parameters."""
    return next(iter(model.parameters())).dtype


def train_briefly(method: Method, model: Model, steps: int = 3) -> Model:
    """Train the model with a few steps of plain gradient descent, and return it."""
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    set_training_mode(model)
    for epoch, (images, labels) in enumerate(FakeBatches(dtype_of(model), steps), start=1):
        optimiser.zero_grad()
        method.loss(model, model, images, labels).backward()
        optimiser.step()
        method.after_epoch(model, epoch)
    return model.eval()


@contextmanager
def double_precision() -> Iterator[None]:
    """Make new tensors float64: float32 would hide small steps."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
