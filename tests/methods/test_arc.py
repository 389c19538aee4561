"""ARC: one projection for all blocks, down and up."""

import pytest
import timm
import torch

import methods
from bench.models import method_checks, small_models


def adapted(**fields):
    torch.manual_seed(0)
    model = small_models.small_backbone()
    methods.create("arc", **fields).attach(model)
    return model


def test_all_blocks_share_one_projection_for_each_place():
    model = adapted()
    for layer in ("attn.qkv", "mlp.fc1"):
        shared = {id(b.get_submodule(layer).read[0].shared[0].weight) for b in model.blocks}
        assert len(shared) == 1
    named = [name for name, _ in model.named_parameters() if name.endswith("shared.weight")]
    assert named == ["blocks.0.attn.qkv.shared.weight", "blocks.0.mlp.fc1.shared.weight"]


def test_the_adapter_is_symmetric_up_to_its_bias():
    adapter = adapted(dropout=0.0).blocks[1].mlp.fc1.adapter.double()
    adapter.shared[0].double()
    dim = len(adapter.bias)
    change = adapter(torch.eye(dim, dtype=torch.float64)) - torch.eye(dim) - adapter.bias
    assert change.abs().max() > 1e-3
    torch.testing.assert_close(change, change.T)
    assert torch.linalg.matrix_rank(change) == 50


def test_before_attention_it_starts_as_the_identity_and_before_the_mlp_not():
    block = adapted(dropout=0.0).blocks[0]
    x = torch.randn(2, 64)
    assert torch.equal(block.attn.qkv.adapter(x), x)
    assert not torch.allclose(block.mlp.fc1.adapter(x), x)


@pytest.mark.parametrize(("place", "identity"), [("attn", True), ("attn_and_mlp", False)])
def test_its_place_decides_whether_it_starts_as_the_identity(place, identity):
    method = methods.create("arc", place=place)
    assert method.identity_at_start is identity
    method_checks.check_identity(method, small_models.small_backbone())


def test_the_small_variant_has_half_the_parameters_on_vit_b():
    with torch.device("meta"):
        model = timm.create_model("vit_base_patch16_224", num_classes=0).requires_grad_(False)
        methods.create("arc", place="attn").attach(model)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 48_216
