"""Bi-AdaptFormer and Bi-LoRA: adapters of one bit a weight (Jie et al., 2023), https://arxiv.org/abs/2307.16867.

The released code: https://github.com/JieShibo/PETL-ViT, folder binary_adapter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.adapter import ParallelAdapterBlock
from methods.lora import LoRALinear, QueryValueUpdate
from methods.shared.backbone import replace_together, require_layers, require_pre_norm
from methods.shared.base import Method, Model
from methods.shared.binary import BinaryLinear, make_heads_binary, pack_binary, unpack_binary
from methods.shared.block_layers import attention_inputs
from methods.shared.hyperparameters import require_dropout_rate, require_size
from methods.shared.registry import register
from methods.shared.structure import block_width, blocks_of


class BinaryBottleneck(nn.Sequential):
    """``up(dropout(activation(down(x))))``, with binary weights and no biases."""

    def __init__(
        self, inputs: int, width: int, outputs: int, activation: nn.Module, dropout: float
    ):
        down, up = BinaryLinear(inputs, width), BinaryLinear(width, outputs)
        nn.init.trunc_normal_(up.weight, std=0.001, a=-0.002, b=0.002)
        super().__init__(down, activation, nn.Dropout(dropout), up)


class BinaryUpdate(nn.Module):
    """``scale * B dropout(A x)``, with binary A and B."""

    def __init__(self, inputs: int, outputs: int, rank: int, scale: float, dropout: float):
        super().__init__()
        self.scale = scale
        self.bottleneck = BinaryBottleneck(inputs, rank, outputs, nn.Identity(), dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.bottleneck(x)

    def delta_weight(self) -> Tensor:
        down, up = (layer for layer in self.bottleneck if isinstance(layer, BinaryLinear))
        return self.scale * up.quantised_weight() @ down.quantised_weight()  # (outputs, inputs)


@dataclass(frozen=True)
class BiAdaptFormer(Method):
    """AdaptFormer with weights of one bit, stored as bits, and without biases.

    The latent weights of training are floats; a file holds only their signs, mean and deviation.
    The two values are the code's ±0.674 deviations, the medians of a Gaussian's halves, not the
    ±0.798 of least squares. The upper weights start tiny, not at zero, for zeros have no sign: the
    model is not the backbone at the start. With `binary_head` the head has weights of one bit, too,
    and no bias. The paper chooses `scale` for each task, and its images are not normalised.
    """

    identity_at_start = False

    width: int = 32
    scale: float = 1.0
    dropout: float = 0.1
    binary_head: bool = False

    def __post_init__(self) -> None:
        require_size("Bi-AdaptFormer's width", self.width)
        require_dropout_rate("Bi-AdaptFormer's dropout", self.dropout)

    def attach(self, model: VisionTransformer) -> None:
        require_pre_norm(model)
        blocks = blocks_of(model)
        for i, block in enumerate(blocks):
            dim = block_width(block)
            adapter = BinaryBottleneck(dim, self.width, dim, nn.ReLU(), self.dropout)
            blocks[i] = ParallelAdapterBlock(block, adapter, self.scale)
        if self.binary_head:
            make_heads_binary(model)

    def pack(self, model: Model, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return pack_binary(model, tensors)

    def unpack(self, model: Model, stored: dict[str, Tensor]) -> dict[str, Tensor]:
        return unpack_binary(model, stored)


@dataclass(frozen=True)
class BiLoRA(Method):
    """LoRA on queries and on values with weights of one bit, stored as bits.

    See `BiAdaptFormer`. `dropout` applies between the two factors.
    """

    identity_at_start = False

    rank: int = 32
    scale: float = 1.0
    dropout: float = 0.1
    binary_head: bool = False

    def __post_init__(self) -> None:
        require_size("Bi-LoRA's rank", self.rank)
        require_dropout_rate("Bi-LoRA's dropout", self.dropout)

    def attach(self, model: VisionTransformer) -> None:
        require_layers(model, nn.Linear, attention_inputs)
        replace_together(model, attention_inputs, self._adapt)
        if self.binary_head:
            make_heads_binary(model)

    def pack(self, model: Model, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return pack_binary(model, tensors)

    def unpack(self, model: Model, stored: dict[str, Tensor]) -> dict[str, Tensor]:
        return unpack_binary(model, stored)

    def _adapt(self, first: nn.Linear, *others: nn.Linear) -> Sequence[nn.Module]:
        """Adapt one layer for all of queries, keys and values, or the layers of two of them."""
        if not others:
            both = QueryValueUpdate(self._update(first, parts=3), self._update(first, parts=3))
            return [LoRALinear(first, both)]
        key, value = others
        query = LoRALinear(first, self._update(first))
        return query, key, LoRALinear(value, self._update(value))

    def _update(self, linear: nn.Linear, parts: int = 1) -> BinaryUpdate:
        """Return an update of all outputs of a layer, or of one of its `parts`."""
        inputs, outputs = linear.in_features, linear.out_features // parts
        return BinaryUpdate(inputs, outputs, self.rank, self.scale, self.dropout)


register("bi_adaptformer", BiAdaptFormer())
register("bi_adaptformer_1", BiAdaptFormer(width=1, binary_head=True))
register("bi_lora", BiLoRA())
