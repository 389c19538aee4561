"""What gives a cell another name, so that it is run and not taken for one that was."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
from PIL import Image

from bench import plan
from bench.asking import Request
from bench.records import Settings


@pytest.fixture
def folder(cards, tmp_path) -> Path:
    """A copy of the data and cards that may be changed."""
    return Path(shutil.copytree(cards, tmp_path / "own"))


def cell(folder: Path, **changes: Any) -> Settings:
    """The settings of the one cell that is asked for."""
    [found] = plan.cells(
        Request(
            suite=str(folder / "tiny.toml"),
            methods=["linear"],
            backbones=[str(folder / "small.toml")],
            tasks=["light"],
            changes={"epochs": 1, "warmup_epochs": 0, "precision": "fp32", **changes},
            root=folder / "data",
        )
    )
    return found.settings


def turned(path: Path) -> None:
    with Image.open(path) as image:
        image.transpose(Image.Transpose.ROTATE_180).save(path)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_other_images_in_any_split_are_another_cell(folder, split):
    before = cell(folder)
    for path in (folder / "data" / "light" / "images" / split).iterdir():
        turned(path)
    assert cell(folder).split != before.split


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_another_label_of_any_split_is_another_cell(folder, split):
    before = cell(folder)
    path = folder / "data" / "light" / f"{split}.txt"
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([first[:-1] + "1", *rest]) + "\n")
    assert cell(folder).split != before.split


@pytest.mark.parametrize(
    "change",
    [
        *({"lr": 0.1}, {"weight_decay": 0.1}, {"head_weight_decay": 0.1}, {"batch": 8}),
        *({"epochs": 2}, {"min_lr": 0.001}, {"optimiser": "sgd"}, {"lr_per_batch": 64}),
        *({"normalisation": "imagenet"}, {"head_init": "vpt2022"}, {"pooled_norm": "fresh"}),
        *({"train_share": 0.5}, {"precision": "bf16"}, {"test_evaluations": 7}),
        {"views.default.train": "random_crop_flip"},
        {"views.default.test": "squash256_crop"},
        {"views.default.interpolation": "bilinear"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_changes_the_training_changes_the_name(folder, change):
    assert cell(folder, **change).digest() != cell(folder).digest()


@pytest.mark.parametrize(
    "change", [{"pooling": "avg"}, {"mean": [0.1] * 3}, {"std": [0.1] * 3}], ids=str
)
def test_another_input_of_the_backbone_is_another_cell(folder, change):
    before = cell(folder)
    tiny.backbone_card(folder / "small.toml", **change)
    assert cell(folder).input != before.input
