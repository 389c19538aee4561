"""The size of deep prompts acts as a learning rate; controls keep the property they claim."""

import copy
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F

import methods
from bench.models import small_models
from methods import spt_controls
from methods.shared.prompt_initialisation import STRATEGIES
from methods.shared.prompts import prompts_of

pytestmark = pytest.mark.usefixtures("double_precision")
SCALE, RATE, STEPS = 10.0, 0.01, 3


def bare(pooling="token", eps=1e-6):
    model = small_models.small_backbone(pooling).double()
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = eps
    return model


def started(name, pooling="token", eps=1e-6, **fields):
    """A model with a method's start, the same at every call but for the layers' epsilon."""
    model = bare(pooling, eps)
    torch.manual_seed(3)
    methods.create(name, **fields).prepare(model, small_models.FakeBatches(torch.float64))
    return model.eval()


def scaled(model, factor):
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for prompts in prompts_of(twin):
            prompts *= factor
    return twin


def images_and_labels():
    return small_models.FakeBatches(torch.float64).batches[0]


def scores(model):
    with torch.no_grad():
        return model(images_and_labels()[0])


def gradients(model):
    images, labels = images_and_labels()
    loss = F.cross_entropy(model(images), labels)
    return torch.stack(torch.autograd.grad(loss, prompts_of(model)))


def moved(model, optimiser):
    """A copy's prompts after a few steps, (L, P, D)."""
    twin = copy.deepcopy(model)
    steps = optimiser(prompts_of(twin))
    for _ in range(STEPS):
        for prompts, gradient in zip(prompts_of(twin), gradients(twin), strict=True):
            prompts.grad = gradient
        steps.step()
    return stacked(twin)


def stacked(model):
    return torch.stack(prompts_of(model)).detach()


def change(model):
    """How far scores move when prompts are ten times as large, relative to the scores."""
    before = scores(model)
    return ((scores(scaled(model, SCALE)) - before).norm() / before.norm()).item()


@pytest.mark.parametrize("name", ["vpt_deep", "spt_deep"])
@pytest.mark.parametrize("form", ["keys_and_values", "concatenation"])
@pytest.mark.parametrize("pooling", ["token", "avg"])
def test_deep_prompts_ten_times_as_large_score_alike_unless_the_head_reads_them(
    name, form, pooling
):
    assert change(started(name, pooling, form=form)) < 1e-3


@pytest.mark.parametrize(
    ("name", "pooling", "fields"),
    [("vpt_shallow", "token", {}), ("vpt_deep", "avg", {"pool_prompts": True})],
)
def test_prompts_that_are_read_otherwise_do_depend_on_their_size(name, pooling, fields):
    assert change(started(name, pooling, **fields)) > 1e-2


@pytest.mark.parametrize("name", ["vpt_deep", "spt_deep"])
def test_the_gradient_at_prompts_c_times_as_large_is_the_gradient_over_c(name):
    model = started(name, eps=1e-20)
    large = gradients(scaled(model, SCALE))
    torch.testing.assert_close(large, gradients(model) / SCALE, rtol=1e-9, atol=1e-14)


def test_gradient_descent_moves_prompts_c_times_as_large_as_a_rate_over_c_squared_would():
    model = started("vpt_deep", eps=1e-20)
    large = moved(scaled(model, SCALE), lambda p: torch.optim.SGD(p, RATE * SCALE**2, momentum=0.9))
    small = moved(model, lambda p: torch.optim.SGD(p, RATE, momentum=0.9))
    assert (small - stacked(model)).abs().max() > 1e-5
    torch.testing.assert_close(large, SCALE * small, rtol=1e-9, atol=1e-12)


def test_adam_moves_prompts_c_times_as_large_as_a_rate_over_c_would():
    model = started("vpt_deep", eps=1e-20)
    large = moved(scaled(model, SCALE), lambda p: torch.optim.Adam(p, RATE * SCALE, eps=1e-30))
    small = moved(model, lambda p: torch.optim.Adam(p, RATE, eps=1e-30))
    assert (small - stacked(model)).abs().max() > 1e-3
    torch.testing.assert_close(large, SCALE * small, rtol=1e-6, atol=1e-8)


def sizes(prompts):
    return prompts.std(-1, correction=0)


