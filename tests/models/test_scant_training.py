"""A method that finds next to nothing to train in a backbone is warned of."""

from pathlib import Path
from typing import Any

import pytest

import methods
from bench.config.backbone import load_backbone
from bench.models.backbones import Backbone, resolve
from bench.models.scant_training import scant_training
from support import tiny

SMALL = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}


def said(folder: Path, name: str, timm_name: str, **architecture: Any) -> str:
    """The warning about a method on a small copy of a timm model; empty if there is none."""
    return scant_training(small(folder, timm_name, **architecture), name, methods.create(name))


def small(folder: Path, timm_name: str, **architecture: Any) -> Backbone:
    own = {**SMALL, **architecture}
    card = {"timm": timm_name, "architecture": own, "pooling": "backbone"}
    return resolve(load_backbone(str(tiny.backbone_card(folder / "small.toml", **card))))


def test_bias_on_aimv2_trains_one_tensor(tmp_path: Path) -> None:
    assert said(tmp_path, "bias", "aimv2_large_patch14_224").startswith(
        "bias trains only patch_embed.proj.bias of small"
    )


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "kind",
    ["vit_base_patch16_xp_224", "vit_small_patch16_18x2_224", "vit_dpwee_patch16_reg1_gap_256"],
)
def test_peft_ln_on_parallel_blocks_trains_the_last_norm_alone(tmp_path: Path, kind: str) -> None:
    assert "trains only" in (found := said(tmp_path, "peft_ln", kind))
    assert "norm." in found


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("linear", "aimv2_large_patch14_224"),
        ("mlp3", "aimv2_large_patch14_224"),
        ("vpt_shallow", "aimv2_large_patch14_224"),
        ("ln", "aimv2_large_patch14_224"),
        ("difffit", "aimv2_large_patch14_224"),
        ("peft_lora", "aimv2_large_patch14_224"),
        ("ssf", "aimv2_large_patch14_224"),  # n/a, which its cells say
        ("ln", "vit_base_patch16_xp_224"),
        ("bias", "vit_base_patch16_xp_224"),
        ("bias", "vit_tiny_patch16_224"),
        ("bias", "beit_base_patch16_224"),
        ("peft_ln", "eva02_tiny_patch14_224"),
    ],
)
def test_what_a_method_is_made_for_is_no_warning(tmp_path: Path, name: str, kind: str) -> None:
    assert said(tmp_path, name, kind) == ""


def test_it_is_said_before_a_run_and_in_a_dry_run_once(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.cli import main

    card = {"timm": "aimv2_large_patch14_224", "architecture": SMALL, "pooling": "backbone"}
    other = tiny.backbone_card(tmp_path / "aim.toml", **card)
    backbones = ("--backbones", f"{cards / 'small.toml'},{other}", "--seeds", "0,1")
    for more in (("--dry-run",), ()):
        words = tiny.command("run", cards, tmp_path / "results", "linear,bias", *backbones, *more)
        assert main.main(words) == 0
        warned = [line for line in capsys.readouterr().err.splitlines() if "trains only" in line]
        assert warned == [
            "bench: bias trains only patch_embed.proj.bias of aim, whose blocks have nothing that "
            "it finds"
        ]
