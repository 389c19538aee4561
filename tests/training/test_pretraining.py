"""Pretraining runs on any folder of images; the cards of its backbones say how good they are."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from bench.cli.main import main
from bench.config.backbone import load_backbone
from bench.config.overrides import override_recipe
from bench.config.recipe import load_recipe
from bench.config.suite import load_suite
from bench.models import backbones
from bench.training import pretraining
from support import linear_probe

CARD = """
name = "real"
title = "Real"
version = 1
recipe = "quick"
lists = { trainval = ["train800val200.txt"], test = ["test.txt"] }
default = { methods = ["linear"], backbones = ["vit_mini_mae"], seeds = [0] }
task = [{ name = "cifar10", group = "Natural", classes = 10 }]
"""

NAMES = ["vit_micro_mae", "vit_micro_sup", "vit_mini_mae", "vit_mini_sup"]


def probed(card, shared, tmp_path):
    (tmp_path / "real.toml").write_text(CARD, encoding="utf-8")
    suite = load_suite(str(tmp_path / "real.toml"))
    found = backbones.resolve(card)
    root = shared / "data" / "real"
    return linear_probe.probe(found, load_recipe("quick"), suite, suite.find("cifar10"), root)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_simple_classifiers_read_far_more_from_it_than_from_random_weights(name, shared, tmp_path):
    card = load_backbone(name)
    found = probed(card, shared, tmp_path)
    random = probed(replace(card, weights="random", sha256=""), shared, tmp_path)
    assert found.neighbours > random.neighbours + 5
    assert found.linear > random.linear + 5
    claimed = [float(number) for number in re.findall(r"(\d+\.\d) %", card.evidence)]
    measured = [found.neighbours, random.neighbours, found.linear, random.linear]
    assert claimed == pytest.approx(measured, abs=1.5)  # images are decoded by other versions


@pytest.mark.parametrize("name", NAMES)
def test_its_weights_are_small_and_those_of_its_card(name):
    card = load_backbone(name)
    found = backbones.resolve(card)
    assert found.sha256 == card.sha256
    assert found.weights.stat().st_size < 3e6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(256):
        (root / f"class{i % 2}").mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"class{i % 2}" / f"{i}.png")
    return root


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("objective", "size", "name"),
    [
        ("mae", "mini", "vit_mini_mae"),
        ("supervised", "mini", "vit_mini_sup"),
        ("mae", "micro", "vit_micro_mae"),
        ("supervised", "micro", "vit_micro_sup"),
    ],
)
def test_its_file_loads_as_the_embedded_backbone_does(
    objective, size, name, folder, tmp_path, capsys
):
    out = tmp_path / "weights.safetensors"
    words = ["pretrain", objective, "--size", size, "--images", str(folder), "--out", str(out)]
    assert main([*words, "--epochs", "1"]) == 0
    assert re.search(r"epoch 1 of \d+: loss .+, about .+ left", capsys.readouterr().out)
    card = load_backbone(name)
    made = backbones.resolve(type(card)(**{**vars(card), "weights": str(out), "sha256": ""}))
    model = backbones.load(made, 3, override_recipe(load_recipe("quick"), {}))
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    assert {t.dtype for t in load_file(out).values()} == {torch.float16}


def test_the_autoencoder_is_scored_on_the_patches_that_it_did_not_see():
    torch.manual_seed(0)
    model = pretraining.build_model("mae", "mini", classes=0)
    images = torch.randn(2, 3, 32, 32)
    assert model.visible_patches == 16
    kept = torch.arange(16).expand(2, -1)
    seen = model.encode(images, kept)
    images[:, :, 16:] = 0  # rows of patches that are not among the kept
    torch.testing.assert_close(model.encode(images, kept), seen)


def test_the_targets_are_patches_of_zero_mean_and_unit_variance():
    patches = pretraining.normalised_patches(torch.randn(2, 3, 8, 8) * 5 + 3, 4)
    assert patches.shape == (2, 4, 48)
    torch.testing.assert_close(patches.mean(-1), torch.zeros(2, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(patches.var(-1), torch.ones(2, 4), atol=1e-3, rtol=0)


def test_crops_and_flips_keep_an_even_picture_even():
    picture = torch.full((4, 3, 32, 32), 200, dtype=torch.uint8)
    found = pretraining.augment(picture, 0.3)
    torch.testing.assert_close(found, torch.full_like(found, 200 / 127.5 - 1))


def test_a_folder_that_is_not_there_is_named(tmp_path, capsys):
    nowhere = str(tmp_path / "nowhere")
    assert main(["pretrain", "mae", "--images", nowhere, "--out", str(tmp_path / "x")]) == 2
    assert "no folder of images at" in capsys.readouterr().err
