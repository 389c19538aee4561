"""Gradients of several models of one structure in one pass: their own tensors stacked.

`torch.func.vmap` runs one forward and backward pass over the stacked tensors, so that a step of K
models launches little more than that of one. What the models share, above all the frozen backbone,
is stored once. The models stay usable one by one: their tensors are views of the stacked ones.
"""

import copy
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad_and_value, vmap

from bench.models.training_tensors import trained_tensors
from bench.training.trainer import LossFunction
from methods.shared.base import Model

Place = tuple[dict[str, Any], str]
"""A module's dictionary of parameters or of buffers, and a key in it."""


class NotStackable(Exception):
    """The models cannot be trained in one pass; the message says why, in a phrase."""


@dataclass(frozen=True)
class ModelStack:
    """The tensors of K models, each (K, ...) by name; the models hold views of them."""

    models: Sequence[Model]  # the first runs the forward pass, with its tensors replaced
    trained: dict[str, Tensor]
    carried: dict[str, Tensor]  # not trained: those that differ, and those that a step changes
    parameters: dict[str, list[nn.Parameter]]  # of each model, the views of `trained`
    places: dict[str, list[Place]]  # of the first model's tensors

    def gradients(
        self, loss: LossFunction, inputs: Tensor, labels: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return the gradients, (K, ...) by name, and the losses, (K,), on one batch for all.

        `loss` is that of the first model. What it draws at random is the same for all models, as
        it is for models that are trained one by one from the same seed.
        """

        def loss_of_one(trained: dict[str, Tensor], carried: dict[str, Tensor]) -> Tensor:
            with self._replaced({**trained, **carried}):
                return loss(inputs, labels)

        gradients, losses = vmap(grad_and_value(loss_of_one), randomness="same")(
            self.trained, self.carried
        )
        return gradients, losses

    @contextmanager
    def _replaced(self, tensors: dict[str, Tensor]) -> Iterator[None]:
        """Put these tensors into the places of the first model's, for a while.

        Unlike `torch.func.functional_call`, which does not restore modules that have two names.
        """
        before = [(place, key, place[key]) for name in tensors for place, key in self.places[name]]
        for name, tensor in tensors.items():
            for place, key in self.places[name]:
                place[key] = tensor
        try:
            yield
        finally:
            for place, key, tensor in before:
                place[key] = tensor

    def set_gradients(self, name: str, stacked: Tensor) -> None:
        """Give the models' parameters of a name their gradients, (K, ...)."""
        for parameter, gradient in zip(self.parameters[name], stacked.unbind(), strict=True):
            parameter.grad = gradient


def stack_models(models: Sequence[Model], written: Collection[str] = ()) -> ModelStack:
    """Stack the tensors in which models differ; `written` names further ones that a step changes.

    From then on the models' tensors are views of the stacked ones. Raises `NotStackable` where the
    models do not train the same tensors.
    """
    trained = [trained_tensors(model) for model in models]
    if any(_describe(tensors) != _describe(trained[0]) for tensors in trained):
        raise NotStackable("the models do not train the same tensors")
    parameters = {name: [tensors[name] for tensors in trained] for name in trained[0]}
    others = [other_tensors(model) for model in models]
    carried = {
        name: [tensors[name] for tensors in others]
        for name in others[0]
        if name in written or _differ([tensors.get(name) for tensors in others])
    }
    return ModelStack(
        models,
        {name: _bind(tensors) for name, tensors in parameters.items()},
        {name: _bind(tensors) for name, tensors in carried.items()},
        parameters,
        _places(models[0]),
    )


def other_tensors(model: Model) -> dict[str, Tensor]:
    """Return the frozen parameters and the buffers, by name."""
    frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    return {**frozen, **dict(model.named_buffers())}


def _places(model: Model) -> dict[str, list[Place]]:
    """Return the places of each tensor by its name: several where modules share it."""
    by_id: dict[int, list[Place]] = {}
    for module in model.modules():
        for place in (module._parameters, module._buffers):
            for key, tensor in place.items():
                by_id.setdefault(id(tensor), []).append((place, key))
    tensors = {**trained_tensors(model), **other_tensors(model)}
    return {name: by_id[id(tensor)] for name, tensor in tensors.items()}


def copy_model(model: Model, shared_ids: Collection[int]) -> Model:
    """Copy a model, except for those of its frozen tensors that have one of these ids."""
    tensors = other_tensors(model).values()
    return copy.deepcopy(model, {id(t): t for t in tensors if id(t) in shared_ids})


def _describe(tensors: dict[str, nn.Parameter]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (t.shape, t.dtype) for name, t in tensors.items()}


def _differ(tensors: Sequence[Tensor | None]) -> bool:
    """Return whether the models' tensors of a name differ; raises where one has none."""
    first, *others = tensors
    return any(one is not first and not _equal(one, first) for one in others)


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None or one.shape != other.shape:
        raise NotStackable("the models do not hold the same tensors")
    return torch.equal(one, other)


def _bind(tensors: Sequence[Tensor]) -> Tensor:
    """Stack tensors, (K, ...), and make each a view of its part."""
    if len({id(t) for t in tensors}) < len(tensors):
        raise NotStackable("the models share a tensor that training changes")
    stacked = torch.stack([t.detach() for t in tensors])
    for tensor, part in zip(tensors, _parts(stacked), strict=True):
        tensor.data = part
    return stacked


def _parts(stacked: Tensor) -> Iterator[Tensor]:
    return (stacked[i] for i in range(len(stacked)))
