"""Backbones: cards resolve, released layouts load, pixels are normalised, misfits are refused."""

import hashlib
from dataclasses import replace
from math import log
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from bench.config.backbone import InputSpec, load_backbone
from bench.config.recipe import load_recipe
from bench.models import backbones
from bench.utils.errors import UserError
from support import tiny

RECIPE = load_recipe("quick")


def network(pooling="token", **changed):
    """The network of the tiny card, with weights unlike any initialisation's."""
    options = {**tiny.ARCHITECTURE, **changed}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=3, global_pool=pooling, **options)
    generator = torch.Generator().manual_seed(1)
    for p in model.parameters():
        p.data = torch.randn(p.shape, generator=generator) * 0.1
    return model.eval()


@pytest.fixture(scope="module")
def weights():
    """The weights of that network, head left out."""
    return {n: v for n, v in network().state_dict().items() if not n.startswith("head.")}


def loaded(path: Path, recipe=RECIPE, **changed):
    """The model of the tiny card with the weights at `path`."""
    card = tiny.backbone_card(path.parent / "card.toml", weights=path.name, **changed)
    return backbones.load(backbones.resolve(load_backbone(str(card))), 3, recipe).eval()


def saved(content, path: Path) -> Path:
    save = save_file if path.suffix == ".safetensors" else torch.save
    save(content, path)
    return path


def same(model: nn.Module, found: dict) -> bool:
    own = model.state_dict()
    return all(torch.equal(own[name], value) for name, value in found.items())


def refused(path: Path, **changed) -> str:
    """The one sentence with which the weights at `path` are refused."""
    with pytest.raises(UserError) as error:
        loaded(path, **changed)
    assert "\n" not in str(error.value)
    return str(error.value)


def unresolved(name: str) -> str:
    with pytest.raises(UserError) as error:
        backbones.resolve(load_backbone(name))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_model_is_frozen_but_for_a_new_head(tmp_path, weights):
    model = loaded(saved(weights, tmp_path / "w.safetensors"))
    learns = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learns == {"head.weight", "head.bias"}
    assert model.head.weight.shape == (3, 64)


def test_safetensors_and_pth_load_alike(tmp_path, weights):
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    scores = []
    for name in ("w.safetensors", "w.pth"):
        torch.manual_seed(0)
        with torch.no_grad():
            scores.append(loaded(saved(weights, tmp_path / name))(images))
    assert torch.equal(*scores)
    assert scores[0].std() > 0


def test_a_pickle_that_runs_code_is_not_read(tmp_path):
    class Harmful:
        def __reduce__(self):
            return Path.touch, (tmp_path / "touched",)

    path = saved({"model": Harmful()}, tmp_path / "w.pth")
    assert f"{path} cannot be read as weights" in refused(path)
    assert not (tmp_path / "touched").exists()


def test_mocov3s_file_loads_and_its_projector_and_momentum_encoder_are_dropped(tmp_path, weights):
    extra = {"head.0.weight": torch.zeros(8, 64), "head.1.running_mean": torch.zeros(8)}
    state = {
        **{f"module.base_encoder.{n}": v for n, v in {**weights, **extra}.items()},
        **{f"module.momentum_encoder.{n}": v + 1 for n, v in {**weights, **extra}.items()},
        "module.predictor.0.weight": torch.zeros(8, 8),
    }
    path = saved({"epoch": 300, "state_dict": state}, tmp_path / "vit.pth.tar")
    assert same(loaded(path), weights)


def mae(weights):
    return {
        **weights,
        "mask_token": torch.zeros(1, 1, 8),
        "decoder_pos_embed": torch.zeros(1, 17, 8),
        "decoder_blocks.0.norm1.weight": torch.zeros(8),
        "decoder_pred.bias": torch.zeros(8),
    }


def test_maes_file_loads_without_decoder_and_its_norm_stands_behind_the_pooling(tmp_path, weights):
    path = saved({"model": mae(weights)}, tmp_path / "mae.pth")
    model = loaded(path, pooling="avg")
    rest = {n: v for n, v in weights.items() if not n.startswith("norm.")}
    assert same(model, rest)
    assert isinstance(model.norm, nn.Identity)
    assert torch.equal(model.fc_norm.weight, weights["norm.weight"])
    assert torch.equal(model.fc_norm.bias, weights["norm.bias"])


def test_a_fresh_norm_behind_the_pooling_is_the_identity(tmp_path, weights):
    path = saved({"model": mae(weights)}, tmp_path / "mae.pth")
    model = loaded(path, replace(RECIPE, pooled_norm="fresh"), pooling="avg")
    assert (model.fc_norm.weight == 1).all()
    assert (model.fc_norm.bias == 0).all()


