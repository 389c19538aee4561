"""RLRR: weights times one plus a matrix of rank one, for each projection."""

import torch

import methods
from bench.models import small_models
from methods.shared.backbone import with_weights


def adapted():
    torch.manual_seed(0)
    model = small_models.small_backbone().double()
    methods.create("rlrr").attach(model)
    return model.double()


def test_each_projection_s_weight_is_scaled_by_a_matrix_of_rank_one_beside_itself():
    layer = adapted().blocks[1].attn.qkv
    ratio = layer.tensors()[0] / layer.linear.weight - 1
    for part in ratio.chunk(3):
        assert torch.linalg.matrix_rank(part, atol=1e-6) == 1
    assert torch.linalg.matrix_rank(ratio, atol=1e-6) == 3


def test_its_scales_start_within_kaiming_s_bounds_and_its_shifts_at_zero():
    layer = adapted().blocks[0].mlp.fc2
    bound = (6 / 256) ** 0.5
    assert 0.9 * bound < layer.column.abs().max() <= bound
    assert 0.9 * 6**0.5 < layer.row.abs().max() <= 6**0.5
    assert not layer.shift.any()


def test_the_norms_and_the_patches_are_scaled_and_shifted_as_in_ssf():
    model = adapted()
    for at in ("patch_embed.proj", "blocks.0.norm1", "blocks.2.norm2", "norm"):
        assert type(model.get_submodule(at)).__name__ == "ScaleShift"


def test_a_layer_without_a_bias_gets_the_shift():
    layer = adapted().blocks[0].mlp.fc1
    layer.linear = with_weights(layer.linear, layer.linear.weight, None)
    layer.shift.data += 1
    x = torch.zeros(1, 64, dtype=torch.float64)
    assert torch.equal(layer(x), torch.ones(1, 256, dtype=torch.float64))
