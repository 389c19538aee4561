"""Weights files as they are released: tensor by tensor what timm's own loader makes of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from bench.config.backbone import BackboneCard
from bench.models import checkpoints, weight_conversion
from bench.utils.errors import UserError
from support import released_layouts as layouts
from support.released_layouts import NETWORKS, Weights

HEADS = ("head.weight", "head.bias", "head.fc.", "fc.")


def saved(content: Any, path: Path) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **content)
    else:
        (save_file if path.suffix == ".safetensors" else torch.save)(content, path)
    return path


def model_of(kind: str, device: str = "cpu") -> nn.Module:
    name, options = NETWORKS[kind]
    with torch.device(device):
        return timm.create_model(name, num_classes=2, **options)


def ours(path: Path, kind: str, wanted: str = "", device: str = "cpu") -> Weights:
    """The weights in a file under the names of a network of the kind."""
    model, card = model_of(kind, device), BackboneCard(name="small", timm=NETWORKS[kind][0])
    return weight_conversion.convert(checkpoints.read(path, model, wanted), model, card)


def timms(path: Path, kind: str) -> Weights:
    """The weights of a network into which timm itself has loaded the file."""
    name, options = NETWORKS[kind]
    overlay = {"file": str(path), "custom_load": path.suffix == ".npz", "num_classes": 5}
    model = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=2, **options
    )
    return dict(model.state_dict())


def assert_same(found: Weights, wanted: Weights) -> None:
    own = {n: v for n, v in wanted.items() if not n.startswith(HEADS)}
    assert found.keys() | {n for n in own if n.endswith("num_batches_tracked")} == own.keys()
    for name, value in found.items():
        assert torch.equal(value.float(), own[name]), name


def in_timms_names(kind: str) -> Weights:
    return {n: v for n, v in layouts.weights(kind).items() if not n.startswith(HEADS)}


def plain(state: Weights) -> Weights:
    return layouts.headless(state)


# kind of network, and what its original code saves
RELEASED: dict[str, tuple[str, Callable[[Weights], Any]]] = {
    "timm's": ("vit", plain),
    "DINOv2": ("dinov2", layouts.dinov2),
    "DINOv2 with registers": ("dinov2_reg", layouts.dinov2),
    "DINOv2 giant, SwiGLU": ("dinov2_giant", layouts.dinov2),
    "OpenAI's CLIP": ("clip", lambda w: layouts.whole_clip(layouts.clip(w))),
    "OpenAI's CLIP, half precision": (
        "clip",
        lambda w: layouts.whole_clip({n: v.half() for n, v in layouts.clip(w).items()}),
    ),
    "OpenCLIP's, of several GPUs": (
        "clip",
        lambda w: layouts.whole_clip(layouts.clip(w), "module.visual."),
    ),
    "OpenCLIP's around timm": ("vit", lambda w: layouts.whole_clip(plain(w), "visual.trunk.")),
    "SigLIP": ("siglip", plain),
    "DeiT-3": ("deit3", layouts.renamed((r"ls(\d)\.gamma", r"gamma_\1"))),
    "i-JEPA": (
        "ijepa",
        lambda w: {
            "encoder": layouts.prefixed("module.", plain(w)),
            "predictor": {"module.predictor_pos_embed": torch.zeros(1, 4, 8)},
            "epoch": 300,
        },
    ),
    "EVA-02": ("eva02", plain),
    "EVA-02, masked": ("eva02", layouts.eva02_mim),
    "DINOv3": ("dinov3", layouts.dinov3),
    "DINOv3 with biases": ("dinov3_qkvb", layouts.dinov3),
    "BEiT, of DeepSpeed": ("beit", lambda w: {"module": plain(w)}),
    "AIMv2": ("aimv2", layouts.aimv2),
    "Swin": ("swin", lambda w: {"model": layouts.swin(w)}),
    "ConvNeXt": ("convnext", lambda w: {"model": layouts.convnext(w)}),
    "ResNet": ("resnet", dict),
    "an average of the weights": (
        "vit",
        lambda w: {"state_dict": layouts.weights("vit", 2), "state_dict_ema": plain(w)},
    ),
    "another average": (
        "vit",
        lambda w: {"model": layouts.weights("vit", 2), "model_ema": plain(w)},
    ),
    "torch.compile": ("vit", lambda w: {"state_dict": layouts.prefixed("_orig_mod.", plain(w))}),
    "both wrappers": ("vit", lambda w: layouts.prefixed("module._orig_mod.", plain(w))),
}  # fmt: skip


@pytest.mark.sample(6)
@pytest.mark.parametrize(("kind", "layout"), RELEASED.values(), ids=RELEASED)
def test_a_released_file_is_what_timm_makes_of_it(
    tmp_path: Path, kind: str, layout: Callable[[Weights], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = saved(layout(layouts.weights(kind)), tmp_path / "w.pth")
    found = ours(path, kind)
    assert capsys.readouterr().out == ""
    assert_same(found, timms(path, kind))
    assert_same(ours(path, kind, device="meta"), found)
    half = "half" in str(layout) or any(v.dtype == torch.float16 for v in found.values())
    for name, value in in_timms_names(kind).items():
        if name in found:
            torch.testing.assert_close(
                found[name].float(), value.float(), atol=1e-3 if half else 1e-6, rtol=0
            )


# timm's loader does not unwrap these; it does what is in them
WRAPPED: dict[str, tuple[str, Callable[[Weights], Any]]] = {
    "DINO's teacher": (
        "vit",
        lambda w: {
            "student": layouts.prefixed("module.backbone.", layouts.weights("vit", 2)),
            "teacher": {
                **layouts.prefixed("backbone.", plain(w)),
                "head.mlp.0.weight": torch.zeros(3),
            },
            "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
        },
    ),
    "with options": (
        "vit",
        lambda w: {"model": plain(w), "args": layouts.OPTIONS, "best": np.float32(0.5)},
    ),
    "Lightning": ("vit", lambda w: {"state_dict": layouts.prefixed("model.", plain(w))}),
    "Lightning, with options": (
        "vit",
        lambda w: {
            "state_dict": {**layouts.prefixed("model.", plain(w)), "loss.weight": torch.ones(3)},
            "hyper_parameters": layouts.OPTIONS,
        },
    ),
    "MoCo v3": (
        "vit",
        lambda w: {
            "state_dict": {
                **layouts.prefixed("module.momentum_encoder.", layouts.weights("vit", 2)),
                **layouts.prefixed("module.base_encoder.", plain(w)),
                "module.predictor.0.weight": torch.zeros(3, 3),
            }
        },
    ),
    "the vision tower of CLIP alone": ("clip", layouts.clip),
    "DINOv2's training": (
        "dinov2_reg",
        lambda w: {"teacher": layouts.prefixed("backbone.", layouts.dinov2(w))},
    ),
    "DINOv2 without its mask token": (
        "dinov2_reg",
        lambda w: {n: v for n, v in layouts.dinov2(w).items() if n != "mask_token"},
    ),
    "EVA-CLIP": ("eva02", lambda w: layouts.whole_clip(plain(w), "visual.")),
    "Swin of a framework": ("swin", lambda w: {"state_dict": layouts.prefixed("backbone.", w)}),
    "MoCo's ResNet": (
        "resnet",
        lambda w: {
            "state_dict": {
                **layouts.prefixed("module.encoder_q.", plain(w)),
                **layouts.prefixed("module.encoder_k.", layouts.weights("resnet", 2)),
            }
        },
    ),
    "i-JEPA's target": (
        "ijepa",
        lambda w: {
            "encoder": layouts.prefixed("module.", plain(w)),
            "target_encoder": layouts.prefixed("module.", layouts.weights("ijepa", 2)),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "layout"), WRAPPED.values(), ids=WRAPPED)
def test_a_wrapped_file_is_what_is_in_it(
    tmp_path: Path, kind: str, layout: Callable[[Weights], Any]
) -> None:
    path = saved(layout(layouts.weights(kind)), tmp_path / "w.pth")
    wanted = timms(saved(plain(layouts.weights(kind)), tmp_path / "plain.pth"), kind)
    found = ours(path, kind)
    assert found.keys() <= wanted.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, wanted[name], msg=name)


@pytest.mark.parametrize("kind", ["siglip_gap", "siglip_avg"])
def test_siglip_pooled_by_the_mean_has_all_but_the_attention_that_pools(
    tmp_path: Path, kind: str
) -> None:
    state = plain(layouts.weights("siglip"))
    found = ours(saved(state, tmp_path / "w.safetensors"), kind)
    names = {n for n in model_of(kind).state_dict() if not n.startswith(HEADS)}
    assert found.keys() == names
    behind = "fc_norm" if kind == "siglip_avg" else "norm"
    assert torch.equal(found[f"{behind}.weight"], state["norm.weight"])
    assert torch.equal(found["pos_embed"], state["pos_embed"])


def test_eva_02_after_masking_may_be_pooled_by_its_class_token(tmp_path: Path) -> None:
    name, options = NETWORKS["eva02"]
    model = timm.create_model(name, num_classes=2, global_pool="token", **options)
    path = saved(layouts.eva02_mim(layouts.weights("eva02")), tmp_path / "w.pth")
    card = BackboneCard(name="small", timm=name)
    found = weight_conversion.convert(checkpoints.read(path, model), model, card)
    assert torch.equal(found["norm.weight"], layouts.weights("eva02")["fc_norm.weight"])
    assert "fc_norm.weight" not in found


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("vit_base_mci_224", "vision_transformer_hybrid"),
        ("deit_tiny_distilled_patch16_224", "vision_transformer"),
        ("swin_tiny_patch4_window7_224", "swin_transformer"),
    ],
)
def test_the_converter_is_that_with_which_timm_builds_the_model(name: str, module: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name)
    converter = weight_conversion._converter_of(model, BackboneCard(name="x", timm=name))
    assert converter is not None
    assert converter.__module__ == f"timm.models.{module}"


# --- Google's arrays


@pytest.mark.parametrize(
    ("prefix", "stacked"),
    [("", False), ("opt/target/", False), ("params/", True), ("params/img/", True)],
    ids=["ImageNet-21k", "AugReg", "Big Vision", "SigLIP's layout"],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_google_s_arrays_are_what_timm_makes_of_them(
    tmp_path: Path, prefix: str, stacked: bool, device: str
) -> None:
    arrays = layouts.google(plain(layouts.weights("vit")), prefix, stacked)
    path = saved(arrays, tmp_path / "ViT-B_16.npz")
    found = ours(path, "vit", device=device)
    assert_same(found, timms(path, "vit"))
    assert_same(found, layouts.weights("vit"))


def test_google_s_last_norm_stands_behind_an_average(tmp_path: Path) -> None:
    state = plain(layouts.weights("vit"))
    path = saved(layouts.google(state), tmp_path / "w.npz")
    name, options = NETWORKS["vit"]
    model = timm.create_model(name, num_classes=2, global_pool="avg", **options)
    card = BackboneCard(name="small", timm=name)
    found = checkpoints.read(path, model)
    kept = weight_conversion.convert(found, model, card)
    assert torch.equal(kept["fc_norm.weight"], state["norm.weight"])
    assert "norm.weight" not in kept
    fresh = weight_conversion.convert(found, model, card, "fresh")
    assert (fresh["fc_norm.weight"] == 1).all()


def test_an_archive_of_arrays_for_another_network_is_refused(tmp_path: Path) -> None:
    arrays = layouts.google(plain(layouts.weights("vit")))
    fewer = {name: a for name, a in arrays.items() if "encoderblock_1" not in name}
    with pytest.raises(UserError, match=r"has 1 blocks; 2 were expected"):
        ours(saved(fewer, tmp_path / "few.npz"), "vit")
    for missing in ("cls", "embedding/bias", "Transformer/encoderblock_1/LayerNorm_2/scale"):
        some = {name: a for name, a in arrays.items() if name != missing}
        with pytest.raises(UserError, match=r"some\.npz does not fit vit_tiny_patch16_224"):
            ours(saved(some, tmp_path / "some.npz"), "vit")
    path = saved(arrays, tmp_path / "all.npz")
    with pytest.raises(UserError, match="Google's format of Vision Transformers; a ConvNeXt has"):
        ours(path, "convnext")
    with pytest.raises(UserError, match=r"is of 8 x 8 pixels; small wants 16 x 16"):
        ours(path, "clip")


# --- of several state dicts


SEVERAL = {
    "DINO": (
        {"student": "module.backbone.", "teacher": "backbone."},
        "teacher",
        "student",
    ),
    "averages": ({"state_dict": "", "state_dict_ema": ""}, "state_dict_ema", "state_dict"),
    "averages, wrapped": ({"model": "module.", "model_ema": "module."}, "model_ema", "model"),
    "i-JEPA": (
        {"target_encoder": "module.", "encoder": "module."},
        "encoder",
        "target_encoder",
    ),
    "unknown names": ({"first": "", "second": ""}, "first", "second"),
}


@pytest.mark.parametrize(("prefixes", "taken", "other"), SEVERAL.values(), ids=SEVERAL)
def test_which_of_several_is_taken_is_said_and_can_be_chosen(
    tmp_path: Path, prefixes: dict[str, str], taken: str, other: str
) -> None:
    states = {name: plain(layouts.weights("vit", seed)) for seed, name in enumerate(prefixes)}
    content = {name: layouts.prefixed(prefixes[name], state) for name, state in states.items()}
    path, model = saved(content, tmp_path / "w.pth"), model_of("vit")
    found = checkpoints.read(path, model)
    said = f"{taken} is taken (--set backbone.state_dict={other} takes another)"
    assert found.note == f"w.pth holds {taken} and {other}: {said}"
    assert_same(ours(path, "vit"), states[taken])
    for name in prefixes:
        assert_same(ours(path, "vit", wanted=name), states[name])
        assert checkpoints.read(path, model, name).note.endswith(f"{name} is taken (as asked for)")


@pytest.mark.parametrize("kind", ["resnet", "vit", "swin"])
def test_of_a_file_of_one_network_no_part_is_another(tmp_path: Path, kind: str) -> None:
    state = layouts.prefixed("module.backbone.", layouts.weights(kind))
    found = checkpoints.read(saved({"model": state}, tmp_path / "w.pth"), model_of(kind))
    assert (found.place, found.note) == ("model.module.backbone", "")


def test_a_state_dict_that_is_not_there_is_refused(tmp_path: Path) -> None:
    state = plain(layouts.weights("vit"))
    several = saved({"teacher": state, "student": state}, tmp_path / "several.pth")
    with pytest.raises(
        UserError, match=r"no state dict of several.pth 'studnet'; did you mean stu"
    ):
        ours(several, "vit", wanted="studnet")
    with pytest.raises(UserError, match="holds one state dict, and 'teacher' was asked for"):
        ours(saved(state, tmp_path / "one.pth"), "vit", wanted="teacher")
    arrays = saved(layouts.google(state), tmp_path / "w.npz")
    with pytest.raises(UserError, match=r"is an \.npz, of one model; state_dict=teacher was asked"):
        ours(arrays, "vit", wanted="teacher")
