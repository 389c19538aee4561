"""Properties of BPT's prompts."""

import pytest
import torch

import methods
from methods.shared.prompts import prompts_of
from support.double_vits import adapted, bare, images, learning

pytestmark = pytest.mark.usefixtures("double_precision")


@pytest.mark.parametrize("name", ["bpt_shallow", "bpt_deep"])
def test_bilinear_prompts_are_the_prompts_that_the_product_makes(name):
    model = adapted(name, bare("avg"), prompts=6, rank=2)
    plain = adapted(f"vpt_{name.removeprefix('bpt_')}", bare("avg"), prompts=6)
    blocks = model.blocks if name == "bpt_deep" else model.blocks[:1]
    with torch.no_grad():
        for block, prompts in zip(blocks, prompts_of(plain), strict=True):
            prompts.copy_(block.prompts @ block.project.weight.T)
        torch.testing.assert_close(model(images()), plain(images()), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("rank", "spanned"), [(3, False), (6, True)])
def test_at_full_rank_bilinear_prompts_can_be_any_prompts(rank, spanned):
    block = adapted("bpt_deep", bare(), prompts=6, rank=rank).blocks[0]
    wanted, left = torch.randn(6, 64), block.prompts.detach()
    with torch.no_grad():
        block.project.weight.copy_(torch.linalg.lstsq(left, wanted).solution.T)
        near = torch.allclose(block.seen(), wanted)
    assert near is spanned


def test_a_number_of_prompts_that_is_no_square_is_served():
    assert adapted("bpt_deep", bare()).blocks[0].seen().shape == (50, 64)


@pytest.mark.parametrize(
    ("name", "blocks", "prompts", "rank"), [("bpt_shallow", 1, 100, 75), ("bpt_deep", 3, 50, 50)]
)
def test_bpt_learns_both_factors(name, blocks, prompts, rank):
    added = learning(adapted(name, bare())) - learning(bare())
    assert added == blocks * rank * (prompts + 64)


def test_the_factors_start_at_the_released_sizes():
    block = adapted("bpt_shallow", bare(), prompts=400, rank=60).blocks[0]
    assert block.prompts.std().item() == pytest.approx(0.02, rel=0.05)
    bound = (6 / (64 + 60)) ** 0.5
    assert 0.95 * bound < block.project.weight.abs().max().item() <= bound


def test_a_rank_below_one_is_refused():
    with pytest.raises(ValueError, match="BPT's rank must be at least 1; 0 was given"):
        methods.create("bpt_deep", rank=0)
