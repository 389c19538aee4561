"""The statistics that pixels are normalised by, and the name that weights have by their bytes."""

from dataclasses import replace

import pytest
import timm
import tiny
import torch

from bench import backbones, cards
from bench.cards import load_recipe

RECIPE = load_recipe("unified")


@pytest.mark.parametrize(
    ("normalisation", "mean", "std"),
    [
        ("backbone", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
        ("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("none", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ],
)
def test_a_recipe_names_the_mean_and_the_deviation(tmp_path, normalisation, mean, std):
    own = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    card = tiny.backbone_card(tmp_path / "own.toml", **own)
    backbone = backbones.resolve(cards.load_backbone(str(card)))
    found = backbones.normalisation(backbone, replace(RECIPE, normalisation=normalisation))
    assert found == (mean, std)


def test_weights_that_were_written_anew_have_another_name(tmp_path):
    card = cards.load_backbone(
        str(tiny.backbone_card(tmp_path / "own.toml", weights="own.pth", pooling="token"))
    )
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, **tiny.ARCHITECTURE)
    names, models = [], []
    for factor in (1.0, 2.0):
        scaled = {name: factor * value for name, value in model.state_dict().items()}
        torch.save({"model": scaled}, tmp_path / "own.pth")
        backbone = backbones.resolve(card)
        names.append(backbone.sha256)
        models.append(backbones.load(backbone, 2, RECIPE).cls_token)
    assert names[0] != names[1]
    torch.testing.assert_close(2 * models[0], models[1])
