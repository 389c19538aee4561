"""GateVPT in every kind of ViT whose blocks can be computed step by step."""

import copy

import pytest
import torch

import methods
from methods.gatevpt import GatedBlock
from methods.shared.attention import is_stepwise
from methods.shared.prompts import prompts_of
from support import concatenation_oracle, small_vits

pytestmark = pytest.mark.usefixtures("double_precision")

OPEN = 60.0  # before the sigmoid


@pytest.mark.sample(8)
@pytest.mark.parametrize("vit", list(small_vits.MODELS))
@pytest.mark.parametrize("pool_prompts", [False, True])
def test_with_open_gates_and_no_temperature_it_is_the_concatenation(
    vit: str, pool_prompts: bool
) -> None:
    bare = small_vits.build(vit)
    model = copy.deepcopy(bare)
    method = methods.create("gatevpt", prompts=3, gate=OPEN, pool_prompts=pool_prompts)
    if not is_stepwise(bare.blocks[0]):
        with pytest.raises(methods.Unsupported, match="does not know how to for"):
            method.attach(model)
        return
    method.attach(model)
    twin = concatenation_oracle.prompted(bare, prompts_of(model), pool_prompts)
    images = small_vits.images()
    with torch.no_grad():
        assert (model(images) - twin(images)).abs().max() < 1e-10


def test_the_temperature_of_queries_acts_where_timm_has_no_norm_of_them() -> None:
    model = small_vits.build("beit")
    methods.create("gatevpt", prompts=3).attach(model)
    before = model(small_vits.images())
    for name, parameter in model.named_parameters():
        if name.endswith("temperature"):
            parameter.data.fill_(2.0)
    assert sum(isinstance(module, GatedBlock) for module in model.modules()) == 1
    assert (model(small_vits.images()) - before).abs().max() > 1e-6
