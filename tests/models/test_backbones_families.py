"""Backbones of other families than ViTs: built at a card's size, with weights as published."""

import re

import pytest
import timm
import torch
from safetensors.torch import save_file

from bench.config.backbone import load_backbone
from bench.config.recipe import load_recipe
from bench.models import backbones
from bench.utils.errors import UserError
from support import tiny
from support.small_networks import SWIN

RECIPE = load_recipe("quick")
SIZE = 64
SMALL = {
    "swin_tiny_patch4_window7_224": {**SWIN, "window_size": 4},
    "convnext_atto": {"depths": [1, 1, 1, 1], "dims": [8, 16, 16, 24]},
    "resnet18": {"channels": [8, 8, 16, 16]},
    "vit_base_patch16_dinov3": {"embed_dim": 32, "depth": 2, "num_heads": 2},
    "eva02_tiny_patch14_224": {"embed_dim": 48, "depth": 2, "num_heads": 2, "patch_size": 16},
}


def resolved(folder, name, **changed):
    architecture = {k: v for k, v in SMALL[name].items() if k not in ("img_size", "drop_path_rate")}
    card = {"pooling": "", "input_size": SIZE, "architecture": architecture, **changed}
    path = tiny.backbone_card(folder / "card.toml", timm=name, **card)
    return backbones.resolve(load_backbone(str(path)))


def network(name):
    """The network with a head of 7 classes, and weights unlike any initialisation's."""
    size = {} if name.startswith(("convnext", "resnet")) else {"img_size": SIZE}
    model = timm.create_model(name, num_classes=7, **{**SMALL[name], **size})
    generator = torch.Generator().manual_seed(1)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.1)
    return model.eval()


@pytest.mark.parametrize("name", SMALL)
def test_a_network_of_each_family_is_built_at_the_card_s_size(tmp_path, name):
    found = resolved(tmp_path, name)
    model = backbones.load(found, 5, RECIPE).eval()
    assert model(torch.randn(2, 3, SIZE, SIZE)).shape == (2, 5)
    assert found.input.size == SIZE
    assert found.input.pooling == "avg"
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    assert {p.data_ptr() for p in model.get_classifier().parameters()} == {
        dict(model.named_parameters())[n].data_ptr() for n in learning
    }


@pytest.mark.parametrize("name", ["convnext_atto", "resnet18"])
def test_a_network_for_any_size_knows_that_of_its_images(tmp_path, name):
    model = backbones.load(resolved(tmp_path, name), 5, RECIPE)
    assert model.pretrained_cfg["input_size"] == (3, SIZE, SIZE)


def test_swin_drops_no_paths(tmp_path):
    name = "swin_tiny_patch4_window7_224"
    plain = backbones.load(resolved(tmp_path, name), 5, RECIPE)
    assert not any(type(m).__name__ == "DropPath" for m in plain.modules())


@pytest.mark.parametrize("name", SMALL)
def test_weights_are_loaded_without_their_head(tmp_path, name):
    saved = network(name)
    save_file(saved.state_dict(), tmp_path / "w.safetensors")
    model = backbones.load(resolved(tmp_path, name, weights="w.safetensors"), 7, RECIPE).eval()
    with torch.no_grad():
        model.get_classifier().load_state_dict(saved.get_classifier().state_dict())
        seen = torch.randn(2, 3, SIZE, SIZE)
        assert torch.equal(model(seen), saved(seen))


def test_published_swins_keep_the_merging_at_the_end_of_a_stage(tmp_path):
    saved = network("swin_tiny_patch4_window7_224")
    earlier = {
        re.sub(r"layers.(\d).down", lambda m: f"layers.{int(m[1]) - 1}.down", name): value
        for name, value in saved.state_dict().items()
    }
    published = {name.replace("head.fc.", "head."): value for name, value in earlier.items()}
    torch.save({"model": published}, tmp_path / "w.pth")
    found = resolved(tmp_path, "swin_tiny_patch4_window7_224", weights="w.pth")
    state = backbones.load(found, 5, RECIPE).state_dict()
    wanted = {n: v for n, v in saved.state_dict().items() if "head" not in n}
    assert all(torch.equal(state[name], value) for name, value in wanted.items())


def test_old_resnets_without_counters_are_loaded(tmp_path):
    saved = network("resnet18").state_dict()
    old = {n: v for n, v in saved.items() if not n.endswith("num_batches_tracked")}
    save_file(old, tmp_path / "w.safetensors")
    assert resolved(tmp_path, "resnet18", weights="w.safetensors").sha256 != "random"


def test_weights_without_a_statistic_are_refused(tmp_path):
    saved = network("resnet18").state_dict()
    del saved["bn1.running_mean"]
    save_file(saved, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"lacks bn1\.running_mean: not weights of resnet18"):
        resolved(tmp_path, "resnet18", weights="w.safetensors")
