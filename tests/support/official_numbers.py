"""Numbers of official implementations: a ViT-Ti/16 whose tensors are drawn by their names.

The same tensors were put into the official code; a file under `tests/golden/official` names its
repository and commit, and holds some of its numbers: the logits, the loss, and of the gradient of
each trained tensor the norm and a few entries. All in float64.
"""

import json
import zlib
from math import prod, sqrt
from typing import Any

import numpy as np
import timm
import torch
from timm.models import VisionTransformer
from torch import Tensor

from support.paths import GOLDEN

IMAGES, CLASSES, ENTRIES = 4, 10, 3
Numbers = dict[str, Any]


def drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    """The values of the tensor with this name; a processor draws all digits like another."""
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if len(shape) > 1:
        return torch.from_numpy(values / sqrt(prod(shape[1:])))
    gain = "norm" in name and name.endswith("weight")
    return torch.from_numpy(0.1 * values + gain)


def fill(tensors: dict[str, Tensor]) -> None:
    """Draw the values of tensors by name."""
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(drawn(name, tuple(tensor.shape)))


def network(pooling: str = "token") -> VisionTransformer:
    """The network without a method, in float64, frozen but for its head."""
    model = timm.create_model("vit_tiny_patch16_224", num_classes=CLASSES, global_pool=pooling)
    model = model.double().requires_grad_(False)
    fill(dict(model.named_parameters()))
    model.head.requires_grad_(True)
    return model


def batch() -> tuple[Tensor, Tensor]:
    """The images, (4, 3, 224, 224), and their labels."""
    images = sqrt(3 * 224 * 224) * drawn("images", (IMAGES, 3, 224, 224))
    return images, torch.arange(IMAGES)


def gradient_numbers(gradients: dict[str, Tensor]) -> Numbers:
    """The norm of each gradient, and some of its entries, evenly spaced."""
    numbers = {}
    for name, gradient in gradients.items():
        flat = gradient.flatten()
        some = flat[:: max(1, len(flat) // ENTRIES)][:ENTRIES]
        numbers[name] = [flat.norm().item(), *some.tolist()]
    return numbers


def stored(file: str) -> Numbers:
    """The numbers of a file."""
    text = (GOLDEN / "official" / f"{file}.json").read_text(encoding="utf-8")
    numbers: Numbers = json.loads(text)
    return numbers


def largest_difference(found: Numbers, expected: Numbers) -> float:
    """The largest difference of two nested sets of numbers, to the largest number of each set."""
    assert found.keys() == expected.keys()
    apart = 0.0
    for name, value in expected.items():
        if isinstance(value, dict):
            apart = max(apart, largest_difference(found[name], value))
        else:
            ours, theirs = (np.asarray(one, dtype=float) for one in (found[name], value))
            assert ours.shape == theirs.shape, name
            apart = max(apart, float(abs(ours - theirs).max() / (abs(theirs).max() + 1e-12)))
    return apart
