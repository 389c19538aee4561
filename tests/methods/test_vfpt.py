"""Properties of VFPT's prompts."""

import pytest
import torch

import methods
from methods.shared.prompts import prompts_of
from methods.vfpt import FourierTransform
from support.double_vits import adapted, bare, images, learning

pytestmark = pytest.mark.usefixtures("double_precision")


@pytest.mark.parametrize("fields", [{}, {"dropout": 0.1}, {"form": "concatenation"}])
def test_without_transformed_prompts_vfpt_is_deep_vpt_to_the_bit(fields):
    torch.set_default_dtype(torch.float32)
    results = []
    for name, own in (("vfpt", {"alpha": 0.0}), ("vpt_deep", {})):
        model = adapted(name, bare(), **fields, **own).float().train()
        torch.manual_seed(2)
        scores = model(images().float())
        scores.logsumexp(1).sum().backward()
        results.append([scores.detach(), *(p.grad for p in prompts_of(model))])
    for fourier, plain in zip(*results, strict=True):
        assert torch.equal(fourier, plain)


def test_the_first_prompts_are_seen_as_their_transform_and_no_others_change():
    prompts = torch.randn(5, 6)
    x, y = torch.arange(6)[:, None], torch.arange(3)[:, None]
    over_channels = torch.exp(-2j * torch.pi * x * x.T / 6)
    over_prompts = torch.exp(-2j * torch.pi * y * y.T / 3)
    seen = FourierTransform(3)(prompts)
    wanted = (over_prompts @ prompts[:3].to(torch.complex128) @ over_channels).real
    torch.testing.assert_close(seen[:3], wanted)
    assert torch.equal(seen[3:], prompts[3:])


@pytest.mark.parametrize(("alpha", "changed"), [(0.05, 0), (0.3, 3), (0.59, 5), (1.0, 10)])
def test_alpha_is_the_share_of_prompts_that_are_transformed_rounded_down(alpha, changed):
    block = adapted("vfpt", bare(), prompts=10, alpha=alpha).blocks[1]
    with torch.no_grad():
        differ = (block.seen() != block.prompts).any(1)
    assert differ.tolist() == [True] * changed + [False] * (10 - changed)


def test_dropout_comes_before_the_transform_and_differs_between_images():
    model = adapted("vfpt", bare(), prompts=4, alpha=1.0, dropout=0.5)
    seen = []
    model.blocks[0].block.register_forward_pre_hook(lambda _, given: seen.append(given[0][:, 1:5]))
    model.train()(images())
    assert (seen[0] != 0).all()
    assert not torch.equal(seen[0][0], seen[0][1])


@pytest.mark.parametrize("pooling", ["token", "avg"])
def test_both_forms_of_transformed_prompts_score_and_learn_alike(pooling):
    results = []
    for form in ("keys_and_values", "concatenation"):
        model = adapted("vfpt", bare(pooling), form=form)
        scores = model(images())
        scores.logsumexp(1).sum().backward()
        results.append([scores.detach(), *(p.grad for p in prompts_of(model))])
    for fast, joined in zip(*results, strict=True):
        torch.testing.assert_close(fast, joined, rtol=0, atol=1e-10)


def test_vfpt_adds_no_parameters_to_deep_vpt():
    vfpt, vpt = (adapted(name, bare(), prompts=7) for name in ("vfpt", "vpt_deep"))
    assert learning(vfpt) == learning(vpt)


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_a_share_beyond_all_or_none_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha must be at least 0 and at most 1"):
        methods.create("vfpt", alpha=alpha)
