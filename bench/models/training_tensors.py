"""Tensors that training changes, stored so that another process can put them into the same model.

A frozen tensor of the backbone is not stored: the backbone's weights and `Method.attach` give it
again. Their common hash tells whether they did.
"""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.models.training_mode import moving_statistics
from bench.utils import parallel
from methods import Method
from methods.shared.base import Model
from methods.shared.entries import take_shapes

MODEL, METHOD = "model.", "method."  # before the names of the model's tensors and the method's own


class DoesNotFit(Exception):
    """Stored tensors are not those of this model; the message says which, in one clause."""


def named_tensors(model: Model) -> dict[str, Tensor]:
    """Return parameters and all buffers by name; one that modules share has the first of its names.

    Unlike a state dict they include buffers that are not persistent.
    """
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def trained_tensors(model: Model) -> dict[str, nn.Parameter]:
    """Return the parameters that learn, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


@dataclass(frozen=True)
class TrainingTensors:
    """Tells the tensors of a model that training changes from those that stay as they were.

    `versions` are those of the tensors before the first step. Like torch's autograd, they do not
    notice writes through ``.data``; `frozen_sha256` does.
    """

    method: Method
    model: Model
    backbone_ids: set[int]  # as `weight_files.tensor_ids` returns them
    versions: Mapping[str, tuple[int, int]]

    @classmethod
    def of_untrained(
        cls, method: Method, model: Model, backbone_ids: set[int]
    ) -> "TrainingTensors":
        """Return those of a model between `attach` and its first step."""
        versions = {name: _version(tensor) for name, tensor in named_tensors(model).items()}
        return cls(method, model, backbone_ids, versions)

    def stored(self) -> dict[str, Tensor]:
        """Return what learns, moves or was added, and the method's own state, by name."""
        own = self.method.training_state(self.model)
        kept = {MODEL + name: tensor.detach() for name, tensor in self._changing().items()}
        return kept | {METHOD + name: tensor.detach() for name, tensor in own.items()}

    def frozen_sha256(self) -> str:
        """Hash the names and values of all tensors that `stored` leaves out."""
        changing = self._changing()
        rest = {n: t for n, t in named_tensors(self.model).items() if n not in changing}
        return tensors_sha256(rest)

    def load(self, stored: Mapping[str, Tensor]) -> None:
        """Put tensors that `stored` returned into the model; raises `DoesNotFit`."""
        of_model = _below(MODEL, stored)
        take_shapes(self.model, of_model)
        own = named_tensors(self.model)
        missing = self._changing().keys() - of_model.keys()
        if missing:
            raise DoesNotFit(f"it lacks {min(missing)}")
        for name, value in of_model.items():
            if name in own:
                _copy(name, value, own[name])
            else:
                _set_empty_buffer(self.model, name, value)
        self.method.load_training_state(self.model, _below(METHOD, stored))

    def _changing(self) -> dict[str, Tensor]:
        moved = {id(tensor) for tensor in moving_statistics(self.model)}
        return {
            name: tensor
            for name, tensor in named_tensors(self.model).items()
            if tensor.requires_grad
            or id(tensor) not in self.backbone_ids - moved
            or _version(tensor) != self.versions.get(name)
        }


def tensors_sha256(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """Hash tensors with their names, in any order, and a text."""
    with ThreadPoolExecutor(parallel.available_cores()) as pool:  # hashing frees the GIL
        digests = list(pool.map(tensor_sha256, tensors.values()))
    lines = sorted(f"{name} {digest}" for name, digest in zip(tensors, digests, strict=True))
    return hashlib.sha256("\n".join([text, *lines]).encode()).hexdigest()


def tensor_sha256(tensor: Tensor) -> str:
    """Hash a tensor's type, shape and values."""
    values = tensor.detach().cpu().contiguous()
    found = hashlib.sha256(f"{values.dtype} {tuple(values.shape)} ".encode())
    found.update(values.flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def _version(tensor: Tensor) -> tuple[int, int]:
    return tensor.data_ptr(), tensor._version


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


@torch.no_grad()
def _copy(name: str, value: Tensor, place: Tensor) -> None:
    if (value.shape, value.dtype) != (place.shape, place.dtype):
        shapes = f"{tuple(value.shape)} and not {tuple(place.shape)}"
        raise DoesNotFit(f"{name} is {shapes}, {value.dtype} in place of {place.dtype}")
    place.copy_(value)


def _set_empty_buffer(model: Model, name: str, value: Tensor) -> None:
    """Set a buffer that is None until training sets it."""
    parent, _, leaf = name.rpartition(".")
    modules = dict(model.named_modules())
    if parent not in modules or modules[parent]._buffers.get(leaf, value) is not None:
        raise DoesNotFit(f"{name} does not exist in this model")
    setattr(modules[parent], leaf, value.to(next(model.parameters()).device))
