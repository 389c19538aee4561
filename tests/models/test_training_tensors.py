"""The tensors of a model that training changes, apart from those that stay as they were."""

from copy import deepcopy

import pytest
import torch
from torch import nn

import methods
from bench.models import small_models, weight_files
from bench.models.training_tensors import (
    DoesNotFit,
    TrainingTensors,
    named_tensors,
    tensor_sha256,
    trained_tensors,
)


def attached(name="linear"):
    """A small backbone with a method attached, before its first step."""
    model, method = small_models.small_backbone(), methods.create(name)
    ids = weight_files.tensor_ids(model)
    method.attach(model)
    return TrainingTensors.of_untrained(method, model, ids)


def test_of_a_linear_probe_the_head_alone_is_stored():
    assert sorted(attached().stored()) == ["model.head.bias", "model.head.weight"]


def test_a_frozen_tensor_that_is_written_to_is_stored_from_then_on():
    tensors = attached()
    with torch.no_grad():
        tensors.model.blocks[1].norm1.bias.add_(1)
    assert "model.blocks.1.norm1.bias" in tensors.stored()
    fresh = attached()
    fresh.load(tensors.stored())
    assert "model.blocks.1.norm1.bias" in fresh.stored()  # of a second checkpoint, too
    assert fresh.frozen_sha256() == tensors.frozen_sha256()


def test_a_frozen_tensor_that_is_changed_unnoticed_changes_the_hash():
    tensors = attached()
    before = tensors.frozen_sha256()
    tensors.model.blocks[1].norm1.bias.data[0] += 1
    assert tensors.frozen_sha256() != before


def test_what_learns_is_no_part_of_the_hash():
    tensors = attached()
    before = tensors.frozen_sha256()
    nn.init.ones_(tensors.model.head.weight)
    assert tensors.frozen_sha256() == before


def test_buffers_that_are_not_persistent_are_stored():
    tensors = attached("da_vpt")
    class_map = tensors.model.blocks[-1].class_map
    class_map.observe(torch.randn(5, 64), torch.arange(5))
    class_map.counts.fill_(2)
    class_map.prompts = 2
    class_map.renew()
    fresh = attached("da_vpt")
    assert fresh.model.blocks[-1].class_map.centres is None
    fresh.load(tensors.stored())
    assert torch.equal(fresh.model.blocks[-1].class_map.centres, class_map.centres)


def test_tensors_whose_shapes_depend_on_data_come_with_their_shapes():
    model, method = small_models.small_backbone(), methods.create("sensitivity_lora")
    ids = weight_files.tensor_ids(model)
    method.prepare(model, small_models.FakeBatches())
    trained = TrainingTensors.of_untrained(method, model, ids)
    fresh = attached("sensitivity_lora")
    fresh.load(trained.stored())
    assert list(trained_tensors(fresh.model)) == list(trained_tensors(model))
    found = named_tensors(fresh.model)
    assert all(torch.equal(value, found[name]) for name, value in named_tensors(model).items())


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"model.head.bias": torch.zeros(1)}, r"head.bias is \(1,\) and not \(5,\)"),
        ({"model.head.bias": torch.zeros(5).double()}, "torch.float64 in place of torch.float32"),
        ({"model.blocks.7.gate": torch.zeros(1)}, "blocks.7.gate does not exist in this model"),
        ({"model.head.gate": torch.zeros(1)}, "head.gate does not exist in this model"),
    ],
)
def test_tensors_of_another_model_are_refused(changed, why):
    tensors = attached()
    with pytest.raises(DoesNotFit, match=why):
        tensors.load(tensors.stored() | changed)


def test_a_missing_tensor_is_refused():
    tensors = attached()
    stored = tensors.stored()
    del stored["model.head.weight"]
    with pytest.raises(DoesNotFit, match=r"it lacks head\.weight"):
        tensors.load(stored)


@pytest.mark.parametrize(
    "other",
    [
        torch.tensor([[1.0, 2.0]]),
        torch.tensor([1.0, -2.0]),
        torch.tensor([1.0, 2.0]).double(),
        torch.tensor([1.0, 2.0]).view(torch.int32),
    ],
)
def test_a_tensor_s_hash_is_of_type_shape_and_values(other):
    tensor = torch.tensor([1.0, 2.0])
    assert tensor_sha256(tensor) == tensor_sha256(deepcopy(tensor))
    assert tensor_sha256(tensor) != tensor_sha256(other)


@pytest.mark.parametrize(
    "tensor",
    [torch.tensor(1.5), torch.zeros(0), torch.ones(3).bfloat16(), torch.tensor([True])],
    ids=["scalar", "empty", "bf16", "bool"],
)
def test_any_tensor_can_be_hashed(tensor):
    assert len(tensor_sha256(tensor)) == 64
