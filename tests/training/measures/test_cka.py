"""Centred kernel alignment: its formula, its invariances, and all layers of a model."""

import math

import pytest
import torch

import methods
from bench.models import small_models
from bench.training.measures import layerwise
from bench.training.measures.cka import MIN_EXAMPLES, channel_kernel, pairwise_cka, u_centred


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def views(seed=0, examples=12):
    """Two views of the same examples, which have something in common."""
    one = drawn(examples, 5, seed=seed)
    return one, one @ drawn(5, 7, seed=seed + 1) + drawn(examples, 7, seed=seed + 2)


def biased_hsic(k, m):
    """Gretton et al. (2005): tr(K H M H) / (n - 1)^2."""
    n = len(k)
    centre = torch.eye(n, dtype=k.dtype) - 1 / n
    return (k @ centre @ m @ centre).trace().item() / (n - 1) ** 2


def unbiased_hsic(k, m):
    """Song et al. (2012), equation 5, pair by pair of examples."""
    n = len(k)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    trace = sum(k[i, j] * m[i, j] for i, j in pairs)
    sums = sum(k[i, j] for i, j in pairs) * sum(m[i, j] for i, j in pairs)
    chains = sum(k[i, j] * m[j, q] for i, j in pairs for q in range(n) if q != j)
    whole = trace + sums / ((n - 1) * (n - 2)) - 2 * chains / (n - 2)
    return (whole / (n * (n - 3))).item()


DIRECT = {"biased": biased_hsic, "unbiased": unbiased_hsic}


def linear_kernel(features):
    return features @ features.mT


def directly(one, other, estimator="unbiased"):
    """CKA from the formulas above, of two views, (n, d) and (n, e)."""
    k, m = linear_kernel(one), linear_kernel(other)
    of = DIRECT[estimator]
    return of(k, m) / math.sqrt(of(k, k) * of(m, m))


def cka(one, other):
    """The project's CKA of two views, (n, d) and (n, e)."""
    return pairwise_cka([linear_kernel(one)], [linear_kernel(other)]).item()


def hsic(k, m):
    """Unbiased, from the centring that the project uses."""
    n = k.shape[-1]
    return (u_centred(k) * u_centred(m)).sum((-1, -2)) / (n * (n - 3))


def test_it_is_what_the_papers_equations_give():
    one, other = views()
    k, m = linear_kernel(one), linear_kernel(other)
    assert hsic(k, m).item() == pytest.approx(unbiased_hsic(k, m), rel=1e-12)
    assert cka(one, other) == pytest.approx(directly(one, other), abs=1e-12)


def test_it_is_not_the_biased_one():
    assert abs(cka(*views()) - directly(*views(), "biased")) > 0.01


def test_a_view_is_aligned_with_itself():
    assert cka(views()[0], views()[0]) == pytest.approx(1, abs=1e-12)


def test_each_kernel_is_compared_with_each():
    ones, others = [views(seed)[0] for seed in (0, 1)], [views(seed)[1] for seed in (2, 3, 4)]
    found = pairwise_cka([linear_kernel(x) for x in ones], [linear_kernel(y) for y in others])
    want = torch.tensor([[directly(x, y) for y in others] for x in ones], dtype=torch.float64)
    torch.testing.assert_close(found, want, rtol=0, atol=1e-12)


TURN = torch.linalg.qr(drawn(7, 7, seed=9))[0]
SHUFFLE = torch.randperm(12, generator=torch.Generator().manual_seed(9))
UNCHANGING = {
    "an orthogonal map": lambda x, y: (x, y @ TURN),
    "a factor": lambda x, y: (x * -3, y * 0.01),
    "a constant a feature": lambda x, y: (x + drawn(5, seed=8), y - drawn(7, seed=8)),
    "a common order": lambda x, y: (x[SHUFFLE], y[SHUFFLE]),
}


