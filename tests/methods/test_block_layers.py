"""Methods where queries, keys and values come from three layers, or an MLP's gate from its own."""

import copy
import pickle
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import methods
from methods.shared.merge import merge_adapters
from support import small_vits

pytestmark = pytest.mark.usefixtures("double_precision")

EVA, SIZES = "eva02_base_patch14_224", {**small_vits.SMALL, **small_vits.PATCHES, "mlp_ratio": 2.0}


def pair() -> tuple[Any, Any]:
    """Two equal models: one with three projections, one with the three in one layer."""
    torch.manual_seed(0)
    apart: Any = timm.create_model(EVA, **SIZES).double().eval()
    for parameter in apart.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    fused: Any = timm.create_model(EVA, **SIZES, qkv_fused=True).double().eval()
    fused.load_state_dict(fuse(apart.state_dict()))
    for model in (apart, fused):
        model.requires_grad_(False)
    assert torch.allclose(apart(small_vits.images()), fused(small_vits.images()), atol=1e-12)
    return apart, fused


def fuse(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the fused model, of those of the other."""
    for i in range(SIZES["depth"]):
        attn = f"blocks.{i}.attn."
        parts = [state.pop(f"{attn}{name}_proj.weight") for name in "qkv"]
        state[f"{attn}qkv.weight"] = torch.cat(parts)
        for name in "qv":
            state[f"{attn}{name}_bias"] = state.pop(f"{attn}{name}_proj.bias")
    return state


def attached(name: str, model: Any, **fields: Any) -> Any:
    """The model with a method on it, all of whose parameters matter."""
    torch.manual_seed(1)
    methods.create(name, **fields).attach(model)
    return model.eval()


def randomise(module: nn.Module, *names: str) -> None:
    with torch.no_grad():
        for name in names:
            module.get_parameter(name).normal_(0, 0.3)


def same_scores(*models: Any) -> None:
    with torch.no_grad():
        found, expected = (model(small_vits.images()) for model in models)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def count(model: Any) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_one_pair_of_lora_serves_the_three_layers_as_it_does_their_one() -> None:
    apart, fused = (attached("lora", model) for model in pair())
    assert count(apart) == count(fused)
    for a, f in zip(apart.blocks, fused.blocks, strict=True):
        whole = f.attn.qkv.update
        randomise(whole, "a", "b")
        a.attn.q_proj.update.a.data = whole.a.data.clone()
        for name, rows in zip("qkv", whole.b.data.chunk(3), strict=True):
            a.attn.get_submodule(f"{name}_proj").update.b.data = rows.clone()
    same_scores(apart, fused)


def test_two_pairs_of_lora_leave_the_keys() -> None:
    apart, fused = (attached("lora_qv", model) for model in pair())
    assert count(apart) == count(fused)
    for a, f in zip(apart.blocks, fused.blocks, strict=True):
        assert type(a.attn.k_proj) is nn.Linear
        for own, whole in (("q_proj", "query"), ("v_proj", "value")):
            update = f.attn.qkv.update.get_submodule(whole)
            randomise(update, "a", "b")
            a.attn.get_submodule(own).update.load_state_dict(update.state_dict())
    same_scores(apart, fused)


def test_one_repadapter_stands_before_the_three_layers() -> None:
    apart, fused = (attached("repadapter", model) for model in pair())
    assert count(apart) == count(fused)
    for a, f in zip(apart.blocks, fused.blocks, strict=True):
        for own, whole in (
            (a.attn.q_proj, f.attn.qkv),
            (a.mlp.fc1_g, f.mlp.fc1_g),
        ):
            randomise(whole, "up", "bias", "down.bias")
            for name in ("up", "bias", "down.weight", "down.bias"):
                own.get_parameter(name).data = whole.get_parameter(name).data.clone()
    same_scores(apart, fused)


def test_ssf_scales_and_shifts_the_channels_of_the_three_layers() -> None:
    apart, fused = (attached("ssf", model) for model in pair())
    assert count(apart) == count(fused)
    own, whole = dict(apart.named_parameters()), dict(fused.named_parameters())
    for name in [name for name in own if name.endswith((".scale", ".shift"))]:
        if name in whole:
            own[name].data = whole[name].data.clone()
    for a, f in zip(apart.blocks, fused.blocks, strict=True):
        layer = f.attn.qkv
        scales, shifts = layer.scale.data.chunk(3), layer.shift.data.chunk(3)
        beside = {"q": f.attn.q_bias, "k": 0.0, "v": f.attn.v_bias}  # not scaled: see `SSF`
        for name, scale, shift in zip("qkv", scales, shifts, strict=True):
            part = a.attn.get_submodule(f"{name}_proj")
            part.scale.data = scale.clone()
            part.shift.data = shift + (1 - scale) * beside[name]
    same_scores(apart, fused)


def test_fact_cuts_the_three_layers_into_the_tiles_of_their_one() -> None:
    apart, fused = (attached("fact_tt", model, rank=4) for model in pair())
    assert count(apart) == count(fused)
    ours, theirs = (m.blocks[0].attn.q_proj if hasattr(m.blocks[0].attn.q_proj, "factors")
                    else m.blocks[0].attn.qkv for m in (apart, fused))  # fmt: skip
    randomise(theirs.factors, "u", "v")
    ours.factors.load_state_dict(theirs.factors.state_dict())
    for a, f in zip(apart.blocks, fused.blocks, strict=True):
        for name, rows in zip("qkv", f.attn.qkv.middle.sigma.data.chunk(3), strict=True):
            a.attn.get_submodule(f"{name}_proj").middle.sigma.data = rows.clone()
        for name in ("attn.proj", "mlp.fc1_g", "mlp.fc1_x", "mlp.fc2"):
            sigma = f.get_submodule(name).middle.sigma.data
            a.get_submodule(name).middle.sigma.data = sigma.clone()
    same_scores(apart, fused)


VARIED = ("eva02_fused", "eva02_unfused", "dinov3_swiglu", "grouped_queries", "beit_swiglu",
          "relpos", "vitamin", "aimv2", "eva_post_norm")  # fmt: skip


MERGEABLE = ("lora", "lora_qv", "repadapter", "ssf", "fact_tk", "difffit")
NOT_SERVED = {
    "repadapter": {"eva_post_norm"},
    "ssf": {"aimv2", "grouped_queries", "vitamin"},  # RMS norms; no patch projection
    "fact_tk": {"aimv2", "eva02_fused", "eva02_unfused", "eva_post_norm", "grouped_queries"},
}


@pytest.mark.sample(9)
@pytest.mark.parametrize(
    ("name", "vit"),
    [(n, v) for n in MERGEABLE for v in VARIED if v not in NOT_SERVED.get(n, ())],
)
def test_adapters_of_every_layer_learn_merge_and_are_copied(name: str, vit: str) -> None:
    model = small_vits.build(vit)
    attached(name, model)
    learn(model)
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]  # noqa: S301
    fresh = attached(name, small_vits.build(vit))
    fresh.load_state_dict(model.state_dict())
    before = small_vits.build(vit)(small_vits.images())
    assert (model(small_vits.images()) - before).abs().max() > 1e-6
    for other in (*twins, fresh):
        same_scores(other, model)
    merge_adapters(twins[0])
    same_scores(twins[0], model)


def learn(model: Any) -> None:
    """Two steps of gradient descent; every trainable parameter must get a gradient."""
    trainable = {n: p for n, p in model.named_parameters() if p.requires_grad}
    for _ in range(2):
        gradients = torch.autograd.grad(
            model(small_vits.images()).logsumexp(1).sum(), list(trainable.values())
        )
        with torch.no_grad():
            for parameter, gradient in zip(trainable.values(), gradients, strict=True):
                parameter -= 0.1 * gradient


@pytest.mark.sample(6)
@pytest.mark.parametrize("vit", VARIED)
@pytest.mark.parametrize("name", ["peft_lora", "peft_ia3", "peft_dora"])
def test_peft_adapts_each_linear_layer_of_the_blocks(vit: str, name: str) -> None:
    model = small_vits.build(vit)
    inside = model.blocks.named_modules()
    linear = [n for n, m in inside if isinstance(m, nn.Linear) and ".rel_pos." not in n]
    attached(name, model)
    adapted = [m for m in model.blocks.modules() if hasattr(m, "base_layer")]
    if name != "peft_ia3":  # which leaves attention's output and the MLP's input
        assert len(adapted) == len(linear)
    assert len(adapted) >= 2 * len(model.blocks)
    learn(model)  # also that no layer's weight is read past its adapter
