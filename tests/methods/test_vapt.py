"""Properties of VAPT."""

import pytest
import timm
import torch
import torch.nn.functional as F

import methods
from methods import Unsupported
from methods.shared.prompts import prompts_of
from support import double_vits
from support.double_vits import learning, noise, vit

pytestmark = pytest.mark.usefixtures("double_precision")


def adapted(model, **fields):
    return double_vits.adapted("vapt", model, **{"prompts": 5, **fields})


def filled(model):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "adaptive" in name:
                torch.nn.init.normal_(p, std=0.3)
    return model


def test_later_prompts_start_at_exactly_zero():
    blocks = adapted(vit()).blocks
    for block in blocks[1:]:
        assert torch.equal(block.adaptive(torch.randn(2, 16, 64)), torch.zeros(2, 5, 64))


def test_it_starts_as_vpt_whose_later_prompts_are_zero():
    model, plain = adapted(vit()), vit()
    methods.create("vpt_deep", prompts=5).attach(plain)
    with torch.no_grad():
        for block, prompts in zip(model.blocks, prompts_of(plain), strict=True):
            prompts.copy_(getattr(block, "prompts", torch.zeros(5, 64)))
        torch.testing.assert_close(model(noise()), plain(noise()), rtol=0, atol=1e-12)


def test_a_prompt_is_a_weighted_mean_of_convolved_patches_and_its_projection():
    makes, patches = filled(adapted(vit())).blocks[1].adaptive, torch.randn(2, 16, 64)
    with torch.no_grad():
        x = F.layer_norm(patches, [64], makes.norm.weight, makes.norm.bias).unflatten(1, (4, 4))
        corners = makes.conv.weight.flatten()
        x = (
            corners[0] * x[:, :3, :3]
            + corners[1] * x[:, :3, 1:]
            + corners[2] * x[:, 1:, :3]
            + corners[3] * x[:, 1:, 1:]
        )
        z = makes.pool.weight @ x.flatten(1, 2) + makes.pool.bias[:, None]
        down, up = makes.project[0].weight, makes.project[3].weight
        torch.testing.assert_close(makes(patches), z + (z @ down.T).relu() @ up.T)


def test_prompts_depend_on_the_patches_and_not_on_prefix_tokens():
    model = filled(adapted(vit(reg_tokens=4)))
    block, x = model.blocks[1], torch.randn(1, 21, 64)
    seen = []
    block.block.register_forward_pre_hook(lambda _, given: seen.append(given[0][:, 5:10]))
    other_prefix, other_patches = x.clone(), x.clone()
    other_prefix[:, :5] += 1
    other_patches[:, 5] += torch.randn(64)
    for tokens in (x, other_prefix, other_patches):
        assert block(tokens).shape == x.shape
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


@pytest.mark.parametrize(
    "changed",
    [
        {"img_size": (32, 48)},
        {"class_token": False, "global_pool": "avg"},
        {"reg_tokens": 4},
    ],
)
def test_the_number_of_places_follows_from_the_grid(changed):
    model = adapted(vit(**changed))
    height, width = model.patch_embed.grid_size
    assert model.blocks[1].adaptive.pool.in_features == (height - 1) * (width - 1)
    assert model(noise(8 * height, 8 * width)).isfinite().all()


def test_a_grid_of_one_row_is_refused():
    with pytest.raises(Unsupported, match="convolves 2 × 2 patches; the grid has 1 × 4"):
        adapted(vit(img_size=(8, 32)))


@pytest.mark.parametrize("prompts", [1, 7])
def test_it_learns_as_many_parameters_as_the_formula_says(prompts):
    model = adapted(vit(), prompts=prompts, width=6)
    wanted = prompts * 64 + 2 * (4 + prompts * (9 + 1) + 2 * 64) + 2 * 64 * 6
    assert learning(model) == wanted


def test_all_blocks_share_one_projector():
    blocks = adapted(vit()).blocks
    assert blocks[1].adaptive.project is blocks[2].adaptive.project


@pytest.mark.parametrize("depth", [1, 3])
def test_prompts_can_be_pooled(depth):
    pooled, plain = (
        filled(adapted(vit(global_pool="avg", depth=depth), pool_prompts=keep))
        for keep in (True, False)
    )
    seen = []
    pooled.blocks[-1].register_forward_hook(lambda _, given, out: seen.append(out))
    assert not torch.allclose(pooled(noise()), plain(noise()))
    assert seen[0].shape == (2, 22, 64)


def test_whole_channels_are_dropped_in_training():
    makes = filled(adapted(vit(), dropout=0.5)).blocks[1].adaptive.train()
    seen = []
    makes.pool.register_forward_pre_hook(lambda _, given: seen.append(given[0] == 0))
    makes(torch.randn(2, 16, 64))
    whole = seen[0].all(2)
    assert torch.equal(whole, seen[0].any(2))
    assert 0.3 < whole.double().mean().item() < 0.7


def test_a_width_below_one_is_refused():
    with pytest.raises(ValueError, match="the width of VAPT's projector must be at least 1"):
        methods.create("vapt", width=0)


def test_on_vit_b_the_count_is_the_printed_formula_s():
    with torch.device("meta"):
        model = timm.create_model("vit_base_patch16_224", num_classes=0).requires_grad_(False)
        adapted(model, prompts=20)
    assert learning(model) == 2638 * 20 + 29228
