"""Initialisation: signs, positions, modes, windows, seeds of clusters."""

import copy

import pytest
import torch
from torch import nn

import methods
from bench.models import small_models
from methods.shared.kmeans import _kmeans_plus_plus
from methods.shared.patch_tokens import block_inputs
from methods.shared.prompt_initialisation import STRATEGIES
from methods.shared.prompts import prompts_of, uniform_prompts

IMAGES = small_models.FakeBatches().batches[0][0]


def nearest(prompts, tokens):
    """How far each prompt is from the nearest of the tokens, at the most."""
    exact = {"compute_mode": "donot_use_mm_for_euclid_dist"}
    return torch.cdist(prompts.detach(), tokens.flatten(0, 1), **exact).amin(1).max().item()


def test_vpt_s_prompts_start_evenly_around_zero():
    model = small_models.small_backbone()
    drawn = uniform_prompts(model, 400)
    bound = (6 / (3 * 8 * 8 + 64)) ** 0.5
    assert drawn.abs().max() <= bound
    assert drawn.min() < -0.99 * bound  # of 25,600 numbers
    assert drawn.max() > 0.99 * bound
    assert abs(drawn.mean().item()) < 0.02 * bound


@pytest.mark.parametrize("positions", [True, False])
def test_the_first_layer_s_prompts_are_tokens_with_positions_or_without(positions):
    model = small_models.small_backbone()
    bare = copy.deepcopy(model)
    methods.create("spt_shallow", positions=positions).prepare(model, small_models.FakeBatches())
    with torch.no_grad():
        plain = bare.patch_embed(IMAGES)
        placed = bare._pos_embed(plain)[:, 1:]
    [prompts] = prompts_of(model)
    apart = [nearest(prompts, tokens) for tokens in (placed, plain)]
    right, wrong = apart if positions else reversed(apart)
    assert right < 1e-5 < 1e-2 < wrong


def test_prompts_are_tokens_of_the_backbone_in_evaluation_whatever_its_mode():
    found = []
    for training in (True, False):
        model = small_models.small_backbone().train(training)
        model.pos_drop = nn.Dropout(0.5).train(training)
        layers = block_inputs(model, [IMAGES], count=1, last=1)
        found.append([tokens.clone() for _, tokens in layers])
        assert model.training is training
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_a_window_is_pooled_channel_by_channel():
    tokens = torch.tensor([[[1.0, -20.0, 300.0], [3.0, -40.0, 100.0]]])
    assert STRATEGIES["mean"](tokens, 1, "batch").tolist() == [[2, -30, 200]]
    assert STRATEGIES["max"](tokens, 1, "batch").tolist() == [[3, -20, 300]]


def test_convpass_s_convolution_starts_as_the_identity():
    model = small_models.prepare_copy(methods.create("convpass"), small_models.small_backbone())
    bypass, low = model.blocks[0].attn.bypass, torch.randn(2, 65, 8)
    torch.testing.assert_close(bypass.convolve_patches(low), low)


@pytest.mark.parametrize("seed", range(5))
def test_a_token_far_from_all_others_is_a_seed_of_k_means(seed):
    """One in 2,000: drawn uniformly, it would be among a few candidates twice in a thousand."""
    torch.manual_seed(seed)
    tokens = torch.randn(2000, 4)
    tokens[700] = 1000.0
    assert (_kmeans_plus_plus(tokens, 2) == 1000).all(1).any()
