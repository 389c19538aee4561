"""GPS: as many entries a neuron as it says, those of largest gradient, and all biases."""

import pytest
import torch

import methods
from bench.models import small_models
from methods.gps import largest_in_rows, random_view, supervised_contrastive_loss
from methods.shared.entries import EntryTunedLayer


def prepared(entries=2, batches=None, seed=0):
    torch.manual_seed(seed)
    model = small_models.small_backbone()
    methods.create("gps", entries=entries).prepare(model, batches or small_models.FakeBatches())
    return model


def layers(model):
    return {n: m for n, m in model.named_modules() if isinstance(m, EntryTunedLayer)}


@pytest.mark.parametrize("entries", [1, 3])
def test_exactly_so_many_entries_of_each_row_learn(entries):
    found = layers(prepared(entries))
    assert len(found) == 1 + 3 * 4  # the patch embedding and the blocks' layers
    for layer in found.values():
        weight = layer.layer.weight
        rows = layer.weight_entries.places.long() // weight[0].numel()
        assert torch.equal(rows.bincount(), torch.full((len(weight),), entries))


def test_nothing_else_moves_in_training():
    method, model = methods.create("gps"), prepared(1)
    before = {n: m.layer.weight.clone() for n, m in layers(model).items()}
    small_models.train_briefly(method, model)
    for name, layer in layers(model).items():
        assert torch.equal(layer.layer.weight, before[name])
        moved = (layer.tensors()[0] != before[name]).flatten(1).sum(1)
        assert moved.max() <= 1


def test_biases_learn_but_those_of_norms_the_class_token_and_positions_do_not():
    learns = {n: p.requires_grad for n, p in prepared().named_parameters()}
    assert learns["blocks.0.attn.qkv.layer.bias"]
    assert learns["patch_embed.proj.layer.bias"]
    assert not any(learns[n] for n in ("blocks.0.norm1.bias", "norm.bias", "cls_token"))
    assert not learns["pos_embed"]


def test_the_largest_magnitudes_of_each_row_are_found():
    values = torch.tensor([[1.0, -5.0, 2.0], [0.0, 1.0, -3.0]])
    assert sorted(largest_in_rows(values, 1).tolist()) == [1, 5]
    assert sorted(largest_in_rows(values, 2).tolist()) == [1, 2, 4, 5]
    assert len(largest_in_rows(values, 9)) == 6


def places_of(batches):
    return torch.cat([m.weight_entries.places for m in layers(prepared(1, batches)).values()])


def test_who_shares_a_class_decides_and_not_what_it_is_called():
    regrouped = small_models.FakeBatches()
    regrouped.batches = [(images, labels.roll(1)) for images, labels in regrouped.batches]
    own = places_of(small_models.FakeBatches())
    assert torch.equal(places_of(small_models.FakeBatches(relabelled=1)), own)
    assert not torch.equal(places_of(regrouped), own)


def test_choosing_draws_no_random_number_of_what_follows():
    model = small_models.small_backbone()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    methods.create("gps").prepare(model, small_models.FakeBatches())
    assert torch.equal(torch.rand(3), expected)


def test_a_view_is_a_crop_of_the_image_of_its_size():
    torch.manual_seed(0)
    images = torch.arange(16.0).view(1, 1, 4, 4).expand(8, 3, 4, 4)
    views = random_view(images)
    assert views.shape == images.shape
    assert views.min() >= 0
    assert views.max() <= 15
    assert not torch.equal(views[0], views[1])
    assert (views[:, 0, 0, 0] < views[:, 0, 3, 0]).all()  # rows keep their order
    flipped = views[:, 0, 0, 0] > views[:, 0, 0, 3]
    assert flipped.any()
    assert not flipped.all()


def test_the_loss_is_lower_where_a_class_lies_together():
    features = torch.tensor([[1.0, 0], [0, 1], [1, 0.1], [0.1, 1]])
    together = supervised_contrastive_loss(features, torch.tensor([0, 1]))
    apart = supervised_contrastive_loss(features[[0, 1, 3, 2]], torch.tensor([0, 1]))
    assert together < 0.1 < apart
