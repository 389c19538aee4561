"""A model trained from Python: that of the cell that `run` would train."""

from pathlib import Path
from typing import Any

import pytest
import torch

import bench
from bench.utils.errors import UserError
from support import tiny

QUICK = {"epochs": 1, "warmup_epochs": 0, "test_evaluations": 1, "precision": "fp32"}


def fit(cards: Path, method: str = "lora", **changes: Any) -> bench.FittedModel:
    suite, backbone = str(cards / "tiny.toml"), str(cards / "small.toml")
    places = {"suite": suite, "data_root": cards / "data", "device": "cpu"}
    return bench.fit(method, backbone, "light", **places, **QUICK, **changes)


def test_it_is_the_model_of_the_cell_that_a_run_trains(
    cards: Path, tmp_path: Path, no_figures: None
) -> None:
    fitted = fit(cards, rank=3)
    words = {"suite": str(cards / "tiny.toml"), "root": cards / "data", "tasks": ["light"]}
    request = bench.Request(
        **words,
        methods=["lora"],
        backbones=[str(cards / "small.toml")],
        changes=QUICK | {"rank": 3},
    )
    bench.run(request, results=tmp_path, options=bench.RunOptions(workers=0))
    [record] = bench.load_records(tmp_path)
    assert record.cell == fitted.cell
    assert record.outcome
    assert record.outcome.accuracy == fitted.accuracy
    assert record.outcome.losses == fitted.losses


def test_the_model_scores_images(cards: Path) -> None:
    model = fit(cards).model
    assert not model.training
    with torch.no_grad():
        assert model(torch.zeros(2, 3, tiny.SIDE, tiny.SIDE)).shape == (2, 2)


def test_a_name_that_is_not_known_names_those_that_are_near(cards: Path) -> None:
    with pytest.raises(UserError, match="did you mean lora"):
        fit(cards, "lorra")