def test_positions_are_resampled_for_another_input_size(tmp_path, weights):
    path = saved(weights, tmp_path / "w.pth")
    model = loaded(path, input_size=64, architecture={**tiny.ARCHITECTURE, "img_size": 64})
    grid = weights["pos_embed"][:, 1:].reshape(1, 4, 4, 64)
    assert model.pos_embed.shape == (1, 1 + 64, 64)
    assert torch.equal(model.pos_embed[:, :1], weights["pos_embed"][:, :1])
    assert torch.allclose(model.pos_embed[:, 1:].mean(), grid.mean(), atol=0.01)
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_weights_of_another_patch_size_are_refused_not_resampled(tmp_path):
    path = saved(network(patch_size=16).state_dict(), tmp_path / "w.pth")
    assert "patch_embed.proj.weight is of 16 x 16 pixels; card wants 8 x 8" in refused(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.pop("blocks.1.mlp.fc2.bias"), "lacks blocks.1.mlp.fc2.bias: not weights of"),
        (lambda w: w.update(extra=torch.zeros(1)), "has unknown extra: not weights of"),
        (lambda w: w.update(cls_token=torch.zeros(1, 1, 8)), "cls_token is (1, 1, 8); vit_tiny"),
        (lambda w: w.update(pos_embed=torch.zeros(1, 13, 64)), "does not fit vit_tiny_patch16_224"),
        (dict.clear, "lacks blocks.0.attn.proj.bias"),
    ],
    ids=["missing", "unknown", "shape", "positions", "empty"],
)
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path, weights, change, says):
    altered = dict(weights)
    change(altered)
    assert says in refused(saved(altered, tmp_path / "w.pth"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<!DOCTYPE html><html>", "is a web page, not weights: its download went wrong"),
        (b"", "is empty: its download went wrong"),
        (b"\x80\x02 no weights at all", "cannot be read as weights"),
    ],
)
def test_a_file_that_holds_no_weights_is_refused(tmp_path, suffix, content, says):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    assert f"{path} {says}" in refused(path)


def test_a_cut_off_file_is_refused(tmp_path, weights):
    for suffix in (".pth", ".safetensors"):
        path = saved(weights, tmp_path / f"w{suffix}")
        path.write_bytes(path.read_bytes()[:5000])
        assert f"{path} cannot be read as weights" in refused(path)


def test_weights_that_are_not_by_name_are_refused(tmp_path):
    assert "contains a list, not a state dict" in refused(saved([1], tmp_path / "w.pth"))


def test_a_wrong_sha256_is_refused_and_the_right_one_taken(tmp_path, weights):
    path = saved(weights, tmp_path / "w.pth")
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    loaded(path, sha256=right)
    says = refused(path, sha256="0" * 64)
    assert f"has sha256 {right}; the card of card says 000" in says


def test_weights_that_are_not_there_are_named_with_the_places_looked_in(tmp_path):
    says = refused(tmp_path / "gone.pth")
    assert f"the weights of card are not there: looked for {tmp_path}/gone.pth" in says


def test_a_card_elsewhere_may_name_the_projects_weights(tmp_path):
    card = tiny.backbone_card(tmp_path / "card.toml", weights="vit_mini_mae.safetensors")
    assert Path(load_backbone(str(card)).weights).name == "vit_mini_mae.safetensors"
    assert not Path(load_backbone(str(card)).weights).is_absolute()


@pytest.mark.parametrize("name", ["mixer_s16_224", "efficientnet_b0", "swinv2_tiny_window8_256"])
def test_a_network_of_no_known_family_is_refused(name):
    says = unresolved(name)
    assert says.startswith(f"{name} is a ")
    assert "supported are" in says
    assert "Eva" in says
    assert "VisionTransformer" in says


def test_both_heads_of_a_distilled_network_learn_which_is_said(tmp_path):
    name = "deit_tiny_distilled_patch16_224"
    torch.manual_seed(0)
    saved_network = timm.create_model(name, num_classes=7, **tiny.ARCHITECTURE)
    path = saved(saved_network.state_dict(), tmp_path / "distilled.safetensors")
    card = tiny.backbone_card(tmp_path / "two.toml", timm=name, weights=path.name)
    found = backbones.resolve(load_backbone(str(card)))
    assert any("two heads" in note and "mean" in note for note in found.notes)
    model = backbones.load(found, 3, RECIPE)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable == {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}
    assert model.head.bias.shape == model.head_dist.bias.shape == (3,)
    assert torch.equal(model.dist_token, saved_network.dist_token)


