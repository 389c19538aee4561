"""LoRA: low-rank updates of weights (Hu et al., 2022), https://arxiv.org/abs/2106.09685."""

from dataclasses import dataclass

import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.base import Method
from methods.registry import register
from methods.surgery import replace


class LoRALinear(nn.Module):
    """``linear(x) + alpha / rank * B A x`` (equation 3); B starts at zero."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.linear, self.scale = linear, alpha / rank
        self.a = nn.Parameter(torch.empty(rank, linear.in_features))
        self.b = nn.Parameter(torch.zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.a, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.scale * (x @ self.a.T @ self.b.T)


@dataclass(frozen=True)
class LoRA(Method):
    """LoRA on the fused query, key and value projection, with one A for the three."""

    rank: int = 8
    alpha: float = 8.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"LoRA's rank must be at least 1; {self.rank} was given")

    def attach(self, model: VisionTransformer) -> None:
        replace(model, "attn.qkv", lambda linear: LoRALinear(linear, self.rank, self.alpha))


register("lora", LoRA())
