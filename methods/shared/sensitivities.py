"""Which entries learn singly, which vectors as a whole, and which matrices get a module."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from methods.shared.block_layers import NORMS, linear_layers, projections_in
from methods.shared.entries import EntryTunedLayer, LearntEntries, no_entries
from methods.shared.structure import blocks_of, final_norms

STEPS = range(1, 80)
STEP = 0.02  # million entries, from 0.02 to 1.58


class Rule(Protocol):
    """How many parameters learn, and how dense they must be to learn together."""

    @property
    def budget(self) -> float: ...
    @property
    def alpha(self) -> float: ...
    @property
    def beta(self) -> float: ...
    def module_size(self, outputs: int, inputs: int) -> int: ...


@dataclass(frozen=True)
class Selection:
    """The `places` of the entries of each tensor that learn, and the layers that get modules."""

    places: Mapping[str, Tensor]
    structured: Mapping[str, list[bool]]  # of each projection

    def tuned(self, name: str, layer: nn.Module) -> EntryTunedLayer:
        """Return the layer of that name with its learnt entries."""
        bias = None if layer.bias is None else self._entries(f"{name}.bias", layer.bias)
        return EntryTunedLayer(layer, self._entries(f"{name}.weight", layer.weight), bias)

    def _entries(self, name: str, tensor: Any) -> LearntEntries:
        places = self.places.get(name)
        return no_entries(tensor) if places is None else LearntEntries(places.to(tensor.device))


class Piece(NamedTuple):
    """A matrix or a vector in a tensor that may hold three."""

    tensor: str
    part: int
    shape: torch.Size


def tuned_modules(model: nn.Module) -> dict[str, int]:
    """Return the modules whose tensors may learn, by name, and the projections in each."""
    parts: dict[int, int] = {}
    for block in blocks_of(model):
        for name in linear_layers(block):
            parts[id(block.get_submodule(name))] = projections_in(block, name)
        parts |= {id(block.get_submodule(name)): 1 for name in NORMS}
    parts |= {id(norm): 1 for norm in final_norms(model) if any(True for _ in norm.parameters())}
    return {
        name: parts[id(module)] for name, module in model.named_modules() if id(module) in parts
    }


def choose_entries(
    sensitivities: Mapping[str, Tensor], parts: Mapping[str, int], rule: Rule, always: int
) -> Selection:
    """Choose so many of the most sensitive entries that the count is nearest to the budget.

    `always` parameters learn besides. The sensitivities are by tensor, named ``module.field``.
    """
    pieces, flat = _cut(sensitivities, parts)
    sizes = torch.tensor([piece.shape.numel() for piece in pieces])
    starts = sizes.cumsum(0) - sizes
    together, limits = _costs(pieces, rule)
    counts = [min(ceil(step * STEP * 1e6), len(flat)) for step in STEPS]
    top = flat.topk(counts[-1]).indices.cpu()
    owners = torch.bucketize(top, starts, right=True) - 1
    best, best_gap = (torch.empty(0), 0), float("inf")
    for count in counts:
        hits = owners[:count].bincount(minlength=len(pieces))
        whole = hits >= limits
        trained = int(torch.where(whole, together, hits).sum()) + always
        gap = abs(trained / 1e6 - rule.budget)
        if gap <= best_gap:
            best, best_gap = (whole, count), gap
    whole, count = best
    chosen = {int(i): top[:count][owners[:count] == i] - starts[i] for i in owners[:count].unique()}
    return _selection(pieces, whole.tolist(), chosen)


def _cut(
    sensitivities: Mapping[str, Tensor], parts: Mapping[str, int]
) -> tuple[list[Piece], Tensor]:
    """Return matrices and vectors, and the values of all in their order."""
    pieces = []
    for name, values in sensitivities.items():
        count = parts[name.rpartition(".")[0]]
        pieces += [Piece(name, i, part.shape) for i, part in enumerate(values.chunk(count))]
    return pieces, torch.cat([values.flatten() for values in sensitivities.values()])


def _costs(pieces: list[Piece], rule: Rule) -> tuple[Tensor, Tensor]:
    """Return how many parameters learn where a piece learns together, and from how many hits."""
    sizes, limits = [], []
    for piece in pieces:
        vector = len(piece.shape) == 1
        size = piece.shape.numel() if vector else rule.module_size(*piece.shape)
        sizes.append(size)
        limits.append(size / (rule.beta if vector else rule.alpha))
    return torch.tensor(sizes), torch.tensor(limits, dtype=torch.float64)


def _selection(pieces: list[Piece], whole: list[bool], chosen: Mapping[int, Tensor]) -> Selection:
    places: dict[str, list[Tensor]] = {}
    structured: dict[str, list[bool]] = {}
    for i, piece in enumerate(pieces):
        if len(piece.shape) > 1:
            structured.setdefault(piece.tensor.rpartition(".")[0], []).append(whole[i])
            own = None if whole[i] else chosen.get(i)
        else:
            own = torch.arange(piece.shape.numel()) if whole[i] else chosen.get(i)
        if own is not None:
            at = own.sort().values + piece.part * piece.shape.numel()
            places.setdefault(piece.tensor, []).append(at)
    return Selection({name: torch.cat(each) for name, each in places.items()}, structured)
