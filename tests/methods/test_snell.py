"""SNELL: the update's sign, its sparsity, and what is kept for the backward pass."""

import copy

import pytest
import torch

import methods
from methods.snell import KernelUpdate

SHAPE = (12, 10)  # outputs, inputs


def update_of(share=0.5, form="magnitude", rank=4):
    torch.manual_seed(0)
    return KernelUpdate(SHAPE, rank, share, 0.1, form).double()


@pytest.mark.parametrize("form", ["soft", "mask", "magnitude"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_exchanging_the_heads_changes_the_sign_of_the_update(form, share):
    update = update_of(share, form)
    swapped = copy.deepcopy(update)
    with torch.no_grad():
        for p in swapped.parameters():
            p.copy_(p.flip(0))
    torch.testing.assert_close(swapped.delta_weight(), -update.delta_weight(), rtol=0, atol=1e-12)
    assert update.delta_weight().abs().max() > 1e-6


def test_the_dense_update_is_the_difference_of_distances():
    update = update_of(share=0.0)
    a, b = update.inputs, update.outputs
    expected = torch.empty(SHAPE, dtype=torch.float64)
    for j in range(SHAPE[0]):
        for i in range(SHAPE[1]):
            first, second = ((a[h, i] - b[h, j]).norm() for h in range(2))
            expected[j, i] = 0.1 * (first - second)
    torch.testing.assert_close(update.delta_weight(), expected)


@pytest.mark.parametrize("form", ["soft", "mask", "magnitude"])
def test_the_share_of_smallest_magnitudes_is_dropped_and_the_rest_follows_the_form(form):
    dense, sparse = update_of(0.0).delta_weight(), update_of(0.75, form).delta_weight()
    assert (sparse == 0).sum() == 90
    kept = sparse != 0
    threshold = dense.abs().flatten().quantile(0.75)
    expected = {
        "mask": dense,
        "magnitude": dense * dense.abs(),
        "soft": dense - dense.sign() * threshold,
    }[form]
    torch.testing.assert_close(sparse[kept], expected[kept])


def test_no_gradient_flows_through_the_magnitude():
    update = update_of(0.5)
    x = torch.randn(3, 10, dtype=torch.float64)
    update(x).sum().backward()
    found = update.inputs.grad.clone()
    update.zero_grad()
    factor = update_of(0.5).delta_weight().detach()
    dense = update_of(0.0).delta_weight().detach()
    scaled = torch.where(dense != 0, factor / dense, 0)
    update.share = 0.0
    (x @ (update.delta_weight() * scaled).T).sum().backward()
    torch.testing.assert_close(found, update.inputs.grad)


def test_the_update_is_computed_again_for_the_backward_pass_not_kept():
    update, kept = update_of(0.5), []
    x = torch.randn(3, 10, dtype=torch.float64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        y = update(x)
    assert SHAPE not in kept
    assert SHAPE[::-1] not in kept
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, update.delta_weight().sum(0).expand(3, -1))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"rank": 7}, "even; 7"),
        ({"rank": 0}, "at least 2; 0"),
        ({"sparsity": 1.0}, "below 1; 1.0"),
        ({"form": "hard"}, "soft, mask, magnitude; 'hard'"),
    ],
)
def test_a_field_that_makes_no_sense_is_refused(fields, says):
    with pytest.raises(ValueError, match=says):
        methods.create("snell", **fields)
