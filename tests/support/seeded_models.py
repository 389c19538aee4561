"""ViT-Ti/16 and images from fixed seeds, in float64: the same numbers on every machine.

Each tensor is drawn by a generator of its own, seeded with its name.
"""

import zlib

import numpy as np
import timm
import torch
from torch import Tensor, nn

from methods import Method

CLASSES, IMAGES = 10, 2


def backbone(pooling: str = "token", size: int = 224) -> nn.Module:
    """A frozen ViT-Ti/16 but for its head, all of its weights drawn."""
    model = timm.create_model(
        "vit_tiny_patch16_224", num_classes=CLASSES, global_pool=pooling, img_size=size
    )
    fill(model.double())
    model.requires_grad_(False)
    model.get_classifier().requires_grad_(True)
    return model.eval()


def adapted(method: Method, pooling: str = "token") -> nn.Module:
    """The backbone with the method, whatever learns drawn, too."""
    model = backbone(pooling)
    torch.manual_seed(0)
    method.attach(model)
    model.double()
    fill(model, learning=True)
    return model.eval()


@torch.no_grad()
def fill(model: nn.Module, learning: bool = False) -> None:
    """Draw all parameters, or those that learn: norms' weights about 1, others about 0."""
    for name, p in model.named_parameters():
        if p.requires_grad or not learning:
            about_one = p.ndim == 1 and name.endswith("weight")
            p.copy_(about_one + drawn(name, *p.shape, within=0.2 if p.ndim == 1 else 0.1))


def images(size: int = 224) -> Tensor:
    return drawn("images", IMAGES, 3, size, size, within=3**0.5)


def drawn(name: str, *shape: int, within: float) -> Tensor:
    """Numbers that are uniform within +-`within`."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    return torch.from_numpy(generator.uniform(-within, within, shape))


def outputs(model: nn.Module, method: Method) -> dict[str, list[float]]:
    """The scores, and of each learning tensor's gradient, of the method's loss, a summary."""
    shown: list[Tensor] = []

    def forward(inputs: Tensor) -> Tensor:
        shown.append(model(inputs))
        return shown[-1]

    method.loss(model, forward, images(), torch.arange(IMAGES)).backward()
    found = {"scores": shown[0].flatten().tolist()}
    for name, p in model.named_parameters():
        if p.requires_grad:
            assert p.grad is not None, name
            found[name] = summary(p.grad)
    return found


def summary(tensor: Tensor) -> list[float]:
    """The norm and five entries."""
    flat = tensor.detach().flatten()
    shown = flat[torch.linspace(0, len(flat) - 1, min(5, len(flat))).long()]
    return [float(flat.norm()), *shown.tolist()]
