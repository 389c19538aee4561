"""Models between the start and the end of a training: mixed weights, or scaled updates.

A path is at the start for 0, at the adapted model for 1, and extrapolates beyond. Mixing follows
Wortsman et al. (2022), https://arxiv.org/abs/2109.01903, from any start: the merged weights of the
pretrained backbone, its head, and what the method adds before training.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from methods.shared.base import Model
from methods.shared.merge import merge_adapters
from methods.shared.scales import UpdateScale, require_linear_updates, set_share, update_scales

State = Mapping[str, Tensor]  # of a model, by name


class ModelPath(Protocol):
    """The models from the start of a training to its end."""

    def at(self, alpha: float) -> Model:
        """Return the model at `alpha`; the next call changes it."""


def mix(start: Tensor, end: Tensor, alpha: float) -> Tensor:
    """Return ``(1 - alpha) start + alpha end``; of whole numbers, such as counts, the end's."""
    if not end.is_floating_point():
        return end
    return ((1 - alpha) * start.double() + alpha * end.double()).to(end.dtype)


@dataclass(frozen=True)
class WeightPath:
    """Plain models whose weights are mixed of those of two merged ones."""

    model: Model
    start: State
    end: State

    def at(self, alpha: float) -> Model:
        self.model.load_state_dict(
            {name: mix(self.start[name], end, alpha) for name, end in self.end.items()}
        )
        return self.model


@dataclass(frozen=True)
class ScalePath:
    """Adapted models whose updates have a share of their scale; what else learnt is mixed."""

    model: Model
    scales: list[UpdateScale]
    start: State  # of what came with the backbone, and learnt
    end: State

    def at(self, alpha: float) -> Model:
        set_share(self.scales, alpha)
        mixed = {name: mix(self.start[name], end, alpha) for name, end in self.end.items()}
        self.model.load_state_dict(mixed, strict=False)
        return self.model


def weight_path(model: Model, start: State, _backbone_tensors: set[int]) -> WeightPath:
    """Return the path between the merged weights of a trained model and of its `start`.

    Raises `Unsupported` if it cannot be merged. The model stays as it is.
    """
    first, last = copy.deepcopy(model), copy.deepcopy(model)
    first.load_state_dict(start)
    for one in (first, last):
        merge_adapters(one)
    return WeightPath(first, copied_state(first), last.state_dict())


def scale_path(model: Model, start: State, backbone_tensors: set[int]) -> ScalePath:
    """Return the path along the scales of a trained model's updates from its `start`.

    The model itself is changed by it.
    """
    end = {
        name: tensor.detach().clone()
        for name, tensor in model.state_dict(keep_vars=True).items()
        if id(tensor) in backbone_tensors and not torch.equal(tensor, start[name])
    }
    return ScalePath(model, update_scales(model), start, end)


PATHS: dict[str, Callable[[Model, State, set[int]], ModelPath]] = {
    "weights": weight_path,
    "scale": scale_path,
}
"""The path of a trained model by the quantity that it goes along."""


def require_mergeable(model: Model, _backbone_tensors: set[int]) -> None:
    """Raise `Unsupported` unless the model, as attached, can be merged; it is merged then."""
    merge_adapters(model)


REQUIREMENTS: dict[str, Callable[[Model, set[int]], None]] = {
    "weights": require_mergeable,
    "scale": require_linear_updates,
}
"""Checks of a model, as attached, before any compute: each raises `Unsupported`."""


def copied_state(model: Model) -> State:
    """Return a copy of the model's tensors, which its training does not change."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
