"""Centred kernel alignment: its formula, what leaves it as it is, and layers by layers."""

import math

import pytest
import torch

import methods
from bench.models import method_checks
from bench.training.measures import layerwise
from bench.training.measures.cka import (
    ESTIMATORS,
    MinibatchCKA,
    channel_kernel,
    hsic,
    linear_cka,
    linear_kernel,
    pairwise_cka,
)
from bench.utils.errors import UserError

BOTH = list(ESTIMATORS)


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


def directly(one, other, estimator):
    k, m = linear_kernel(one), linear_kernel(other)
    of = DIRECT[estimator]
    return of(k, m) / math.sqrt(of(k, k) * of(m, m))


@pytest.mark.parametrize("estimator", BOTH)
def test_it_is_what_the_papers_equations_give(estimator):
    one, other = views()
    k, m = linear_kernel(one), linear_kernel(other)
    assert hsic(k, m, estimator).item() == pytest.approx(DIRECT[estimator](k, m), rel=1e-12)
    want = directly(one, other, estimator)
    assert linear_cka(one, other, estimator) == pytest.approx(want, abs=1e-12)


def test_unbiased_is_the_default():
    assert (
        linear_cka(*views()) == linear_cka(*views(), "unbiased") != linear_cka(*views(), "biased")
    )


def test_biased_linear_alignment_is_the_share_of_covariance():
    one, other = (view - view.mean(0) for view in views())
    lengths = (one.T @ one).norm() * (other.T @ other).norm()
    want = ((one.T @ other).norm() ** 2 / lengths).item()  # Kornblith et al. (2019), section 4
    assert linear_cka(one, other, "biased") == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("estimator", BOTH)
def test_a_view_is_aligned_with_itself(estimator):
    assert linear_cka(views()[0], views()[0], estimator) == pytest.approx(1, abs=1e-12)


TURN = torch.linalg.qr(drawn(7, 7, seed=9))[0]
SHUFFLE = torch.randperm(12, generator=torch.Generator().manual_seed(9))
UNCHANGING = {
    "an orthogonal map": lambda x, y: (x, y @ TURN),
    "a factor": lambda x, y: (x * -3, y * 0.01),
    "a constant a feature": lambda x, y: (x + drawn(5, seed=8), y - drawn(7, seed=8)),
    "a common order": lambda x, y: (x[SHUFFLE], y[SHUFFLE]),
}


@pytest.mark.parametrize("estimator", BOTH)
@pytest.mark.parametrize("change", list(UNCHANGING))
@pytest.mark.parametrize("seed", range(5))
def test_it_does_not_change_with(change, estimator, seed):
    one, other = views(seed)
    found = linear_cka(*UNCHANGING[change](one, other), estimator)
    assert found == pytest.approx(linear_cka(one, other, estimator), abs=1e-12)


def test_it_does_change_with_an_order_of_one_view_alone_and_with_a_skewed_map():
    one, other = views()
    before = linear_cka(one, other)
    assert abs(linear_cka(one, other[SHUFFLE]) - before) > 0.05
    assert abs(linear_cka(one, other * torch.arange(1, 8)) - before) > 0.005


def test_either_view_may_come_first():
    one, other = views()
    assert linear_cka(one, other) == pytest.approx(linear_cka(other, one), abs=1e-12)


def test_independent_views_of_many_features_align_only_where_it_is_biased():
    one, other = drawn(40, 2000), drawn(40, 2000, seed=1)
    assert linear_cka(one, other, "biased") > 0.9
    assert abs(linear_cka(one, other)) < 0.1


def test_the_unbiased_mean_over_draws_is_zero_for_independent_views():
    found = [
        hsic(
            linear_kernel(drawn(8, 3, seed=2 * i)), linear_kernel(drawn(8, 3, seed=2 * i + 1)), kind
        )
        for kind in BOTH
        for i in range(500)
    ]
    unbiased, biased = torch.stack(found[:500]), torch.stack(found[500:])
    assert unbiased.mean().abs() < 4 * unbiased.std() / 500**0.5
    assert biased.mean() > 4 * biased.std() / 500**0.5


@pytest.mark.parametrize("estimator", BOTH)
def test_one_batch_is_all_examples_at_once(estimator):
    batches = MinibatchCKA(estimator)
    batches.add(*views())
    assert batches.value() == pytest.approx(linear_cka(*views(), estimator), abs=1e-12)


