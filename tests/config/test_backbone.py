"""The project's backbone cards agree with timm, and names that are none are refused."""

import re
from dataclasses import replace

import pytest
import timm
import torch

from bench.config.backbone import RANDOM_WEIGHTS, BackboneCard, backbone_cards, load_backbone
from bench.models import backbones
from bench.utils.errors import UserError

CARDS = backbone_cards()
OF_TIMM = {name: card for name, card in CARDS.items() if not card.weights}
POOLED_OTHERWISE = {"mae": "avg"}  # as the paper fine-tunes it: timm's model has a class token
WANTED = re.findall(
    r"\S+",
    """vit_base_patch16_224.mae vit_large_patch16_224.mae vit_huge_patch14_224.mae
    vit_base_patch16_224.mocov3 vit_small_patch16_224.mocov3 vit_base_patch16_224.dino
    vit_small_patch14_dinov2.lvd142m vit_small_patch14_reg4_dinov2.lvd142m
    vit_base_patch14_dinov2.lvd142m vit_base_patch14_reg4_dinov2.lvd142m
    vit_large_patch14_dinov2.lvd142m vit_large_patch14_reg4_dinov2.lvd142m
    vit_small_patch16_dinov3.lvd1689m vit_base_patch16_dinov3.lvd1689m
    vit_large_patch16_dinov3.lvd1689m vit_base_patch16_clip_224.openai
    vit_large_patch14_clip_224.openai vit_base_patch16_clip_224.laion2b
    vit_large_patch14_clip_224.laion2b vit_base_patch16_siglip_224.v2_webli
    vit_so400m_patch14_siglip_224.v2_webli eva02_base_patch14_224.mim_in22k
    vit_pe_core_base_patch16_224.fb vit_pe_core_large_patch14_336.fb
    deit3_base_patch16_224.fb_in22k_ft_in1k swin_base_patch4_window7_224.ms_in22k
    convnext_base.fb_in22k resnet50.tv_in1k""",
)


def test_there_are_cards_of_the_backbones_that_people_use() -> None:
    assert not set(WANTED) - CARDS.keys()


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_a_card_says_all_that_its_input_and_its_origin_are(card: BackboneCard) -> None:
    for name in ("pooling", "input_size", "mean", "std", "pretraining", "family", "licence"):
        assert getattr(card, name), name
    assert card.source
    assert card.weights or card.megabytes


@pytest.mark.sample(8)
@pytest.mark.parametrize("card", OF_TIMM.values(), ids=OF_TIMM)
def test_a_card_of_timm_s_weights_is_what_timm_says_of_them(card: BackboneCard) -> None:
    settings = timm.get_pretrained_cfg(card.timm)
    assert card.name == card.timm
    assert card.input_size == settings.input_size[-1]
    assert (card.mean, card.std) == (list(settings.mean), list(settings.std))
    assert card.licence == settings.license
    assert card.source == f"https://huggingface.co/{settings.hf_hub_id}"
    if settings.url:
        assert card.urls == [settings.url]
    with torch.device("meta"):
        model = timm.create_model(card.timm, num_classes=settings.num_classes)
    assert card.family == type(model).__name__
    size = 4e-6 * sum(p.numel() for p in model.parameters())
    assert card.megabytes == pytest.approx(size, rel=0.01)


@pytest.mark.sample(6)
@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_a_card_is_pooled_as_timm_s_model_is(card: BackboneCard) -> None:
    found = backbones.resolve(replace(card, weights=RANDOM_WEIGHTS, sha256=""))
    assert found.input.size == card.input_size
    assert card.pooling in ("backbone", found.input.pooling)
    own = backbones.resolve(replace(card, weights=RANDOM_WEIGHTS, sha256="", pooling="backbone"))
    wanted = POOLED_OTHERWISE.get(card.name.rpartition(".")[2], own.input.pooling)
    assert found.input.pooling == wanted or card.architecture


def test_moco_v3_s_small_network_has_its_own_heads() -> None:
    card = CARDS["vit_small_patch16_224.mocov3"]
    model = backbones.build(backbones.resolve(replace(card, weights=RANDOM_WEIGHTS)), 2)
    assert {block.attn.num_heads for block in model.blocks} == {12}


@pytest.mark.parametrize("name", ["vit_base_patch16_224@", "vit_base_patch16_224@ ", "@", "@w.pth"])
def test_a_name_or_a_file_that_is_left_out_is_named(name: str) -> None:
    missing = "the name of a backbone before" if name.startswith("@") else "a weights file after"
    with pytest.raises(UserError, match=f"{name}.*: {missing} the @ was expected"):
        load_backbone(name)


def test_another_file_has_not_the_licence_of_the_card_s() -> None:
    card = load_backbone("vit_base_patch16_224.mocov3@own.pth")
    assert (card.licence, card.source, card.urls, card.megabytes) == ("", "", [], 0)
    assert (card.pooling, card.mean) == ("token", [0.485, 0.456, 0.406])
