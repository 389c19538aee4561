"""Methods on ConvNeXt and ResNet: learned padding, what is served, and VPT's Table 5."""

import copy

import pytest
import torch

import methods
from bench.models import method_checks, small_models
from methods.shared.structure import blocks_of
from methods.vpt_pad import IMAGENET_MEAN, IMAGENET_STD
from support import small_networks

SERVED = ["bias", "full", "gps", "linear", "mlp3", "partial1", "sidetune", "vpt_pad"]
CHECKS = ["batch_independence", "checkpointing", "half_precision", "reload", "trainable_parameters"]
IMAGES = small_models.FakeBatches().batches[0][0]


def adapted(bare, name, **fields):
    torch.manual_seed(1)
    model = copy.deepcopy(bare)
    methods.create(name, **fields).attach(model)
    return model.eval()


@pytest.mark.sample(16)
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("network", ["convnext", "resnet"])
def test_the_contract_holds_on_convolutional_networks(network, name, check):
    method_checks.CHECKS[check](methods.create(name), small_networks.build(network))


@pytest.mark.sample(1)
@pytest.mark.parametrize("network", ["convnext", "resnet"])
def test_exactly_these_methods_serve_convolutional_networks(network):
    refusals = {
        name: small_networks.refusal(methods.create(name), small_networks.on_meta(network))
        for name in methods.names()
    }
    assert [name for name, why in refusals.items() if not why] == SERVED
    assert all(4 < len(why.split()) < 40 for why in refusals.values() if why)


# Learned padding


def pad_by_hand(model, images, pixels):
    """The images in the middle of a larger one, whose edges are the learned pixels."""
    padding = next(m for m in model.modules() if hasattr(m, "left_and_right"))
    height, width = images.shape[2:]
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    edges, sides = ((p - mean) / std for p in (padding.top_and_bottom, padding.left_and_right))
    large = torch.zeros(len(images), 3, height + 2 * pixels, width + 2 * pixels)
    large[:, :, :pixels], large[:, :, -pixels:] = edges[:, :pixels], edges[:, pixels:]
    rows = large[:, :, pixels:-pixels]
    rows[..., :pixels], rows[..., -pixels:] = sides[..., :pixels], sides[..., pixels:]
    rows[..., pixels:-pixels] = images
    return large


@pytest.mark.parametrize("network", ["convnext", "resnet"])
def test_padded_images_are_larger_ones_with_learned_edges(network):
    bare = small_networks.build(network)
    model = adapted(bare, "vpt_pad", pixels=3)
    with torch.no_grad():
        wanted = bare(pad_by_hand(model, IMAGES, 3))
        torch.testing.assert_close(model(IMAGES), wanted, rtol=1e-5, atol=1e-5)


def test_a_vision_transformer_sees_the_edges_as_more_patches():
    bare = small_models.small_backbone()  # patches of 8 pixels
    model = adapted(bare, "vpt_pad", pixels=4)
    larger = copy.deepcopy(bare)
    larger.set_input_size((72, 72))
    with torch.no_grad():
        wanted = larger(pad_by_hand(model, IMAGES, 4))
        torch.testing.assert_close(model(IMAGES), wanted, rtol=1e-5, atol=1e-5)


def test_learned_pixels_start_in_the_range_of_pixels():
    model = adapted(small_networks.build("resnet"), "vpt_pad", pixels=3)
    for pixels in (model.conv1.top_and_bottom, model.conv1.left_and_right):
        assert 0 <= pixels.min().item() < 0.05
        assert 0.95 < pixels.max().item() <= 1


# Blocks and heads


@pytest.mark.parametrize(("network", "count"), [("convnext_base", 36), ("resnet50", 16)])
def test_all_blocks_stand_in_a_row(network, count):
    assert len(blocks_of(small_networks.on_meta(network))) == count


@pytest.mark.parametrize("network", ["convnext", "resnet"])
def test_partial1_unfreezes_the_last_block_and_what_norms_its_output(network):
    model = adapted(small_networks.build(network), "partial1")
    last = {id(p) for p in blocks_of(model)[-1].parameters()}
    learning = {n for n, p in model.named_parameters() if p.requires_grad and id(p) not in last}
    assert all(p.requires_grad for p in blocks_of(model)[-1].parameters())
    heads = {"convnext": {"head.norm", "head.fc"}, "resnet": {"fc"}}[network]
    assert learning == {f"{name}.{part}" for name in heads for part in ("weight", "bias")}


# Parameters, as VPT's Table 5 counts them: with all 19 tasks, times the backbone's

CLASSES = 940  # of the 19 tasks together
TOTALS = {
    "convnext_base": {"full": 19.01, "linear": 1.01, "partial1": 2.84, "mlp3": 1.47, "bias": 1.04},
    "resnet50": {"full": 19.08, "linear": 1.08, "partial1": 4.69, "mlp3": 7.87, "bias": 1.10},
}


def learning(network, name, **fields):
    model = small_networks.on_meta(network)
    methods.create(name, **fields).attach(model)
    model.get_classifier().requires_grad_(False)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def total(network, name, **fields):
    """The backbone, what each of 19 tasks trains beside it, and the heads; over the backbone."""
    own = learning(network, "full")
    heads = CLASSES * (small_networks.on_meta(network).num_features + 1)
    trained = 19 * learning(network, name, **fields) + heads
    return (trained if name == "full" else own + trained) / own


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("network", "name", "printed"),
    [(network, *row) for network, rows in TOTALS.items() for row in rows.items()],
)
def test_total_parameters_are_those_of_table_5(network, name, printed):
    assert round(total(network, name), 2) == printed


@pytest.mark.sample(1)
@pytest.mark.parametrize(("network", "printed"), [("convnext_base", 1.02), ("resnet50", 1.09)])
def test_learned_padding_costs_as_much_as_table_5_says(network, printed):
    lowest, highest = (round(total(network, "vpt_pad", pixels=n), 2) for n in (1, 11))
    assert lowest <= printed <= highest
    assert learning(network, "vpt_pad", pixels=11) == 3 * 22 * (224 + 22 + 224)
