"""Sensitivity-aware tuning (He et al., 2023), https://arxiv.org/abs/2303.08566.

Single weights learn, and modules where they would be dense. The paper calls it SPT, and its forms
SPT-LoRA and SPT-Adapter; here SPT is self-prompt tuning (`methods.spt`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.backbone import require_layers, require_pre_norm, with_weights
from methods.shared.base import Batches, Method
from methods.shared.block_layers import linear_layers
from methods.shared.entries import DataShapedModule, EntryTunedLayer
from methods.shared.gradients import add_up_gradients, on_device, rebatched
from methods.shared.hyperparameters import require_dropout_rate, require_size
from methods.shared.registry import register
from methods.shared.sensitivities import Selection, choose_entries, tuned_modules
from methods.shared.structure import blocks_of, expose_layers

BATCH_SIZE = 32


class LowRankModule(DataShapedModule):
    """``B A x`` with B zero at first; of rank 0, where single entries learn instead, it is zero."""

    def __init__(self, inputs: int, outputs: int, rank: int):
        super().__init__()
        self.a = nn.Parameter(torch.empty(rank, inputs), rank > 0)
        self.b = nn.Parameter(torch.zeros(outputs, rank), rank > 0)
        if rank:
            nn.init.kaiming_uniform_(self.a, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.a.T @ self.b.T

    def delta_weight(self) -> Tensor:
        return self.b @ self.a  # (outputs, inputs)


class BottleneckModule(DataShapedModule):
    """``up(gelu(down(x)))`` with biases, zero at first; of width 0 it is zero for good."""

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.down, self.up = (
            nn.Parameter(torch.zeros(shape), width > 0) for shape in ((width, dim), (dim, width))
        )
        self.down_bias = nn.Parameter(
            torch.empty(width).uniform_(-(dim**-0.5), dim**-0.5), width > 0
        )
        self.up_bias = nn.Parameter(torch.zeros(dim if width else 0), width > 0)
        if width:
            nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        if not len(self.down):
            return torch.zeros_like(x)
        return F.linear(F.gelu(F.linear(x, self.down, self.down_bias)), self.up, self.up_bias)


class LowRankLayer(nn.Module):
    """A layer with entries that learn, and parallel to it a low-rank module per projection."""

    def __init__(
        self, layer: EntryTunedLayer, modules: list[nn.Module], rates: tuple[float, float]
    ):
        super().__init__()
        dropout, drop_path = rates
        self.layer, self.dropout = layer, nn.Dropout(dropout)
        self.added: Any = nn.ModuleList(modules)
        self.drop_paths = nn.ModuleList(DropPath(drop_path) for _ in modules)

    def forward(self, x: Tensor) -> Tensor:
        seen, pairs = self.dropout(x), zip(self.added, self.drop_paths, strict=True)
        return self.layer(x) + torch.cat([drop_path(one(seen)) for one, drop_path in pairs], -1)

    def merged(self) -> nn.Module:
        """Return an equivalent linear layer, without dropout."""
        weight, bias = self.layer.tensors()
        delta = torch.cat([one.delta_weight() for one in self.added])
        return with_weights(self.layer.layer, weight + delta, bias)


class BottleneckLayer(nn.Module):
    """A layer with entries that learn, and a bottleneck on the output of each of its projections.

    `reads_input` puts the bottleneck parallel to the layer.
    """

    def __init__(
        self,
        layer: EntryTunedLayer,
        modules: list[nn.Module],
        rates: tuple[float, float],
        reads_input: bool,
    ):
        super().__init__()
        dropout, drop_path = rates
        self.layer, self.dropout, self.reads_input = layer, nn.Dropout(dropout), reads_input
        self.added = nn.ModuleList(modules)
        self.drop_paths = nn.ModuleList(DropPath(drop_path) for _ in modules)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        read = [x] if self.reads_input else y.chunk(len(self.added), -1)
        triples = zip(self.added, self.drop_paths, read, strict=True)
        changes = [drop_path(one(self.dropout(part))) for one, drop_path, part in triples]
        return y + torch.cat(changes, -1)


@dataclass(frozen=True)
class SensitivityTuning(Method):
    """Train the entries that the loss is most sensitive to; a module where they are dense.

    A weight's sensitivity is the sum over `batches` of 32 training images of its squared gradient,
    in training mode, with the fresh head. Of the most sensitive entries as many are taken, in steps
    of 0.02 million, as bring the count of trained parameters nearest to `budget` (in millions). A
    matrix (queries, keys and values are three) in which at least 1 / `alpha` of the parameters of a
    module would learn gets the module, of rank `rank`, instead; a vector of which at least
    1 / `beta` would learn is trained whole. The class token always learns; positions and patch
    embedding never do. `form` ``lora`` is a low-rank update beside the layer, ``adapter`` a
    bottleneck on its output, as released (https://github.com/ziplab/SPT), save that the one of the
    attention's output layer reads its input there. That layer's modules have no `dropout`.

    The paper chooses the budget per task, by accuracy on test; here it is one. The released command
    reads 16 batches; 8 is the default of the function that it calls. Single entries of norms, which
    that code counts and leaves frozen, learn here as the paper has it. The changes of single
    entries are not decayed, as nothing of one dimension is. Without data nothing but the class
    token learns: a checkpoint brings the places and modules that were chosen.
    """

    form: str
    budget: float = 0.4
    rank: int = 8
    alpha: float = 10.0
    beta: float = 5.0
    batches: int = 8
    dropout: float = 0.1
    drop_path: float = 0.1

    reads_labels = True

    def __post_init__(self) -> None:
        if self.form not in ("lora", "adapter"):
            raise ValueError(f"the form must be lora or adapter; {self.form!r} was given")
        for field in ("budget", "alpha", "beta"):
            if not getattr(self, field) > 0:
                raise ValueError(f"{field} must be above 0; {getattr(self, field)} was given")
        require_size("the modules' rank", self.rank)
        require_size("the number of batches", self.batches)
        require_dropout_rate("the modules' dropout", self.dropout)
        require_dropout_rate("the modules' drop path", self.drop_path)

    def attach(self, model: VisionTransformer) -> None:
        self._require_layers(model)
        self._attach(model, Selection({}, {}))

    def prepare(self, model: VisionTransformer, batches: Batches) -> None:
        self._require_layers(model)
        parts = tuned_modules(model)
        tensors = {
            f"{name}.{field}": tensor
            for name in parts
            for field, tensor in model.get_submodule(name).named_parameters(recurse=False)
        }
        losses = self._losses(model, batches)
        sensitivities = add_up_gradients(model, tensors, losses, torch.square)
        token = _class_token(model)
        always = 0 if token is None else token.numel()
        self._attach(model, choose_entries(sensitivities, parts, self, always))

    def module_size(self, outputs: int, inputs: int) -> int:
        """Return the parameters of the module of a matrix."""
        if self.form == "lora":
            return self.rank * (outputs + inputs)
        return 2 * self.rank * outputs + self.rank + outputs

    def _require_layers(self, model: VisionTransformer) -> None:
        require_pre_norm(model)
        require_layers(model, nn.Linear, linear_layers)

    def _losses(self, model: VisionTransformer, batches: Batches) -> Iterator[Tensor]:
        for images, labels in rebatched(on_device(model, batches), BATCH_SIZE, self.batches):
            yield F.cross_entropy(model(images), labels)

    def _attach(self, model: VisionTransformer, chosen: Selection) -> None:
        token = _class_token(model)
        if token is not None:
            token.requires_grad_(True)
        parts = tuned_modules(model)
        for block in blocks_of(model):
            expose_layers(block)
        for name, count in parts.items():
            old = model.get_submodule(name)
            tuned = chosen.tuned(name, old)
            if isinstance(old, nn.Linear):
                structured = chosen.structured.get(name, [False] * count)
                model.set_submodule(name, self._with_modules(tuned, name, structured))
            else:
                model.set_submodule(name, tuned)

    def _with_modules(self, tuned: EntryTunedLayer, name: str, structured: list[bool]) -> nn.Module:
        """Add modules, empty where `structured` is false, to the layer."""
        weight, after_attention = tuned.layer.get_parameter("weight"), name.endswith("attn.proj")
        outputs, inputs = len(weight) // len(structured), weight.shape[1]
        ranks = [self.rank * one for one in structured]
        rates = (0.0 if after_attention else self.dropout), self.drop_path
        if self.form == "lora":
            modules = [LowRankModule(inputs, outputs, rank) for rank in ranks]
            return LowRankLayer(tuned, [*modules], rates)
        bottlenecks = [BottleneckModule(outputs, rank) for rank in ranks]
        return BottleneckLayer(tuned, [*bottlenecks], rates, after_attention)


def _class_token(model: VisionTransformer) -> nn.Parameter | None:
    return getattr(model, "cls_token", None)


register("sensitivity_lora", SensitivityTuning("lora"))
register("sensitivity_adapter", SensitivityTuning("adapter"))
