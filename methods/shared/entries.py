"""Single entries of frozen tensors that learn, and modules whose shapes depend on data."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from methods.shared.backbone import with_weights


class DataShapedModule(nn.Module):
    """A module whose tensors have shapes that depend on data: a checkpoint brings its own.

    Where there is nothing, a tensor is empty, and does not learn.
    """

    def take_shapes(self, tensors: Mapping[str, Tensor], prefix: str) -> None:
        """Give its own tensors the shapes of those in `tensors`, named ``prefix + name``."""
        for name, own in (*self._parameters.items(), *self._buffers.items()):
            given = tensors.get(prefix + name)
            if own is None or given is None or given.shape == own.shape:
                continue
            empty = own.new_zeros(given.shape)
            learns = isinstance(own, nn.Parameter)
            setattr(self, name, nn.Parameter(empty, given.numel() > 0) if learns else empty)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        self.take_shapes(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


def take_shapes(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give the tensors of data-shaped modules in `model` the shapes of those of that name."""
    for name, module in model.named_modules():
        if isinstance(module, DataShapedModule):
            module.take_shapes(tensors, f"{name}." if name else "")


class LearntEntries(DataShapedModule):
    """``tensor + deltas`` at `places`, indices into the flattened tensor; zero at first.

    No other entry of the tensor can move, and the deltas are as many parameters as entries learn.
    """

    places: Tensor

    def __init__(self, places: Tensor):
        super().__init__()
        self.deltas = nn.Parameter(torch.zeros(len(places), device=places.device), len(places) > 0)
        self.register_buffer("places", places.to(torch.int32))  # 4 bytes an entry

    def forward(self, tensor: Tensor) -> Tensor:
        changed = tensor.flatten().index_add(0, self.places, self.deltas.to(tensor.dtype))
        return changed.view_as(tensor)


def no_entries(tensor: Tensor) -> LearntEntries:
    """Return learnt entries of a tensor of which none learns, until a checkpoint brings some."""
    return LearntEntries(torch.empty(0, dtype=torch.int32, device=tensor.device))


class EntryTunedLayer(nn.Module):
    """A layer of whose weight some entries learn, and of its bias, unless `bias` is None."""

    def __init__(self, layer: nn.Module, weight: LearntEntries, bias: LearntEntries | None = None):
        super().__init__()
        self.layer, self.weight_entries, self.bias_entries = layer, weight, bias

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.tensors()
        tensors = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
        return functional_call(self.layer, tensors, (x,))

    def tensors(self) -> tuple[Tensor, Tensor | None]:
        """Return weight and bias with what was learnt."""
        layer: Any = self.layer
        weight, bias = layer.weight, layer.bias
        if bias is not None and self.bias_entries is not None:
            bias = self.bias_entries(bias)
        return self.weight_entries(weight), bias

    def merged(self) -> nn.Module:
        """Return an equivalent layer of the same kind."""
        return with_weights(self.layer, *self.tensors())
