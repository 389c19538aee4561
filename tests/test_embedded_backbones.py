"""The embedded backbones are pretrained, and their cards say by how much it shows."""

import re
from dataclasses import replace

import pytest

from bench import backbones, evidence
from bench.cards import load_backbone, load_recipe, load_suite

CARD = """
name = "real"
title = "Real"
version = 1
recipe = "quick"
lists = { trainval = ["train800val200.txt"], test = ["test.txt"] }
default = { methods = ["linear"], backbones = ["vit_mini_mae"], seeds = [0] }
task = [{ name = "cifar10", group = "Natural", classes = 10 }]
"""

NAMES = ["vit_micro_mae", "vit_mini_mae", "vit_mini_sup"]


def probed(card, shared, tmp_path):
    (tmp_path / "real.toml").write_text(CARD)
    suite = load_suite(str(tmp_path / "real.toml"))
    found = backbones.resolve(card)
    root = shared / "data" / "real"
    return evidence.probe(found, load_recipe("quick"), suite, suite.find("cifar10"), root)


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
