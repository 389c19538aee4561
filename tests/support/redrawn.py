"""A small ViT and methods on it, with tensors drawn anew: as the official code was given them.

Uniform numbers are the same on every machine; normal ones are not.
"""

import json
from typing import Any

import timm
import torch
from timm.models import VisionTransformer
from torch import Tensor

from methods import Method
from support import paths

CLASSES, SIDE, DEPTH = 10, 32, 4


def uniform(shape: Any, seed: int, scale: float = 1.0) -> Tensor:
    """Draw a tensor in float64 from -scale to scale."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1) * scale


def small_vit() -> VisionTransformer:
    """Build a ViT of ViT-Ti's width, 4 blocks and 4 patches, frozen but for its head."""
    model = timm.create_model(
        "vit_tiny_patch16_224", num_classes=CLASSES, img_size=SIDE, depth=DEPTH
    ).double()
    for i, (name, p) in enumerate(model.named_parameters()):
        is_scale = "norm" in name and name.endswith("weight")
        p.data = uniform(p.shape, i, 0.1) + is_scale
    model.requires_grad_(False)
    model.get_classifier().requires_grad_(True)
    return model.eval()


def images(count: int = 4, seed: int = 1000) -> Tensor:
    """Draw images, (count, 3, 32, 32)."""
    return uniform((count, 3, SIDE, SIDE), seed, 2.0)


def own_parameters(model: VisionTransformer) -> dict[str, torch.nn.Parameter]:
    """Return what learns beside the head."""
    named = model.named_parameters()
    return {n: p for n, p in named if p.requires_grad and not n.startswith("head.")}


def redraw(model: VisionTransformer) -> VisionTransformer:
    """Draw what learns beside the head anew, as if it had been trained."""
    model.double()
    for i, p in enumerate(own_parameters(model).values()):
        p.data = uniform(p.shape, 2000 + i, 0.3)
    return model.eval()


def attached(method: Method) -> VisionTransformer:
    """Return the small ViT with the method, whose tensors are drawn anew."""
    model = small_vit()
    method.attach(model)
    return redraw(model)


def golden(name: str) -> dict[str, Any]:
    """Read the official code's numbers."""
    file = paths.GOLDEN / "official" / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8"))


def summary(gradient: Tensor) -> list[float]:
    """Return the norm and three entries of a gradient."""
    flat = gradient.flatten()
    return [flat.norm().item(), *flat[[0, len(flat) // 2, -1]].tolist()]
