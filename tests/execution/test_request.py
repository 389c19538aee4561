"""Requests: fields, rates and recipes, and a record's own request, repeated."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.cli import main
from bench.execution import export, jobs, plan
from bench.execution.request import Request, request_from_json
from bench.records.predictions import Predictions
from bench.records.schema import Record
from bench.records.store import Store
from bench.report import record_diff
from bench.training import devices
from bench.training.cell import Cell
from bench.utils import environment
from bench.utils.errors import UserError
from bench.utils.files import write_atomically
from support import tiny

pytestmark = pytest.mark.usefixtures("no_figures")

CPU = torch.device("cpu")


def request(cards: Path, method: str = "lora", **changes: Any) -> Request:
    return Request(
        suite=str(cards / "tiny.toml"),
        methods=[method],
        backbones=[str(cards / "small.toml")],
        tasks=["light"],
        seeds=[0],
        changes={"epochs": 1, "warmup_epochs": 0, "precision": "fp32", **changes},
        root=cards / "data",
    )


def cell(asked: Request) -> Cell:
    [found] = plan.plan_cells(asked)
    return found


# Fields and rates


def test_the_command_line_changes_a_field_of_a_method(cards):
    assert cell(request(cards)).method.rank == 8
    assert cell(request(cards, rank=3)).method.rank == 3
    assert cell(request(cards, rank=3)).settings.fields["rank"] == 3


def test_the_recipe_changes_a_field_and_the_command_line_wins(cards):
    asked = {"fields": {"lora": {"rank": 5}}}
    assert cell(request(cards, **asked)).method.rank == 5
    assert cell(request(cards, **asked, rank=3)).method.rank == 3


def test_a_whole_number_for_a_fraction_is_the_same_cell(cards):
    whole, fraction = (cell(request(cards, alpha=value)) for value in (4, 4.0))
    assert whole.settings.digest() == fraction.settings.digest()


def test_a_rate_from_the_command_line_holds_for_methods_with_a_rate_of_their_own(cards):
    assert cell(request(cards, "linear")).settings.rates["lr"] == 0.02  # the recipe's for linear
    assert cell(request(cards, "linear", lr=0.3)).settings.rates["lr"] == 0.3


def test_the_suite_s_own_recipe_is_taken_unless_another_is_named(cards):
    assert cell(request(cards)).settings.recipe["name"] == "quick"
    other = cell(replace(request(cards), recipe="spt2024"))
    assert other.settings.recipe["name"] == "spt2024"


def test_a_backbone_that_has_two_names_makes_one_cell(cards, monkeypatch):
    monkeypatch.chdir(cards)
    both = ["small.toml", str(cards / "small.toml")]
    assert len(plan.plan_cells(replace(request(cards), backbones=both))) == 1


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_bf16_where_the_processor_has_it(monkeypatch, native):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    assert devices.resolve_precision("auto", CPU) == ("bf16" if native else "fp32")
    assert devices.resolve_precision("fp32", CPU) == "fp32"


# Again


@pytest.mark.parametrize("recipe", [None, "spt2024"])
def test_a_cell_asked_for_by_its_record_s_names_is_the_same(cards, recipe):
    first = cell(replace(request(cards, rank=3, batch=8), recipe=recipe))
    again = request_from_json(json.loads(json.dumps(first.request)), cards / "data", "cpu")
    assert cell(again).settings == first.settings


def test_a_worker_s_cell_is_the_one_that_was_asked_for_or_none(cards):
    job = jobs.job_for(cell(request(cards)), "cpu")
    assert jobs.resolve_cell(jobs.parse_job(job.to_json())).settings.digest() == job.cell
    with pytest.raises(UserError, match="differ from those of the machine that asked"):
        jobs.resolve_cell(replace(job, cell="0" * 16))


def test_code_of_another_commit_does_not_run_a_job(cards, monkeypatch):
    job = jobs.job_for(cell(request(cards)), "cpu")
    monkeypatch.setattr(environment, "git_commit", lambda: {"commit": "a" * 40})
    jobs.resolve_cell(replace(job, commit="a" * 40))
    with pytest.raises(UserError, match="bring both to the same"):
        jobs.resolve_cell(replace(job, commit="b" * 40))


# Exports


@pytest.fixture
def recorded(cards, tmp_path) -> Record:
    """Of a cell whose view of training is not that of test."""
    more = ("--set", "views.default.train=random_resized_crop_flip", "--set", "epochs=3")
    assert main.main(tiny.command("run", cards, tmp_path, "bias", *more)) == 0
    [(_, record)] = Store(tmp_path).read_all()
    assert isinstance(record, Record)
    return record


def test_an_export_is_scored_with_the_test_transform(cards, tmp_path, recorded, monkeypatch):
    seen = []
    predict = export.trainer.evaluate

    def noted(model, batches, precision):
        seen.append(getattr(batches, "batches", batches).transform.geometry)
        return predict(model, batches, precision)

    again = export.cell_of_record(recorded, cards / "data", "cpu")
    monkeypatch.setattr(export.trainer, "evaluate", noted)
    found = export.export_trained(again, tmp_path / "small.safetensors", CPU, lambda *_: None)
    assert set(seen) == {"squash"}
    assert found.accuracy == pytest.approx(recorded.outcome.accuracy)


def test_a_record_that_this_checkout_would_run_otherwise_is_not_exported(cards, tmp_path, recorded):
    other = replace(recorded, cell="0" * 16)
    with pytest.raises(UserError, match="this checkout runs cell 0000"):
        export.cell_of_record(other, cards / "data", "cpu")


def test_what_an_export_holds_is_what_it_is_scored_by(cards, tmp_path, recorded):
    again = export.cell_of_record(recorded, cards / "data", "cpu")
    path = tmp_path / "small.safetensors"
    export.export_trained(again, path, CPU, lambda *_: None)
    tensors = load_file(path)
    sure = torch.tensor([100.0, -100.0])
    save_file({**tensors, "head.weight": 0 * tensors["head.weight"], "head.bias": sure}, path)
    scores = export.load_trained(again, path)(torch.zeros(1, 3, 32, 32))
    assert scores.tolist() == [sure.tolist()]


# Cells side by side


def test_cells_of_other_images_are_not_compared_image_by_image(tmp_path, recorded):
    store = Store(tmp_path)
    other = replace(recorded, settings=replace(recorded.settings, split="other-split"))
    kept = Predictions(np.zeros(16, np.int16), np.zeros(16, np.int16))
    write_atomically(store.predictions_path(other.settings), kept.to_bytes())
    assert record_diff.mcnemar_sentence(recorded, other, store) == ""
    assert record_diff.mcnemar_sentence(recorded, recorded, store).startswith(
        "McNemar on 16 test images"
    )
