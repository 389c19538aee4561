"""PACE: consistency of two noisy passes (Ni et al., 2024), https://arxiv.org/abs/2409.17137.

The released code: https://github.com/MaxwellYaoNi/PACE.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.backbone import replace_layers, require_layers, with_weights
from methods.shared.base import NOT_COUNTED, Batches, Forward, Method, Model
from methods.shared.block_layers import linear_layers
from methods.shared.branches import replace_branches
from methods.shared.hyperparameters import require_size
from methods.shared.registry import create, names, register
from methods.shared.structure import blocks_of


class MultiplicativeUpdate(nn.Module):
    """``(W * D U) x + b * delta + W (P u)``, of a linear layer with weight W and bias b.

    D, P and delta are initialised to zero.
    """

    def __init__(self, linear: nn.Linear, rank: int):
        super().__init__()
        outputs, inputs = linear.weight.shape
        self.linear = (linear,)  # in a tuple, so that a checkpoint holds it once
        self.down = nn.Parameter(torch.zeros(outputs, rank))
        self.up = nn.Parameter(torch.empty(rank, inputs))
        self.prompt_down = nn.Parameter(torch.zeros(inputs, rank))
        self.prompt_up = nn.Parameter(torch.empty(rank, 1))
        biased = linear.bias is not None
        self.bias = nn.Parameter(torch.zeros(outputs)) if biased else None
        for factor in (self.up, self.prompt_up):
            nn.init.xavier_uniform_(factor)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.delta_weight(), self.delta_bias())

    def delta_weight(self) -> Tensor:
        (linear,) = self.linear
        return linear.weight * (self.down @ self.up)  # (outputs, inputs)

    def delta_bias(self) -> Tensor:
        (linear,) = self.linear
        prompt = linear.weight @ (self.prompt_down @ self.prompt_up)[:, 0]  # (outputs,)
        return prompt if self.bias is None else prompt + linear.bias * self.bias


class MultipliedLinear(nn.Module):
    """``linear(x) + update(x)``."""

    branch = "update"

    def __init__(self, linear: nn.Linear, rank: int):
        super().__init__()
        self.linear, self.update = linear, MultiplicativeUpdate(linear, rank)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.update(x)

    def merged(self) -> nn.Linear:
        """Return an equivalent linear layer."""
        linear, shift = self.linear, self.update.delta_bias()
        bias = shift if linear.bias is None else linear.bias + shift
        return with_weights(linear, linear.weight + self.update.delta_weight(), bias)


@dataclass(frozen=True)
class LoRAMulVPTAdd(Method):
    """PACE's own base: each weight times ``1 + D U``, and a bias that a prompt adds.

    All linear layers of all blocks learn. A prompt of one token, P u, is added to a layer's input,
    which for a linear layer is a bias. The released code merges it into the weight for a pass
    without noise, which gives the same up to rounding.
    """

    rank: int = 10

    def __post_init__(self) -> None:
        require_size("the rank", self.rank)

    def attach(self, model: VisionTransformer) -> None:
        require_layers(model, nn.Linear, linear_layers)
        replace_layers(model, linear_layers, lambda linear: MultipliedLinear(linear, self.rank))


class NoisyBranch(nn.Module):
    """A branch whose output is multiplied in training by ``N(1, sigma²)``: `multiply_by_noise`."""

    def __init__(self, inner: nn.Module, sigma: float):
        super().__init__()
        self.inner, self.sigma = inner, sigma

    def forward(self, x: Tensor) -> Tensor:
        out = self.inner(x)
        return multiply_by_noise(out, self.sigma) if self.training else out

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of its own or, as for merging, of the branch."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)


class NoisyLayer(NoisyBranch):
    """An adapted layer, in training with noise on its difference to the frozen layer's output."""

    def __init__(self, inner: nn.Module, frozen: nn.Linear, sigma: float):
        super().__init__(inner, sigma)
        self.frozen = (frozen,)  # in a tuple: it is a part of `inner`

    def forward(self, x: Tensor) -> Tensor:
        out = self.inner(x)
        if not self.training:
            return out
        (frozen,) = self.frozen
        plain = frozen(x)
        return plain + multiply_by_noise(out - plain, self.sigma)


def multiply_by_noise(x: Tensor, sigma: float) -> Tensor:
    """Multiply `x`, (B, ..., C), by noise of mean 1 per image and channel, the same for tokens."""
    shape = len(x), *[1] * (x.ndim - 2), x.shape[-1]
    return x * (1 + sigma * torch.randn(shape, device=x.device)).to(x.dtype)


