"""Every method gives on a GPU the scores and gradients that it gives on the CPU."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import timm
import torch
from torch import Tensor
from torch.nn import functional as F

import methods
from bench.models import frozen_trunk
from bench.training import trainer
from methods import Unsupported
from methods.shared.base import Model

FP32 = 1e-4  # of the largest entry of each tensor
SPREAD = 4  # of the rounding errors of one sum in two orders
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 4, "num_heads": 2}
LABELS = torch.arange(8) % 5  # (B,); 8 images have more tokens than any method has prompts


def noise() -> Tensor:
    """Images, (B, 3, 32, 32)."""
    return torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def adapted(name: str) -> Model:
    """A small ViT with the method on the CPU, whose trainable tensors are away from their start."""
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=5, **SMALL).requires_grad_(False)
    model.get_classifier().requires_grad_(True)
    try:
        methods.create(name).prepare(model, [(noise(), LABELS)])
    except Unsupported as error:
        pytest.skip(f"n/a on this ViT: {error}")
    for p in model.parameters():
        if p.requires_grad:
            p.data.add_(0.02 * torch.randn_like(p))
    return model.eval()


def outputs(model: Any, device: torch.device, precision: str) -> Mapping[str, Tensor]:
    """The scores, and the gradients of their cross entropy, on the CPU."""
    model = copy.deepcopy(model).to(device)
    images, labels = noise().to(device), LABELS.to(device)
    with trainer.autocast(device, precision):
        scores = frozen_trunk.forward_fn(model)(images).float()  # (B, classes)
    F.cross_entropy(scores, labels).backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {"scores": scores.detach().cpu(), **{n: g.cpu() for n, g in gradients.items()}}


def largest_difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """The largest difference of two tensors of a name, relative to the largest gradient there."""
    assert one.keys() == other.keys()
    scale = {name: other[name].abs().max() for name in other}
    largest = max(value for name, value in scale.items() if name != "scores")
    return max(
        ((one[n] - other[n]).abs().max() / (scale[n] if n == "scores" else largest)).item()
        for n in one
    )


@pytest.mark.parametrize("name", methods.names())
def test_fp32_on_a_gpu_is_that_of_the_cpu(name: str, device: torch.device) -> None:
    model = adapted(name)
    expected = outputs(model, torch.device("cpu"), "fp32")
    assert largest_difference(outputs(model, device, "fp32"), expected) < FP32


@pytest.mark.parametrize("name", methods.names())
def test_bf16_on_a_gpu_errs_as_bf16_on_the_cpu(name: str, device: torch.device) -> None:
    model, cpu = adapted(name), torch.device("cpu")
    exact = outputs(model, cpu, "fp32")["scores"]
    usual, found = (
        (outputs(model, where, "bf16")["scores"] - exact).abs().max() for where in (cpu, device)
    )
    assert 0 < found < SPREAD * usual
