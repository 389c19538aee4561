"""Bias tuning trains every bias, wherever timm keeps it."""

import pytest

import methods
from support import small_vits


@pytest.mark.sample(10)
@pytest.mark.parametrize("vit", list(small_vits.MODELS))
def test_every_parameter_called_a_bias_is_trained_and_no_other(vit: str) -> None:
    model = small_vits.build(vit)
    methods.create("bias").attach(model)
    found = {name for name, p in model.named_parameters() if p.requires_grad}
    heads = {name for name, _ in model.named_parameters() if name.split(".")[0] in HEADS}
    biases = {name for name, _ in model.named_parameters() if name.endswith("bias")}
    assert found - heads == biases - heads


HEADS = ("head", "head_dist")
