"""Gradients that training batches make in a backbone's weights, from which methods choose some."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from methods.shared.base import Batches, Model
from methods.shared.modes import in_mode

Gradients = dict[str, Tensor]


def add_up_gradients(
    model: Model,
    tensors: Mapping[str, nn.Parameter],
    losses: Iterable[Tensor],
    change: Callable[[Tensor], Tensor] = torch.clone,
) -> Gradients:
    """Return the sums of the `losses`' gradients in the `tensors`, each first changed by `change`.

    `losses` are computed one by one, with the model in training mode. Afterwards the model is as
    it was, and so are the random numbers to come.
    """
    sums = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    with as_if_training(model, tensors.values()):
        for loss in losses:
            gradients = torch.autograd.grad(loss, list(tensors.values()), materialize_grads=True)
            for total, gradient in zip(sums.values(), gradients, strict=True):
                total += change(gradient)
    return sums


@contextmanager
def as_if_training(model: Model, tensors: Iterable[nn.Parameter]) -> Iterator[None]:
    """Train the model's `tensors`, in this context; nothing of the model stays changed by it."""
    tensors = list(tensors)
    learn = [tensor.requires_grad for tensor in tensors]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    device = next(model.parameters()).device
    with (
        in_mode(model, training=True),
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        torch.enable_grad(),
    ):
        try:
            for tensor in tensors:
                tensor.requires_grad_(True)
            yield
        finally:
            for tensor, learns in zip(tensors, learn, strict=True):
                tensor.requires_grad_(learns)
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)


def on_device(model: Model, batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches where the model's weights are."""
    weight = next(model.parameters())
    for images, labels in batches:
        yield images.to(weight), labels.to(weight.device)


def rebatched(batches: Batches, size: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the first `count` batches of `size` images, of which the last may have fewer.

    Reads no more of `batches` than they need.
    """
    held: list[tuple[Tensor, Tensor]] = []
    for batch in batches:
        held.append(batch)
        images, labels = (torch.cat(parts) for parts in zip(*held, strict=True))
        while len(labels) >= size:
            yield images[:size], labels[:size]
            images, labels, count = images[size:], labels[size:], count - 1
            if not count:
                return
        held = [(images, labels)]
    for images, labels in held:
        if len(labels):
            yield images, labels
