"""Blocks of methods against their formulas: E2VPT's pairs, MP+, a patch grid not square."""

import pytest
import torch
import torch.nn.functional as F
from timm.layers.activations import quick_gelu

import methods
from bench.models import small_models


@pytest.fixture(autouse=True)
def _exact(double_precision):
    """Formulas are equal to 1e-12 or so in float64."""


def adapted(name, **fields):
    return small_models.prepare_copy(
        methods.create(name, **fields), small_models.small_backbone().double()
    )


def tokens(count=65):
    return torch.randn(2, count, 64, generator=torch.Generator().manual_seed(0))


def test_e2vpt_s_pairs_are_keys_and_values_beside_the_prompts_and_tokens():
    block, x = adapted("e2vpt", prompts=3, pairs=2).blocks[1], tokens()
    plain = block.block
    attn = plain.attn

    def parts(seen):
        return attn.qkv(seen).unflatten(2, (3, 4, 16)).permute(2, 0, 3, 1, 4)

    q, k, v = parts(plain.norm1(x))
    _, of_prompts, values = parts(plain.norm1(block.prompts)[None].expand(2, -1, -1))
    pairs = block.pairs.expand(2, -1, -1, -1)
    k, v = torch.cat([pairs, of_prompts, k], 2), torch.cat([pairs, values, v], 2)
    mixed = (q @ k.transpose(2, 3) / 4).softmax(-1) @ v
    y = x + plain.ls1(attn.proj(mixed.transpose(1, 2).flatten(2)))
    want = y + plain.ls2(plain.mlp(plain.norm2(y)))
    torch.testing.assert_close(block(x), want)


def test_mp_plus_scales_and_shifts_the_mlp_by_its_input():
    block, x = adapted("mp_plus").blocks[1], tokens()
    plain = block.block
    y = x + plain.attn(plain.norm1(x))
    hidden = F.relu(y @ block.down.weight.T)
    scale, shift = hidden @ block.scale.weight.T, hidden @ block.shift.weight.T
    assert scale.abs().max() > 1e-3  # else this test would show nothing
    torch.testing.assert_close(block(x), y + shift + (1 + scale) * plain.mlp(plain.norm2(y)))


def test_convpass_convolves_rows_and_columns_of_a_map_that_is_not_square():
    bypass = adapted("convpass").blocks[0].attn.bypass
    bypass.grid = (4, 8)
    torch.nn.init.normal_(bypass.conv.weight)
    low = torch.randn(2, 1 + 32, 8)
    found = bypass.convolve_patches(low)
    as_map = low[:, 1:].reshape(2, 4, 8, 8).permute(0, 3, 1, 2)  # (B, r, rows, columns)
    want = F.conv2d(as_map, bypass.conv.weight, bypass.conv.bias, padding=1)
    torch.testing.assert_close(found[:, 1:], want.permute(0, 2, 3, 1).reshape(2, 32, 8))


def test_an_adapter_bends_as_its_activation_says():
    layer, x = adapted("adapter_noah").blocks[0].mlp, tokens()
    torch.nn.init.normal_(layer.adapter.up.weight)
    y = layer.layer(x)
    a = layer.adapter
    low = quick_gelu(y @ a.down.weight.T + a.down.bias)
    torch.testing.assert_close(layer(x), y + low @ a.up.weight.T + a.up.bias)
