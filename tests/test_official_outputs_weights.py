"""With the official implementations' tensors, our methods give their scores and gradients."""

import pytest
import torch
from official_weights import OFFICIAL, double_precision, gradients, images, ours, stored


@pytest.mark.parametrize("name", OFFICIAL)
def test_every_stored_tensor_has_a_place(shared, name):
    given = stored(shared, OFFICIAL[name].file)
    learnt = {key.removeprefix("grad_") for key in given if key.startswith("grad_")}
    assert learnt - {"head_weight", "head_bias"} == set(OFFICIAL[name].places)


@pytest.mark.parametrize("name", OFFICIAL)
def test_every_parameter_of_ours_has_an_official_value(shared, name):
    model = ours(shared, OFFICIAL[name], torch.float32)
    held = {id(p) for place in OFFICIAL[name].places.values() for p, _ in place.of(model)}
    learning = {id(p) for p in model.parameters() if p.requires_grad}
    assert learning == held


@pytest.mark.parametrize(
    ("dtype", "key"),
    [(torch.float64, "logits_fp64"), (torch.float32, "logits")],
    ids=["fp64", "fp32"],
)
@pytest.mark.parametrize("name", OFFICIAL)
def test_the_scores_are_the_official_ones(shared, name, dtype, key):
    model, drawn = ours(shared, OFFICIAL[name], dtype), images(shared)
    tolerance = double_precision(shared, drawn) if dtype == torch.float64 else 1e-4
    with torch.no_grad():
        scores = model(drawn.to(dtype))
    want = stored(shared, OFFICIAL[name].file)[key]
    torch.testing.assert_close(scores, want, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_gradients_are_the_official_ones(shared, name):
    official, given = OFFICIAL[name], stored(shared, OFFICIAL[name].file)
    found = gradients(ours(shared, official, torch.float32), official, images(shared))
    for key, gradient in found.items():
        want = given[f"grad_{key}"]
        tolerance = 1e-4 * want.abs().max().item()
        torch.testing.assert_close(
            gradient.view_as(want),
            want,
            rtol=0,
            atol=tolerance,
            msg=lambda m, key=key: f"{key}: {m}",
        )