def alike(prompts, others):
    """The cosine between prompts less their means, (L, P)."""
    centred = (one - one.mean(-1, keepdim=True) for one in (prompts, others))
    return F.cosine_similarity(*centred, dim=-1)


def test_scaled_prompts_have_the_sampled_tokens_sizes_and_directions_of_their_own():
    found, tokens = stacked(started("vpt_deep_scaled")), stacked(started("spt_deep"))
    torch.testing.assert_close(sizes(found), sizes(tokens))
    assert alike(found, tokens).abs().max() < 0.6


def test_scaled_prompts_are_uniform_ones_each_times_a_factor():
    found = stacked(started("vpt_deep_scaled"))
    uniform = found / found.abs().amax(-1, keepdim=True)
    assert sizes(uniform).mean().item() == pytest.approx(3**-0.5, rel=0.05)


def test_unscaled_tokens_are_the_sampled_tokens_at_the_sizes_of_vpt_s_prompts():
    found, tokens = stacked(started("spt_deep_unscaled")), stacked(started("spt_deep"))
    torch.testing.assert_close(alike(found, tokens), torch.ones(found.shape[:2]))
    bound = (6 / (3 * 8 * 8 + 64)) ** 0.5
    assert sizes(found).mean().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert not torch.allclose(sizes(found), sizes(tokens), rtol=0.2)


def test_unscaled_tokens_score_at_first_as_the_sampled_tokens_do():
    plain, unscaled = (scores(started(n, eps=1e-20)) for n in ("spt_deep", "spt_deep_unscaled"))
    torch.testing.assert_close(unscaled, plain, rtol=1e-9, atol=1e-12)


def test_shuffled_tokens_keep_their_values_but_not_their_channels():
    found, tokens = stacked(started("spt_deep_shuffled")), stacked(started("spt_deep"))
    torch.testing.assert_close(found.sort(-1).values, tokens.sort(-1).values, rtol=0, atol=0)
    assert alike(found, tokens).abs().max() < 0.7


def test_each_token_is_shuffled_in_an_order_of_its_own():
    shuffle = spt_controls.shuffle_channels
    found = shuffle(torch.arange(50.0).expand(6, 50), torch.zeros(6, 50))
    assert all(not torch.equal(one, other) for one, other in combinations(found, 2))


def correlated(count=4000):
    """Tokens of three channels, (2, N, 3), of which the last is twice the first and 5 more."""
    first, second = torch.randn(2, 2, count // 2)
    return torch.stack([first + 3, second + 0.8 * first, 2 * first + 11], -1)


@pytest.mark.parametrize("strategy", ["gaussian", "diagonal"])
def test_drawn_prompts_have_the_tokens_mean_and_variances(strategy):
    tokens = correlated()
    found = STRATEGIES[strategy](tokens, 2000, "batch")
    flat = tokens.flatten(0, 1)
    torch.testing.assert_close(found.mean(0), flat.mean(0), rtol=0, atol=0.2)
    torch.testing.assert_close(found.std(0), flat.std(0), rtol=0.1, atol=0)


def test_gaussian_prompts_have_the_tokens_covariance_too_and_diagonal_ones_none():
    tokens = correlated()
    gaussian, diagonal = (STRATEGIES[s](tokens, 2000, "batch") for s in ("gaussian", "diagonal"))
    wanted = tokens.flatten(0, 1).T.corrcoef()
    torch.testing.assert_close(gaussian.T.corrcoef(), wanted, rtol=0, atol=0.1)
    torch.testing.assert_close(diagonal.T.corrcoef(), torch.eye(3), rtol=0, atol=0.1)


def test_gaussian_prompts_lie_where_the_tokens_span():
    found = STRATEGIES["gaussian"](correlated(), 20, "batch")
    torch.testing.assert_close(found[:, 2], 2 * found[:, 0] + 5)


def test_controls_reach_every_prompted_form_alike():
    found = [
        scores(started("vpt_deep_scaled", form=f)) for f in ("keys_and_values", "concatenation")
    ]
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)


def test_an_unknown_part_of_the_tokens_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="nothing called 'norm' is kept; there are sizes, direct"):
        methods.create("vpt_deep_scaled", kept="norm")