def test_an_unknown_name_is_answered_with_near_ones():
    assert "did you mean vit_base_patch16_224" in unresolved("vit_base_patch16_225")


def test_an_unknown_tag_is_answered_with_near_ones():
    says = unresolved("vit_base_patch16_224.augreg_in22k")
    assert "did you mean vit_base_patch16_224.augreg_in21k" in says


@pytest.mark.parametrize(
    "name", ["vit_base_patch16_225", "vit_base_patch16_224.mea", "vit_base_patch16_224.mocov4",
             "vit_base_patch16_224.zzz", "ViT-B/16", "resnet", "zzz", ""],
)  # fmt: skip
def test_of_an_unknown_name_only_near_ones_are_said_and_none_twice(name):
    says = unresolved(name) if name else str(backbones._unknown_backbone(name))
    assert len(says) < 300
    _, _, near = says.partition("did you mean ")
    found = near.rstrip("?").split(", ")
    assert len(set(found)) == len(found) <= 3


def test_a_weights_file_in_place_of_a_backbone_is_called_one(tmp_path, weights):
    path = saved(weights, tmp_path / "own.pth")
    assert f"{path} is a file, not a backbone: name a model with it, MODEL@" in unresolved(
        str(path)
    )


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("vit_base_patch14_dinov2", 225, "225 pixels in patches of 14: 224 or 238 would do"),
        ("vit_base_patch16_224", 8, "8 pixels in patches of 16: 16 would do"),
        ("vit_small_patch16_dinov3", 250, "250 pixels in patches of 16: 240 or 256 would do"),
        ("swin_tiny_patch4_window7_224", 226, "226 pixels in patches of 4: 224 or 228 would do"),
        ("convnext_tiny", 8, "8 x 8 pixels: "),
    ],
)
def test_an_input_that_a_network_cannot_see_is_refused_with_near_sizes(name, size, says):
    card = replace(load_backbone(name), weights="random", input_size=size)
    with pytest.raises(UserError, match=f"{name} cannot see {says}"):
        backbones.resolve(card)


@pytest.mark.parametrize(
    ("name", "size"),
    [("vit_base_patch14_dinov2", 224), ("convnext_tiny", 225), ("resnet50", 100)],
)
def test_an_input_of_another_size_that_a_network_can_see_is_taken(name, size):
    card = replace(load_backbone(name), weights="random", input_size=size)
    assert backbones.resolve(card).input.size == size


def test_a_card_of_another_depth_than_its_file_s_is_told_both(tmp_path, weights):
    path = saved(weights, tmp_path / "w.pth")
    says = refused(path, architecture={**tiny.ARCHITECTURE, "depth": 3})
    assert says.endswith("not weights of vit_tiny_patch16_224 with 3 blocks: it has 2")
    path = saved(network("avg").state_dict(), tmp_path / "avg.pth")
    assert refused(path, pooling="token").endswith("it has fc_norm, as pooling avg has")


def test_a_state_dict_of_weights_that_start_at_random_is_refused(tmp_path):
    card = tiny.backbone_card(tmp_path / "card.toml", state_dict="teacher")
    assert "has no weights file, so no state dict teacher" in unresolved(str(card))


@pytest.mark.parametrize(
    ("wrong", "near"),
    [({"embed_dmi": 64}, "embed_dmi"), ({"embed_dim": 65}, "65"), ({"depth": "two"}, "depth")],
)
def test_an_architecture_that_cannot_be_built_is_refused(tmp_path, wrong, near):
    card = tmp_path / "card.toml"
    tiny.backbone_card(card, architecture={**tiny.ARCHITECTURE, **wrong})
    assert near in unresolved(str(card))


def test_a_pooling_that_the_network_does_not_have_is_refused(tmp_path):
    card = tiny.backbone_card(
        tmp_path / "c.toml", timm="vit_base_patch16_siglip_224", input_size=224, architecture={}
    )
    assert "timm cannot build it with" in unresolved(str(card))


def test_weights_that_can_neither_be_found_nor_downloaded_are_refused_with_a_way_out(monkeypatch):
    def fail(*_, **__):
        raise ConnectionError("no network\nat all")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    says = unresolved("vit_tiny_patch16_224.augreg_in21k")
    assert "could not be downloaded from timm/vit_tiny_patch16_224.augreg_in21k" in says
    assert "--backbones vit_tiny_patch16_224.augreg_in21k@FILE.safetensors" in says


def test_a_network_without_published_weights_says_so(monkeypatch):
    assert "timm has no weights of vit_giant_patch14_224" in unresolved("vit_giant_patch14_224")


