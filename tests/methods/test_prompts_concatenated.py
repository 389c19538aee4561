"""Prompts in every kind of ViT score as their concatenation to the tokens of timm's own blocks."""

import copy
from typing import Any

import pytest
import torch

import methods
from methods.shared.prompts import KeyValuePromptBlock, prompts_of
from support import concatenation_oracle, small_vits

LARGEST_DIFFERENCE = 1e-10

WITHOUT_KEYS_AND_VALUES = {  # the block is no attention followed by an MLP, each on normed tokens
    "post_norm", "parallel_scaling", "parallel_things", "differential", "differential_parallel",
    "relpos_post_norm", "eva_post_norm", "eva_post_norm_rope",
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("double_precision")

every_vit = pytest.mark.parametrize("vit", list(small_vits.MODELS))


def adapted(bare: Any, name: str, **fields: Any) -> Any:
    """The model with a method's prompts, all of which differ."""
    model = copy.deepcopy(bare)
    methods.create(name, **fields).attach(model)
    torch.manual_seed(1)
    with torch.no_grad():
        for prompts in prompts_of(model):
            prompts.normal_()
    return model.eval()


def difference(bare: Any, model: Any, keep: bool = False) -> float:
    """The largest difference between scores, or gradients of the prompts, and the oracle's."""
    prompts = prompts_of(model)
    twins = [torch.nn.Parameter(p.detach().clone()) for p in prompts]
    oracle = concatenation_oracle.prompted(bare, twins, keep)
    images = small_vits.images()
    found, expected = model(images), oracle(images)
    weights = torch.linspace(-1, 1, found.numel()).view_as(found)
    gradients = [
        torch.autograd.grad((scores * weights).sum(), of)
        for scores, of in ((found, prompts), (expected, twins))
    ]
    assert expected.std() > 1e-3
    assert min(g.abs().max().item() for g in gradients[1]) > 1e-6
    pairs = [(found, expected), *zip(*gradients, strict=True)]
    return max((a - b).abs().max().item() for a, b in pairs)


@pytest.mark.sample(8)
@every_vit
@pytest.mark.parametrize("fused", [True, False])
def test_deep_prompts_as_keys_and_values(vit: str, fused: bool) -> None:
    bare = small_vits.build(vit, fused)
    model = adapted(bare, "vpt_deep", prompts=3)
    is_fast = {isinstance(block, KeyValuePromptBlock) for block in model.blocks}
    assert is_fast == {vit not in WITHOUT_KEYS_AND_VALUES}
    assert difference(bare, model) <= LARGEST_DIFFERENCE


@pytest.mark.sample(8)
@every_vit
@pytest.mark.parametrize("keep", [False, True])
def test_deep_prompts_as_a_concatenation(vit: str, keep: bool) -> None:
    bare = small_vits.build(vit)
    model = adapted(bare, "vpt_deep", prompts=3, form="concatenation", pool_prompts=keep)
    assert difference(bare, model, keep) <= LARGEST_DIFFERENCE


@pytest.mark.sample(8)
@every_vit
@pytest.mark.parametrize("keep", [False, True])
def test_shallow_prompts(vit: str, keep: bool) -> None:
    bare = small_vits.build(vit)
    model = adapted(bare, "vpt_shallow", prompts=3, pool_prompts=keep)
    assert difference(bare, model, keep) <= LARGEST_DIFFERENCE
