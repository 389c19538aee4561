"""Time of a training step with deep prompts in each form, and of initialising them.

Run by ``tox -e speed``; compare the figures of one run with each other, not with another machine's.
"""

import pytest
import timm
import torch
import torch.nn.functional as F

import methods
from methods.shared.prompt_initialisation import STRATEGIES

PROMPTS = (20, 50, 100)


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 3, 224, 224, generator=generator), torch.arange(8)


def step(model, images, labels):
    model.zero_grad()
    F.cross_entropy(model(images), labels).backward()


def small(name, **fields):
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=10).requires_grad_(False)
    model.head.requires_grad_(True)
    methods.create(name, **fields).attach(model)
    return model


@pytest.mark.benchmark(group="training step, ViT-Ti/16, batch 8")
def test_linear_probe_s_step(benchmark, batch):
    benchmark(step, small("linear"), *batch)


@pytest.mark.sample(2)
@pytest.mark.parametrize("form", ["keys_and_values", "concatenation"])
@pytest.mark.parametrize("prompts", PROMPTS)
@pytest.mark.benchmark(group="training step, ViT-Ti/16, batch 8")
def test_deep_prompts_step(benchmark, batch, prompts, form):
    benchmark(step, small("vpt_deep", prompts=prompts, form=form), *batch)


@pytest.mark.parametrize("strategy", list(STRATEGIES))
@pytest.mark.benchmark(group="20 prompts from the tokens of 32 images, one layer of ViT-Ti/16")
def test_choosing_prompts(benchmark, strategy):
    tokens = torch.randn(32, 196, 192, generator=torch.Generator().manual_seed(0))
    benchmark(STRATEGIES[strategy], tokens, 20, "batch")
