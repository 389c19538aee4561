"""Adapter state dicts: saved and loaded, they hold all that a cell trained, and nothing else."""

import pytest
import torch

import methods
from bench.models import small_models, weight_files
from bench.utils.errors import UserError


def trained():
    """A model with LoRA after some steps, and what it trained."""
    model = small_models.small_backbone()
    bare = weight_files.tensor_ids(model)
    method = methods.create("lora")
    method.attach(model)
    small_models.train_briefly(method, model)
    return model, weight_files.adapter_state_dict(model, bare)


def fresh():
    model = small_models.small_backbone()
    methods.create("lora").attach(model)
    return model.eval()


def test_what_was_trained_put_back_scores_the_same():
    model, tensors = trained()
    other, images = fresh(), small_models.FakeBatches().batches[0][0]
    weight_files.load_adapter_state(other, tensors)
    with torch.no_grad():
        assert torch.equal(model(images), other(images))


def test_what_was_trained_is_what_learns_and_no_more():
    model, tensors = trained()
    assert set(tensors) == {n for n, p in model.named_parameters() if p.requires_grad}


def test_a_file_that_lacks_what_learns_is_refused():
    _, tensors = trained()
    del tensors["head.bias"]
    with pytest.raises(UserError, match=r"head\.bias is trainable in this method's model"):
        weight_files.load_adapter_state(fresh(), tensors)


@pytest.mark.parametrize(
    "other", [{"head.weight": torch.zeros(7, 64)}, {"blocks.0.attn.qkv.nothing": torch.zeros(1)}]
)
def test_a_tensor_that_has_no_place_is_refused(other):
    _, tensors = trained()
    with pytest.raises(UserError, match="does not exist in this method's model"):
        weight_files.load_adapter_state(fresh(), {**tensors, **other})
