"""Two small ViTs in double precision, images for them, and methods on them."""

from typing import Any

import timm
import torch
from torch import Tensor

import methods
from bench.models import small_models


def bare(pooling: str = "token") -> Any:
    """The contract's backbone, of 64 patches: frozen but for its head."""
    return small_models.small_backbone(pooling).double()


def images() -> Tensor:
    """Images for `bare`, (4, 3, 64, 64)."""
    return small_models.FakeBatches(torch.float64).batches[0][0]


def vit(**changed: Any) -> Any:
    """A frozen ViT of 16 patches, or one of another architecture."""
    torch.manual_seed(0)
    size = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 3, "num_heads": 4}
    model: Any = timm.create_model("vit_tiny_patch16_224", num_classes=5, **{**size, **changed})
    torch.nn.init.normal_(model.head.weight, std=0.02)
    return model.double().requires_grad_(False).eval()


def noise(height: int = 32, width: int = 32) -> Tensor:
    """Images for `vit`, (2, 3, height, width)."""
    drawn = torch.Generator().manual_seed(2)
    return torch.randn(2, 3, height, width, generator=drawn, dtype=torch.float64)


def adapted(name: str, model: Any, **fields: Any) -> Any:
    """The model with a method, which draws the same at every call."""
    torch.manual_seed(1)
    methods.create(name, **fields).attach(model)
    return model.eval()


def learning(model: Any) -> int:
    """The number of parameters that learn."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
