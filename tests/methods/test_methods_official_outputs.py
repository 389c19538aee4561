"""Logits and gradients of prompt methods equal those of the official code, given its tensors."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import methods
from methods.shared.prompts import prompts_of
from support.official_weights import OFFICIAL, double_precision, gradients, images, ours, stored

CLASSES = 10


class Case(NamedTuple):
    """One file of outputs, the method that must give them, and where its tensors go."""

    file: str
    method: str
    fields: dict
    norm: str  # token: CLS behind the norm; pretrained, fresh: such a norm behind the mean
    tensors: Callable  # model -> {name in the file: parameters, in the order of its first axis}


def prompts(model):
    return {"prompts": prompts_of(model)}


def gates(model):
    inner = [model.blocks[0].block, *model.blocks[1:-1]]
    last = getattr(model.blocks[-1], "block", model.blocks[-1])
    attentions = [getattr(block, "block", block).attn for block in [*inner, last]]
    return {
        "prompts": [model.blocks[0].prompts],
        "gate_logits": [block.gate for block in inner],
        "temperatures": [attn.q_norm.temperature for attn in attentions],
    }


def queries(model):
    return {"queries": [block.queries for block in model.blocks]}


DEEP, POOLED = {"prompts": 10}, {"prompts": 10, "pool_prompts": True}
CASES = {
    "vpt_shallow": Case("vpt_shallow", "vpt_shallow", DEEP, "token", prompts),
    "vpt_deep": Case("vpt_deep", "vpt_deep", DEEP, "token", prompts),
    "vpt_deep, concatenated": Case(
        "vpt_deep", "vpt_deep", {**DEEP, "form": "concatenation"}, "token", prompts
    ),
    "vpt_deep, MAE": Case("vpt_deep_mae", "vpt_deep", POOLED, "fresh", prompts),
    "spt_deep, MAE": Case("spt_deep_mae", "spt_deep", POOLED, "pretrained", prompts),
    "gatevpt, MAE": Case("gatevpt_mae", "gatevpt", POOLED, "pretrained", gates),
    "vqt": Case("vqt", "vqt", {"queries": 2}, "token", queries),
}


def backbone(shared, norm):
    """The pretrained model, frozen but for its head, in the default precision."""
    pooling = "token" if norm == "token" else "avg"
    model = timm.create_model("vit_tiny_patch16_224", num_classes=CLASSES, global_pool=pooling)
    weights = load_file(shared / "weights" / "vit_tiny_patch16_224.safetensors")
    weights = {k: v for k, v in weights.items() if not k.startswith("head.")}
    for part in ("weight", "bias") if norm != "token" else ():
        pretrained = weights.pop(f"norm.{part}")
        if norm == "pretrained":
            weights[f"fc_norm.{part}"] = pretrained
    missing, unknown = model.load_state_dict(weights, strict=False)
    fresh = {"fc_norm.weight", "fc_norm.bias"} if norm == "fresh" else set()
    assert set(missing) == {"head.weight", "head.bias"} | fresh, missing
    assert not unknown
    model.requires_grad_(False)
    model.get_classifier().requires_grad_(True)
    return model.eval()


@torch.no_grad()
def filled(case, shared, official):
    """The model with the method, holding the file's tensors, and those by name."""
    model = backbone(shared, case.norm)
    methods.create(case.method, **case.fields).attach(model)
    head = model.get_classifier()
    ours = {**case.tensors(model), "head_weight": [head.weight], "head_bias": [head.bias]}
    for name, parameters in ours.items():
        values = torch.from_numpy(official[name])
        stacked = values.ndim > parameters[0].ndim
        for p, value in zip(parameters, values if stacked else [values], strict=True):
            p.copy_(value.to(p.dtype))
    return model.eval(), ours


def seeded_images():
    return torch.randn(
        4, 3, 224, 224, generator=torch.Generator().manual_seed(0), dtype=torch.float32
    )


def scores_and_gradients(case, shared, official):
    model, ours = filled(case, shared, official)
    scores = model(seeded_images())
    F.cross_entropy(scores, torch.arange(4)).backward()
    return scores.detach(), {k: torch.stack([p.grad for p in ps]) for k, ps in ours.items()}


@pytest.fixture(params=CASES, name="case")
def _case(request):
    return CASES[request.param]


@pytest.fixture(name="official")
def _official(case, shared):
    return dict(np.load(shared / "golden" / "outputs" / f"{case.file}.npz"))


def test_scores_and_gradients_are_the_official_ones(case, shared, official):
    scores, gradients = scores_and_gradients(case, shared, official)
    torch.testing.assert_close(scores, torch.from_numpy(official["logits"]), rtol=0, atol=1e-4)
    for name, gradient in gradients.items():
        want = torch.from_numpy(official[f"grad_{name}"]).reshape(gradient.shape)
        far = (gradient - want).abs().max() / want.abs().max()
        assert far < 1e-4, f"{name}: {far:.1e} of the largest"


def test_scores_are_the_official_ones_in_double_precision(case, shared, official):
    torch.set_default_dtype(torch.float64)
    try:
        model, _ = filled(case, shared, official)
        with torch.no_grad():
            scores = model(seeded_images().double())
    finally:
        torch.set_default_dtype(torch.float32)
    room = double_precision(shared, seeded_images())
    torch.testing.assert_close(scores, torch.from_numpy(official["logits_fp64"]), rtol=0, atol=room)


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