def test_timms_name_and_a_file_make_a_backbone(tmp_path, weights):
    path = saved(weights, tmp_path / "own.pth")
    card = load_backbone(f"vit_tiny_patch16_224@{path}")
    assert (card.name, card.timm) == ("vit_tiny_patch16_224@own", "vit_tiny_patch16_224")
    own = replace(card, architecture=tiny.ARCHITECTURE, input_size=32)
    assert backbones.resolve(own).weights == path
    assert "is of 8 x 8 pixels; vit_tiny_patch16_224@own wants 16 x 16" in unresolved(
        f"vit_tiny_patch16_224@{path}"
    )


def test_a_card_without_weights_is_the_seeded_initialisation(tmp_path):
    card = load_backbone(str(tiny.backbone_card(tmp_path / "card.toml")))
    torch.manual_seed(1)
    first = backbones.load(backbones.resolve(card), 3, RECIPE)
    torch.manual_seed(2)
    second = backbones.load(backbones.resolve(card), 3, RECIPE)
    assert torch.equal(first.blocks[0].attn.qkv.weight, second.blocks[0].attn.qkv.weight)
    assert not torch.equal(first.head.weight, second.head.weight)


def test_only_the_head_draws_from_the_global_generator(tmp_path):
    backbone = backbones.resolve(load_backbone(str(tiny.backbone_card(tmp_path / "card.toml"))))
    torch.manual_seed(0)
    head = backbones.load(backbone, 3, RECIPE).head.weight
    torch.manual_seed(0)
    assert torch.equal(head, nn.init.trunc_normal_(torch.empty(3, 64), std=0.02))


@pytest.mark.parametrize(
    ("init", "bias"), [("trunc_normal", 0.0), ("vpt2022", -log(99))], ids=["small", "vpt"]
)
def test_a_heads_bias_starts_as_the_recipe_says(tmp_path, init, bias):
    backbone = backbones.resolve(load_backbone(str(tiny.backbone_card(tmp_path / "card.toml"))))
    head = backbones.load(backbone, 100, replace(RECIPE, head_init=init)).head
    assert torch.allclose(head.bias, torch.tensor(bias))


def test_vpts_head_weights_spread_as_kaimings_fan_out(tmp_path):
    backbone = backbones.resolve(load_backbone(str(tiny.backbone_card(tmp_path / "card.toml"))))
    head = backbones.load(backbone, 400, replace(RECIPE, head_init="vpt2022")).head
    assert head.weight.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.02)


@pytest.mark.parametrize(
    ("normalisation", "mean"), [("backbone", (0.5,) * 3), ("imagenet", (0.485, 0.456, 0.406))]
)
def test_the_recipe_says_whose_statistics_normalise(tmp_path, normalisation, mean):
    backbone = backbones.resolve(load_backbone(str(tiny.backbone_card(tmp_path / "card.toml"))))
    recipe = replace(RECIPE, normalisation=normalisation)
    assert backbones.normalisation(backbone, recipe)[0] == mean


@pytest.mark.parametrize("name", ["vit_base_patch16_224.mae", "vit_base_patch16_224.orig_in21k"])
def test_a_projects_card_says_how_the_network_sees_and_pools(name):
    card = load_backbone(name)
    found = backbones.resolve(replace(card, weights="random"))
    assert found.input == InputSpec(224, tuple(card.mean), tuple(card.std), card.pooling)


UNIFIED = load_recipe("unified")


@pytest.mark.parametrize(
    ("normalisation", "mean", "std"),
    [
        ("backbone", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
        ("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("none", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ],
)
def test_a_recipe_names_the_mean_and_the_deviation(tmp_path, normalisation, mean, std):
    own = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    card = tiny.backbone_card(tmp_path / "own.toml", **own)
    backbone = backbones.resolve(load_backbone(str(card)))
    found = backbones.normalisation(backbone, replace(UNIFIED, normalisation=normalisation))
    assert found == (mean, std)


def test_rewritten_weights_have_another_name(tmp_path):
    card = load_backbone(
        str(tiny.backbone_card(tmp_path / "own.toml", weights="own.pth", pooling="token"))
    )
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, **tiny.ARCHITECTURE)
    names, models = [], []
    for factor in (1.0, 2.0):
        scaled = {name: factor * value for name, value in model.state_dict().items()}
        torch.save({"model": scaled}, tmp_path / "own.pth")
        backbone = backbones.resolve(card)
        names.append(backbone.sha256)
        models.append(backbones.load(backbone, 2, UNIFIED).cls_token)
    assert names[0] != names[1]
    torch.testing.assert_close(2 * models[0], models[1])
