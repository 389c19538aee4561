"""Single entries of frozen tensors that learn: nothing else moves, and nothing else is counted."""

import copy

import pytest
import torch
from torch import nn

from bench.models.weight_files import load_adapter_state
from methods.shared.entries import EntryTunedLayer, LearntEntries, no_entries

LAYERS = {
    "linear": (lambda: nn.Linear(4, 3), (5, 4)),
    "convolution": (lambda: nn.Conv2d(3, 4, 2), (5, 3, 6, 6)),
    "norm": (lambda: nn.LayerNorm(4), (5, 4)),
}


@pytest.fixture(params=LAYERS)
def adapted(request):
    """A layer of which entries 1 and 3 of the weight and 0 of the bias learn, and its input."""
    build, shape = LAYERS[request.param]
    torch.manual_seed(0)
    layer = build().requires_grad_(False)
    bias = LearntEntries(torch.tensor([0]))
    return EntryTunedLayer(layer, LearntEntries(torch.tensor([1, 3])), bias), torch.randn(shape)


def train(model, x):
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        model(x).square().mean().backward()
        optimiser.step()


def test_parameters_are_counted_by_entry(adapted):
    model, _ = adapted
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 3


def test_at_the_start_the_layer_is_its_own(adapted):
    model, x = adapted
    assert torch.equal(model(x), model.layer(x))


def test_frozen_tensors_and_untouched_entries_are_bit_equal_after_training(adapted):
    model, x = adapted
    before = copy.deepcopy(model.layer)
    train(model, x)
    assert torch.equal(model.layer.weight, before.weight)
    weight, bias = model.tensors()
    moved = (weight != before.weight).flatten().nonzero().flatten()
    assert moved.tolist() == [1, 3]
    assert (bias != before.bias).nonzero().flatten().tolist() == [0]


def test_the_merged_layer_is_exactly_the_same_function(adapted):
    model, x = adapted
    train(model, x)
    merged = model.merged()
    assert type(merged) is type(model.layer)
    assert torch.equal(merged(x), model(x))


@pytest.mark.parametrize("load", [nn.Module.load_state_dict, load_adapter_state])
def test_a_checkpoint_brings_its_own_places(adapted, load):
    model, x = adapted
    train(model, x)
    layer = copy.deepcopy(model.layer)
    fresh = EntryTunedLayer(layer, no_entries(layer.weight), no_entries(layer.bias))
    assert torch.equal(fresh(x), layer(x))
    load(fresh, model.state_dict())
    assert torch.equal(fresh(x), model(x))
    assert fresh.weight_entries.deltas.requires_grad


def test_where_no_entry_learns_nothing_is_trainable():
    layer = nn.Linear(4, 3).requires_grad_(False)
    model = EntryTunedLayer(layer, no_entries(layer.weight))
    assert not any(p.requires_grad for p in model.parameters())
