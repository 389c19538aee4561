"""Adapters: bottlenecks after or parallel to layers (Houlsby et al., 2019), https://arxiv.org/abs/1902.00751.

The family: after the MLP only (Pfeiffer et al., 2021), https://arxiv.org/abs/2005.00247; NOAH's
(Zhang et al., 2022), https://arxiv.org/abs/2206.04673; VPT's (Jia et al., 2022),
https://arxiv.org/abs/2203.12119; AdaptFormer (Chen et al., 2022), https://arxiv.org/abs/2205.13535;
Adapter+ (Steitz and Roth, 2024), https://arxiv.org/abs/2406.06820.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from timm.layers import DropPath
from timm.layers.activations import QuickGELU
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import init

from methods.shared.attention import attention_update, mlp_update, run_attention
from methods.shared.backbone import require_pre_norm
from methods.shared.base import Method
from methods.shared.hyperparameters import require_choice, require_dropout_rate, require_size
from methods.shared.registry import register
from methods.shared.structure import block_width, blocks_of

ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU, "quick_gelu": QuickGELU}
PLACES = {"mlp": ("mlp",), "attn_and_mlp": ("attn", "mlp")}

_kaiming_uniform = partial(init.kaiming_uniform_, a=5**0.5)
_truncated_normal = partial(init.trunc_normal_, std=0.01, a=-0.02, b=0.02)
_near_zero_normal = partial(init.normal_, std=1e-6)

INITS: dict[str, tuple[Callable[[Tensor], Tensor], ...]] = {
    "identity": (_kaiming_uniform, init.zeros_, init.zeros_),
    "houlsby": (_truncated_normal, _truncated_normal, init.zeros_),
    "xavier": (init.xavier_uniform_, init.xavier_uniform_, _near_zero_normal),
    "zeros": (init.zeros_, init.zeros_, init.zeros_),
}
"""Initialisation of W_down, of W_up and of both biases."""


class Bottleneck(nn.Module):
    """``W_up dropout(activation(W_down x))``, with or without biases."""

    def __init__(
        self,
        dim: int,
        width: int,
        activation: str,
        start: str,
        dropout: float,
        biased: bool = True,
    ):
        super().__init__()
        self.down, self.activation = nn.Linear(dim, width, biased), ACTIVATIONS[activation]()
        self.dropout, self.up = nn.Dropout(dropout), nn.Linear(width, dim, biased)
        down, up, bias = INITS[start]
        down(self.down.weight)
        up(self.up.weight)
        for layer in (self.down, self.up) if biased else ():
            bias(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.dropout(self.activation(self.down(x))))


class SequentialAdapter(nn.Module):
    """A layer or a block whose output y becomes ``y + adapter(y)``."""

    branch = "adapter"

    def __init__(self, layer: nn.Module, adapter: nn.Module):
        super().__init__()
        self.layer, self.adapter = layer, adapter

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        y = self.layer(x, **kwargs)
        return y + self.adapter(y)


class ParallelAdapterBlock(nn.Module):
    """A block with an adapter parallel to its MLP; the adapter's input is not normalised."""

    branch = "adapter"
    linear_in_scale = True

    def __init__(self, block: Block, adapter: nn.Module, scale: float):
        super().__init__()
        self.block, self.adapter, self.scale = block, adapter, scale

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        block = self.block
        x = x + attention_update(block, run_attention(block, block.norm1(x), **kwargs))
        mlp = mlp_update(block, block.mlp(block.norm2(x)))
        return x + mlp + self.scale * self.adapter(x)


class ScaledAdapter(nn.Module):
    """An adapter with a learned scale per channel and drop path."""

    def __init__(self, adapter: nn.Module, dim: int, drop_path: float):
        super().__init__()
        self.adapter, self.drop_path = adapter, DropPath(drop_path)
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.drop_path(self.adapter(x))


@dataclass(frozen=True)
class Adapter(Method):
    """A bottleneck after the MLP, or after both attention and MLP, before the residual addition.

    `init` ``identity`` leaves the initial logits unchanged: W_up is zero, W_down is not. ``zeros``
    is the initialisation of VPT's code (https://github.com/KMnP/vpt): as GELU(0) = 0, no gradient
    ever reaches W_down, its bias or W_up, so that of a ViT-B's 230,544 parameters only the 9,216
    of the upper bias can learn. ``xavier`` is NOAH's.
    """

    width: int = 12
    place: str = "mlp"
    activation: str = "gelu"
    init: str = "identity"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_size("an adapter's width", self.width)
        require_choice("an adapter's place", self.place, PLACES)
        require_choice("an adapter's activation", self.activation, ACTIVATIONS)
        require_choice("an adapter's init", self.init, INITS)
        require_dropout_rate("an adapter's dropout", self.dropout)

    @property
    def identity_at_start(self) -> bool:
        return self.init in ("identity", "zeros")

    def attach(self, model: VisionTransformer) -> None:
        require_pre_norm(model)
        how = self.width, self.activation, self.init, self.dropout
        widths = [block_width(block) for block in blocks_of(model)]
        for place in PLACES[self.place]:
            for block, width in zip(blocks_of(model), widths, strict=True):
                adapter = Bottleneck(width, *how)
                block.set_submodule(place, SequentialAdapter(block.get_submodule(place), adapter))


@dataclass(frozen=True)
class AdaptFormer(Method):
    """A scaled bottleneck parallel to the MLP, with the input of the MLP's LayerNorm as its own.

    Without `bias` it is that of Binary Adapter's code (https://github.com/JieShibo/PETL-ViT), which
    uses 32 channels and one scale per task. The authors' own code also offers a LayerNorm in the
    bottleneck and a learned scale, which its commands do not use: they are not offered here.
    """

    width: int = 64
    scale: float = 0.1
    dropout: float = 0.1
    bias: bool = True

    def __post_init__(self) -> None:
        require_size("AdaptFormer's width", self.width)
        require_dropout_rate("AdaptFormer's dropout", self.dropout)

    def attach(self, model: VisionTransformer) -> None:
        require_pre_norm(model)
        how = self.width, "relu", "identity", self.dropout, self.bias
        blocks = blocks_of(model)
        for i, block in enumerate(blocks):
            adapter = Bottleneck(block_width(block), *how)
            blocks[i] = ParallelAdapterBlock(block, adapter, self.scale)


@dataclass(frozen=True)
class AdapterPlus(Method):
    """A bottleneck after the whole block, with a learned scale per channel."""

    width: int = 8
    drop_path: float = 0.1

    identity_at_start = False

    def __post_init__(self) -> None:
        require_size("Adapter+'s width", self.width)
        require_dropout_rate("Adapter+'s drop path", self.drop_path)

    def attach(self, model: VisionTransformer) -> None:
        require_pre_norm(model)
        blocks = blocks_of(model)
        for i, block in enumerate(blocks):
            width = block_width(block)
            bottleneck = Bottleneck(width, self.width, "gelu", "houlsby", 0.0)
            blocks[i] = SequentialAdapter(block, ScaledAdapter(bottleneck, width, self.drop_path))


register("adapter", Adapter())
register("adapter_houlsby", Adapter(width=8, place="attn_and_mlp"))
register("adapter_noah", Adapter(width=8, activation="quick_gelu", init="xavier", dropout=0.1))
register(
    "adapter_vpt2022",
    Adapter(init="zeros"),
    remark="as VPT's code released it: all weights start at zero, so that only the biases of the "
    "upper projections, 9,216 of 230,544 parameters on ViT-B, can learn",
)
register("adapter_plus", AdapterPlus())
register("adaptformer", AdaptFormer())
