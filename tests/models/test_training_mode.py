"""Training mode: batch norms that are not trained keep their statistics; the others' are saved."""

import copy

import pytest
import torch

import methods
from bench.models import small_models, weight_files
from bench.models.training_mode import moving_statistics, set_training_mode
from support import small_networks

IMAGES = small_models.FakeBatches().batches[0][0]


def attached(name):
    torch.manual_seed(0)
    model = small_networks.build("resnet")
    methods.create(name).attach(model)
    return model


def statistics(model):
    return {n: b.clone() for n, b in model.named_buffers() if "running" in n}


def moved(name):
    """The batch norms whose statistics a pass in training mode changes."""
    model = attached(name)
    before = statistics(model)
    set_training_mode(model)
    model(IMAGES)
    after = statistics(model)
    return {n.rpartition(".")[0] for n in after if not torch.equal(before[n], after[n])}


@pytest.mark.parametrize("name", ["linear", "bias", "vpt_pad"])
def test_frozen_batch_norms_keep_their_statistics(name):
    assert moved(name) == set()


def test_trained_batch_norms_move_theirs():
    assert moved("partial1") == {f"layer4.1.bn{i}" for i in (1, 2, 3)}
    norms = {n.rpartition(".")[0] for n in statistics(attached("full"))}
    assert moved("full") == norms
    assert len(moved("mlp3")) == 2


def test_linear_probing_scores_alike_in_both_modes():
    model = attached("linear")
    with torch.no_grad():
        wanted = model.eval()(IMAGES)
        set_training_mode(model)
        assert torch.equal(model(IMAGES), wanted)
    assert model.training


@pytest.mark.parametrize("name", ["partial1", "full", "mlp3", "linear"])
def test_a_saved_adapter_holds_the_statistics_that_have_moved(name):
    bare = small_networks.build("resnet")
    model = copy.deepcopy(bare)
    ids = weight_files.tensor_ids(model)
    methods.create(name).attach(model)
    small_models.train_briefly(methods.create(name), model)
    tensors = weight_files.adapter_state_dict(model, ids)
    fresh = copy.deepcopy(bare)
    methods.create(name).attach(fresh)
    weight_files.load_adapter_state(fresh, tensors)
    with torch.no_grad():
        assert torch.equal(fresh.eval()(IMAGES), model(IMAGES))


def test_moving_statistics_are_those_of_trained_batch_norms():
    assert list(moving_statistics(attached("linear"))) == []
    assert len(list(moving_statistics(attached("partial1")))) == 6
