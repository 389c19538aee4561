"""Dropout is active in training, for every method that has any, and never in evaluation."""

from dataclasses import fields

import pytest
import torch

import methods
from bench.models import small_models

RATES = ("dropout", "drop_path")
IMAGES = small_models.FakeBatches().batches[0][0]


def rates_of(name: str) -> list[str]:
    """The fields of a method that say how much is dropped."""
    known = {f.name for f in fields(methods.create(name))}
    return [rate for rate in RATES if rate in known]


DROPPING = [name for name in methods.names() if rates_of(name)]


def trained(name: str, rate: float):
    """The method's model after some steps: what it adds is no longer at its neutral start."""
    method = methods.create(name, **dict.fromkeys(rates_of(name), rate))
    return small_models.train_briefly(
        method, small_models.prepare_copy(method, small_models.small_backbone())
    )


def twice(model) -> bool:
    """Whether two passes score alike."""
    with torch.no_grad():
        return torch.equal(model(IMAGES), model(IMAGES))


def test_methods_with_dropout_are_known():
    assert {"adapter_plus", "adaptformer", "lora_noah", "mlp3", "vpt_deep", "vqt"} <= set(DROPPING)


@pytest.mark.sample(9)
@pytest.mark.parametrize("name", DROPPING)
def test_dropout_draws_in_training_alone(name):
    model = trained(name, 0.5)
    assert twice(model)
    if name == "adapter_vpt2022":
        pytest.skip("what it drops is zero and stays so: its upper biases alone learn")
    assert not twice(model.train())


@pytest.mark.sample(9)
@pytest.mark.parametrize("name", DROPPING)
def test_without_dropout_training_scores_as_evaluation_does(name):
    model = trained(name, 0.0)
    if name == "mlp3":
        pytest.skip("its batch norm sees the batch in training")
    assert twice(model.train())


@pytest.mark.sample(20)
@pytest.mark.parametrize("name", methods.names())
def test_every_method_as_registered_scores_twice_alike(name):
    method = methods.create(name)
    assert twice(small_models.prepare_copy(method, small_models.small_backbone()))
