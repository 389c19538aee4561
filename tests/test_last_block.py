"""The last block for the class token alone: where it is taken, and that no number shows it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import methods
from bench import contract, stages, trainer
from bench.last_block import for_class_token

ALONE = (
    "full",
    "bias",
    "ln",
    "lora",
    "partial1",
    "vpt_deep",
    "vpt_shallow",
    "spt_deep",
    "sidetune",
)
IMAGES = contract.Shown().batches[0][0]


def adapted(name: str, pooling: str = "token", **fields: object):
    return contract.prepared(methods.create(name, **fields), contract.backbone(pooling))


def is_narrow(model) -> bool:
    return for_class_token(model) is not model.blocks[-1]


@pytest.mark.parametrize("name", ALONE)
def test_the_class_token_alone_leaves_the_last_block(name):
    tokens = torch.randn(2, 65 + 100 * (name == "vpt_shallow"), 64)
    assert for_class_token(adapted(name))(tokens).shape == (2, 1, 64)


@pytest.mark.parametrize("name", ["mp", "vqt", "e2vpt", "convpass", "adapter", "ssf", "snf"])
def test_blocks_that_are_not_known_part_by_part_are_left_whole(name):
    assert not is_narrow(adapted(name))


@pytest.mark.parametrize("name", ALONE)
def test_a_head_that_reads_all_tokens_gets_them(name):
    assert not is_narrow(adapted(name, "avg"))


def test_what_draws_or_is_watched_is_left_whole():
    dropping, watched, concatenating = (
        adapted("full"),
        adapted("full"),
        adapted("vpt_deep", form="concatenation"),
    )
    dropping.blocks[-1].mlp.drop1 = nn.Dropout(0.1)
    watched.blocks[-1].attn.register_forward_hook(lambda *_: None)
    assert [is_narrow(m) for m in (dropping, watched, concatenating)] == [False, False, False]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", ALONE)
@pytest.mark.usefixtures("double_precision")
def test_scores_and_gradients_are_those_of_the_whole_block(name, fused):
    model = contract.prepared(methods.create(name), contract.backbone().double())
    for block in model.blocks:
        for module in block.modules():
            if hasattr(module, "fused_attn"):
                module.fused_attn = fused
    images, labels = contract.Shown(torch.float64).batches[0]
    got = []
    for read in (model, stages.whole(model)):
        model.zero_grad()
        scores = read(images)
        F.cross_entropy(scores, labels).backward()
        got.append(
            [scores.detach(), *(p.grad.clone() for p in model.parameters() if p.requires_grad)]
        )
    for whole, alone in zip(*got, strict=True):
        torch.testing.assert_close(alone, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ALONE)
def test_scores_under_autocast_are_those_of_the_whole_block(name):
    model = adapted(name)
    with torch.no_grad(), trainer.autocast(torch.device("cpu"), "bf16"):
        torch.testing.assert_close(stages.whole(model)(IMAGES), model(IMAGES), rtol=0, atol=0.02)


def test_a_block_with_normalised_queries_and_layer_scale_is_served_alike():
    torch.manual_seed(0)
    options = {"img_size": 64, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 4}
    model = contract.timm.create_model(
        "vit_tiny_patch16_224", qk_norm=True, init_values=0.5, reg_tokens=4, **options
    ).eval()
    assert is_narrow(model)
    with torch.no_grad():
        torch.testing.assert_close(stages.whole(model)(IMAGES), model(IMAGES), rtol=0, atol=1e-5)