@pytest.mark.parametrize("estimator", BOTH)
def test_over_batches_each_hsic_is_a_mean(estimator):
    of, batches = DIRECT[estimator], MinibatchCKA(estimator)
    shown = [views(seed, examples) for seed, examples in enumerate((6, 9, 12))]
    kernels = [(linear_kernel(one), linear_kernel(other)) for one, other in shown]
    for one, other in shown:
        batches.add(one, other)
    across = sum(of(k, m) for k, m in kernels)
    lengths = sum(of(k, k) for k, _ in kernels) * sum(of(m, m) for _, m in kernels)
    assert batches.value() == pytest.approx(across / math.sqrt(lengths), abs=1e-12)


def test_small_batches_agree_with_all_examples_only_where_it_is_unbiased():
    one, other = views(examples=2000)
    off = {}
    for estimator in BOTH:
        batches = MinibatchCKA(estimator)
        for part in zip(one.split(8), other.split(8), strict=True):
            batches.add(*part)
        off[estimator] = abs(batches.value() - linear_cka(one, other, estimator))
    assert off["unbiased"] < 0.02 < off["biased"]


def test_kernels_of_channels_add_up_over_images():
    prompts, tokens = drawn(6, 16), drawn(5, 9, 16, seed=1)
    added = sum(channel_kernel(batch) for batch in tokens.split(2))
    found = pairwise_cka([channel_kernel(prompts)], [added]).item()
    want = linear_cka(prompts.T, tokens.flatten(0, 1).T)
    assert found == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("estimator", BOTH)
def test_too_few_examples_and_examples_that_are_alike_are_refused(estimator):
    least = ESTIMATORS[estimator].min_examples
    with pytest.raises(ValueError, match=rf"at least {least} examples; {least - 1} were given"):
        linear_cka(drawn(least - 1, 5), drawn(least - 1, 5, seed=1), estimator)
    with pytest.raises(ValueError, match="all alike"):
        linear_cka(drawn(1, 5).expand(12, -1), drawn(12, 5), estimator)
    batches = MinibatchCKA(estimator)
    with pytest.raises(ValueError, match="at least 1 batch"):
        batches.value()
    batches.add(drawn(1, 5).expand(12, -1), drawn(12, 5))
    with pytest.raises(ValueError, match="all alike"):
        batches.value()


@pytest.mark.parametrize("estimator", BOTH)
def test_a_models_layers_are_compared_each_with_each(estimator):
    model, batches = method_checks.small_backbone("avg"), method_checks.FakeBatches()
    methods.create("spt_deep").prepare(model, batches)
    found = layerwise.cka_by_layer(model, "spt_deep", batches, estimator)
    prompts, tokens = {}, {}
    for i, held, seen in layerwise.layer_inputs(model, batches):
        prompts[i] = held
        tokens.setdefault(i, []).append(seen.flatten(0, 1).clone())
    want = [
        [linear_cka(held.T, torch.cat(seen).T, estimator) for seen in tokens.values()]
        for held in prompts.values()
    ]
    assert torch.tensor(found).shape == (3, 3)
    torch.testing.assert_close(torch.tensor(found), torch.tensor(want), rtol=0, atol=1e-12)


def test_prompts_that_are_a_layers_tokens_are_aligned_with_that_layer_most():
    model, batches = method_checks.small_backbone("avg"), method_checks.FakeBatches()
    methods.create("spt_deep", prompts=60).prepare(model, batches)
    found = torch.tensor(layerwise.cka_by_layer(model, "spt_deep", batches))
    assert found.argmax(1).tolist() == [0, 1, 2]


def test_shallow_prompts_give_one_number():
    model, batches = method_checks.small_backbone("avg"), method_checks.FakeBatches()
    methods.create("spt_shallow").prepare(model, batches)
    assert torch.tensor(layerwise.cka_by_layer(model, "spt_shallow", batches)).shape == (1, 1)


def test_an_unknown_estimator_is_told_before_any_image_is_read():
    with pytest.raises(UserError, match="did you mean unbiased"):
        layerwise.cka_by_layer(method_checks.small_backbone(), "spt_deep", iter([]), "unbaised")