@pytest.mark.parametrize("change", list(UNCHANGING))
@pytest.mark.parametrize("seed", range(5))
def test_it_does_not_change_with(change, seed):
    one, other = views(seed)
    found = cka(*UNCHANGING[change](one, other))
    assert found == pytest.approx(cka(one, other), abs=1e-12)


def test_it_does_change_with_an_order_of_one_view_alone_and_with_a_skewed_map():
    one, other = views()
    before = cka(one, other)
    assert abs(cka(one, other[SHUFFLE]) - before) > 0.05
    assert abs(cka(one, other * torch.arange(1, 8)) - before) > 0.005


def test_either_view_may_come_first():
    one, other = views()
    assert cka(one, other) == pytest.approx(cka(other, one), abs=1e-12)


def test_independent_views_of_many_features_do_not_align_as_they_would_if_biased():
    one, other = drawn(40, 2000), drawn(40, 2000, seed=1)
    assert directly(one, other, "biased") > 0.9
    assert abs(cka(one, other)) < 0.1


def test_the_mean_over_draws_is_zero_for_independent_views():
    kernels = [
        tuple(linear_kernel(drawn(8, 3, seed=2 * i + side)) for side in (0, 1)) for i in range(500)
    ]
    unbiased = torch.stack([hsic(k, m) for k, m in kernels])
    biased = torch.tensor([biased_hsic(k, m) for k, m in kernels])
    assert unbiased.mean().abs() < 4 * unbiased.std() / 500**0.5
    assert biased.mean() > 4 * biased.std() / 500**0.5


def test_kernels_of_channels_add_up_over_images():
    prompts, tokens = drawn(6, 16), drawn(5, 9, 16, seed=1)
    added = sum(channel_kernel(batch) for batch in tokens.split(2))
    found = pairwise_cka([channel_kernel(prompts)], [added]).item()
    want = directly(prompts.T, tokens.flatten(0, 1).T)
    assert found == pytest.approx(want, abs=1e-12)


def test_too_few_examples_and_examples_that_are_alike_are_refused():
    few = MIN_EXAMPLES - 1
    with pytest.raises(ValueError, match=rf"at least {MIN_EXAMPLES} examples; {few} were given"):
        cka(drawn(few, 5), drawn(few, 5, seed=1))
    with pytest.raises(ValueError, match="all alike"):
        cka(drawn(1, 5).expand(12, -1), drawn(12, 5))
    with pytest.raises(ValueError, match="all alike"):
        cka(drawn(12, 5), drawn(1, 5).expand(12, -1))


def test_a_models_layers_are_compared_each_with_each():
    model, batches = small_models.small_backbone("avg"), small_models.FakeBatches()
    methods.create("spt_deep").prepare(model, batches)
    found = layerwise.cka_by_layer(model, "spt_deep", batches)
    prompts, tokens = {}, {}
    for i, held, seen in layerwise.layer_inputs(model, batches):
        prompts[i] = held.double()
        tokens.setdefault(i, []).append(seen.flatten(0, 1).double())
    want = [
        [cka(held.T, torch.cat(seen).T) for seen in tokens.values()] for held in prompts.values()
    ]
    assert torch.tensor(found).shape == (3, 3)
    torch.testing.assert_close(torch.tensor(found), torch.tensor(want), rtol=0, atol=1e-12)


def test_prompts_that_are_a_layers_tokens_are_aligned_with_that_layer_most():
    model, batches = small_models.small_backbone("avg"), small_models.FakeBatches()
    methods.create("spt_deep", prompts=60).prepare(model, batches)
    found = torch.tensor(layerwise.cka_by_layer(model, "spt_deep", batches))
    assert found.argmax(1).tolist() == [0, 1, 2]


def test_shallow_prompts_give_one_number():
    model, batches = small_models.small_backbone("avg"), small_models.FakeBatches()
    methods.create("spt_shallow").prepare(model, batches)
    assert torch.tensor(layerwise.cka_by_layer(model, "spt_shallow", batches)).shape == (1, 1)
