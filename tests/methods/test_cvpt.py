"""Properties of CVPT."""

from dataclasses import fields

import pytest
import timm
import torch

import methods
from methods.shared.attention import project_qkv, project_queries
from support import double_vits
from support.double_vits import bare, images

pytestmark = pytest.mark.usefixtures("double_precision")


def adapted(**changed):
    return double_vits.adapted("cvpt", bare(), **changed)


def test_tokens_attend_to_prompts_between_attention_and_mlp():
    wrapped, block, x = adapted(prompts=5).blocks[1], bare().blocks[1], torch.randn(3, 7, 64)
    with torch.no_grad():
        y = x + block.attn(block.norm1(x))
        q, _, _ = block.attn.qkv(y).unflatten(2, (3, 4, 16)).permute(2, 0, 3, 1, 4)
        _, k, v = block.attn.qkv(wrapped.prompts).unflatten(1, (3, 4, 16)).permute(1, 2, 0, 3)
        mixed = ((q @ k.mT / 4).softmax(-1) @ v).transpose(1, 2).flatten(2)
        y = y + block.attn.proj(mixed)
        y = y + block.mlp(block.norm2(y))
        torch.testing.assert_close(wrapped(x), y, rtol=0, atol=1e-12)


def test_a_single_prompt_adds_the_same_to_every_token():
    block, x = adapted(prompts=1).blocks[0], torch.randn(3, 7, 64)
    with torch.no_grad():
        added = block.attend_to_prompts(x)
    torch.testing.assert_close(added, added[:1, :1].expand(3, 7, 64))


def test_prompts_take_no_attention_from_patches():
    plain, model = bare(), adapted(prompts=50)
    seen = []
    for block in (plain.blocks[0], model.blocks[0].block):
        block.attn.proj.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        plain(images())
        model(images())
    torch.testing.assert_close(seen[1], seen[0])


def test_in_training_each_image_drops_entries_of_its_own():
    block = adapted(prompts=5, dropout=0.5).blocks[0]
    x = torch.randn(1, 7, 64).expand(3, -1, -1)
    assert torch.equal(block(x)[0], block(x)[1])
    block.train()
    assert not torch.equal(block(x)[0], block(x)[1])


def test_prompts_start_within_the_bound_of_all_blocks_together():
    starts = torch.stack([block.prompts for block in adapted(prompts=40).blocks])
    bound = (6 / (64 * (40 + 3))) ** 0.5
    assert 0.99 * bound < starts.abs().max().item() <= bound


@pytest.mark.parametrize("qk_norm", [False, True])
def test_queries_alone_are_those_of_the_whole_projection(qk_norm):
    size = {"img_size": 32, "embed_dim": 64, "depth": 1, "num_heads": 4}
    model = timm.create_model("vit_tiny_patch16_224", qk_norm=qk_norm, **size)
    attn, x = model.blocks[0].attn, torch.randn(2, 5, 64)
    with torch.no_grad():
        torch.testing.assert_close(project_queries(attn, x), project_qkv(attn, x)[0])


def test_a_seed_is_no_hyper_parameter():
    assert {field.name for field in fields(methods.create("cvpt"))} == {"prompts", "dropout"}


def test_a_dropout_rate_of_one_is_refused():
    with pytest.raises(ValueError, match="CVPT's dropout must be at least 0 and below 1"):
        methods.create("cvpt", dropout=1.0)