@dataclass(frozen=True)
class PACE(Method):
    """The adapters of the method `base`, with noise on their outputs and a loss of two passes.

    The loss is ``CE(f1) + consistency * |f1 - f2|²``, f1 and f2 being the logits of the two passes
    over a batch, which are one pass over the batch twice. Noise is drawn for each image and
    channel; its deviation falls in a line from `sigma` at the first noisy block to zero beyond the
    head. `first_block` and `head` say whether the first block's adapters and the head's logits
    have noise: by the released code's comment a ViT is better without the former, and it puts
    noise on the latter. With sigma and consistency 0 this is the base, bit for bit. `rank` None is
    the base's own. The paper chooses sigma, consistency and rank for each task, and trains for 300
    epochs, three times as long as those it compares with.

    The noise of an adapter without an output of its own, such as a changed weight, is on its
    difference to the frozen layer, which is computed once more. Prompts have no such output.

    The base's dropout draws other masks in the two passes; so would drop path, for which the
    released code shares them. Windows of attention have noise of their own.
    """

    base: str = "lora_mul_vpt_add"
    sigma: float = 1.0
    consistency: float = 1.0
    rank: int | None = None
    first_block: bool = False
    head: bool = True

    @property
    def reads_labels(self) -> bool:
        return self._base().reads_labels

    @property
    def identity_at_start(self) -> bool:
        return self._base().identity_at_start

    @property
    def spatial_rule(self) -> str:
        return self._base().spatial_rule

    def __post_init__(self) -> None:
        if self.base not in names() or type(create(self.base)).loss is not Method.loss:
            raise ValueError(
                "PACE's base must be another method, without a loss of its own; "
                f"{self.base!r} was given"
            )
        for name, value in (("sigma", self.sigma), ("consistency", self.consistency)):
            if not value >= 0:
                raise ValueError(f"PACE's {name} must be at least 0; {value} was given")
        self._base()

    def attach(self, model: Model) -> None:
        self._base().attach(model)
        self._add_noise(model)

    def prepare(self, model: Model, batches: Batches) -> None:
        self._base().prepare(model, batches)
        self._add_noise(model)

    def param_groups(self, model: Model) -> list[dict[str, Any]]:
        return self._base().param_groups(model)

    def after_epoch(self, model: Model, epoch: int) -> None:
        self._base().after_epoch(model, epoch)

    def pack(self, model: Model, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return self._base().pack(model, tensors)

    def unpack(self, model: Model, stored: dict[str, Tensor]) -> dict[str, Tensor]:
        return self._base().unpack(model, stored)

    def loss(
        self,
        model: Model,
        forward: Forward,
        inputs: Tensor,
        labels: Tensor,
        reduction: str = "mean",
    ) -> Tensor:
        if not self.consistency:
            logits = self._head_noise(model, forward(inputs))
            return F.cross_entropy(logits, labels, reduction=reduction)
        logits = self._head_noise(model, forward(torch.cat([inputs, inputs])))  # (2 B, classes)
        first, second = logits.chunk(2)
        distances = (first - second).square().sum(1)[labels != NOT_COUNTED]  # (B,)
        apart = distances.mean() if reduction == "mean" else distances.sum()
        return F.cross_entropy(first, labels, reduction=reduction) + self.consistency * apart

    def _base(self) -> Method:
        return create(self.base, **({} if self.rank is None else {"rank": self.rank}))

    def _add_noise(self, model: Model) -> None:
        def noisy_branch(branch: nn.Module, block: int) -> nn.Module:
            sigma = self._sigma_at(block, model)
            return NoisyBranch(branch, sigma) if sigma else branch

        def noisy_layer(adapted: nn.Module, frozen: nn.Linear, block: int) -> nn.Module:
            sigma = self._sigma_at(block, model)
            return NoisyLayer(adapted, frozen, sigma) if sigma else adapted

        if self.sigma:
            replace_branches(model, noisy_branch, noisy_layer)

    def _head_noise(self, model: Model, logits: Tensor) -> Tensor:
        """Multiply logits, (B, classes), by the head's noise, in training."""
        sigma = self._sigma_at(len(blocks_of(model)), model) if self.head else 0.0
        return multiply_by_noise(logits, sigma) if sigma and model.training else logits

    def _sigma_at(self, place: int, model: Model) -> float:
        """Return the deviation of the noise at a block, or at the head, which follows the last."""
        count, place = len(blocks_of(model)) + self.first_block, place - (not self.first_block)
        return self.sigma * (count - place) / count if place >= 0 else 0.0


register("lora_mul_vpt_add", LoRAMulVPTAdd())
register("pace", PACE())
register("pace_lora", PACE(base="lora"))
