"""SNELL: sparse tuning with kernelised low-rank updates (Shen et al., 2024), https://arxiv.org/abs/2411.01800."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers import DropPath
from timm.models import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from methods.shared.backbone import replace_projections, with_weights
from methods.shared.base import Method
from methods.shared.hyperparameters import require_choice, require_dropout_rate, require_size
from methods.shared.registry import register

HEADS = 2


def _times_magnitude(delta: Tensor, threshold: Tensor) -> Tensor:
    magnitude = delta.detach().abs()
    return delta * magnitude.where(magnitude > threshold, 0.0)


def _shrunk(delta: Tensor, threshold: Tensor) -> Tensor:
    return delta.sign() * (delta.abs() - threshold).clamp_min(0)


def _masked(delta: Tensor, threshold: Tensor) -> Tensor:
    return delta.where(delta.detach().abs() > threshold, 0.0)


FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "soft": _shrunk,
    "mask": _masked,
    "magnitude": _times_magnitude,
}
"""Functions that drop the entries of an update below a threshold, by name."""


class KernelUpdate(nn.Module):
    """``scale * (|a_i - b_j| - |a'_i - b'_j|)`` as the weight between input i and output j.

    Sparse, with the `share` of smallest magnitudes dropped. The update is not kept for the
    backward pass, but computed again.
    """

    def __init__(self, shape: tuple[int, int], rank: int, share: float, scale: float, form: str):
        super().__init__()
        outputs, inputs = shape
        self.share, self.scale, self.form = share, scale, form
        self.inputs = nn.Parameter(torch.empty(HEADS, inputs, rank // HEADS))
        self.outputs = nn.Parameter(torch.empty(HEADS, outputs, rank // HEADS))
        nn.init.kaiming_uniform_(self.inputs, a=5**0.5)
        nn.init.kaiming_uniform_(self.outputs, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return self._apply_update(x)
        return checkpoint(self._apply_update, x, use_reentrant=False, preserve_rng_state=False)

    def _apply_update(self, x: Tensor) -> Tensor:
        return F.linear(x, self.delta_weight())

    def delta_weight(self) -> Tensor:
        first, second = torch.cdist(self.inputs, self.outputs)  # (inputs, outputs) each
        delta = self.scale * (first - second)
        if self.share:
            threshold = delta.detach().abs().flatten().quantile(self.share)
            delta = FORMS[self.form](delta, threshold)
        return delta.T  # (outputs, inputs)


class KernelLinear(nn.Module):
    """``linear(x)`` and the updates of each of its projections, side by side."""

    updates: Any

    def __init__(
        self, linear: nn.Linear, updates: list[KernelUpdate], dropout: float, drop_path: float
    ):
        super().__init__()
        self.linear, self.updates = linear, nn.ModuleList(updates)
        self.dropout = nn.Dropout(dropout)
        self.drop_paths = nn.ModuleList(DropPath(drop_path) for _ in updates)

    def forward(self, x: Tensor) -> Tensor:
        seen, pairs = self.dropout(x), zip(self.updates, self.drop_paths, strict=True)
        changes = [drop_path(update(seen)) for update, drop_path in pairs]
        return self.linear(x) + torch.cat(changes, -1)

    def merged(self) -> nn.Linear:
        """Return an equivalent linear layer, without dropout."""
        delta = torch.cat([update.delta_weight() for update in self.updates])
        return with_weights(self.linear, self.linear.weight + delta, self.linear.bias)


@dataclass(frozen=True)
class SNELL(Method):
    """A sparse update of queries, keys, values and the other linear layers of the blocks.

    The update's entries are differences of distances between `rank` / 2 coordinates of inputs and
    of outputs, in two heads, as released (https://github.com/ssfgunner/SNELL): exchanging the heads
    changes its sign. Both heads start at random, so that the logits change at the start. Of each
    update the `sparsity` of smallest magnitudes is dropped. The released code then multiplies the
    rest by its own magnitude, through which no gradient flows: `form` ``magnitude``, the default,
    for the printed numbers come from it; ``mask`` leaves the rest, and ``soft`` shrinks it by the
    threshold. A sparsity of 0, which the code also treats apart, keeps the update as it is. It is
    chosen per task there, from 0 to 0.995: most often 0 on VTAB-1k, and then 0.5, the default. As
    released, all updates but that of the attention's output have `dropout` of their inputs.
    """

    rank: int = 8
    sparsity: float = 0.5
    form: str = "magnitude"
    scale: float = 0.1
    dropout: float = 0.1
    drop_path: float = 0.1

    identity_at_start = False

    def __post_init__(self) -> None:
        require_size("SNELL's rank", self.rank, least=HEADS)
        if self.rank % HEADS:
            raise ValueError(f"SNELL's rank is that of two heads, so even; {self.rank} was given")
        if not 0 <= self.sparsity < 1:
            raise ValueError(
                f"SNELL's sparsity must be at least 0 and below 1; {self.sparsity} was given"
            )
        require_choice("SNELL's form", self.form, FORMS)
        require_dropout_rate("SNELL's dropout", self.dropout)
        require_dropout_rate("SNELL's drop path", self.drop_path)

    def attach(self, model: VisionTransformer) -> None:
        replace_projections(model, self._adapt)

    def _adapt(self, linear: nn.Linear, name: str, parts: int) -> KernelLinear:
        dropout = 0.0 if name == "attn.proj" else self.dropout
        outputs, inputs = linear.weight.shape
        how = (outputs // parts, inputs), self.rank, self.sparsity, self.scale, self.form
        updates = [KernelUpdate(*how) for _ in range(parts)]
        return KernelLinear(linear, updates, dropout, self.drop_path)


register("snell", SNELL())
