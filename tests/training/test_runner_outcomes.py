"""Outcomes of runs: accuracies by epoch, diverged training, and notes on memory and data."""

import json
from dataclasses import dataclass, replace

import pytest
from timm.models import VisionTransformer

from bench.config.recipe import load_recipe
from bench.training import runner
from methods import Method
from methods.shared import memory, patch_tokens
from support.run_records import (
    by_method,
    register,
)

pytestmark = pytest.mark.usefixtures("no_figures")


@dataclass(frozen=True)
class NotANumber(Method):
    """Scores that are no numbers."""

    def attach(self, model: VisionTransformer) -> None:
        model.head.bias.data.mul_(float("nan"))


def test_accuracy_is_the_last_epoch_s_and_the_best_one_is_kept_apart(run, tmp_path, monkeypatch):
    given = iter([80.0, 60.0, 70.0])

    def predict(model, batches, precision, predict=runner.trainer.evaluate):
        return replace(predict(model, batches, precision), accuracy=next(given))

    monkeypatch.setattr(runner.trainer, "evaluate", predict)
    assert run("linear", "--set", "epochs=3", "--set", "test_evaluations=3") == 0
    outcome = by_method(tmp_path / "results")["linear"]["outcome"]
    assert outcome["accuracy"] == 70
    assert (outcome["best_epoch_accuracy"], outcome["best_epoch"]) == (80, 1)
    assert outcome["test_accuracies"] == {"1": 80, "2": 60, "3": 70}


def test_a_method_whose_scores_are_no_numbers_fails_with_the_step(run, tmp_path, monkeypatch):
    register(monkeypatch, "not_a_number", NotANumber())
    assert run("not_a_number") == 1
    failure = by_method(tmp_path / "results")["not_a_number"]["failure"]
    assert (failure["error"], failure["message"]) == ("Diverged", "the loss was nan at step 1")


def test_a_cell_whose_numbers_no_record_could_hold_has_failed(run, tmp_path, monkeypatch):
    monkeypatch.setattr(runner.devices, "peak_memory_mb", lambda _: -1.0)
    assert run("linear") == 1
    failure = by_method(tmp_path / "results")["linear"]["failure"]
    assert failure["message"] == "peak_memory_mb should be greater than or equal to 0, not -1.0"


def test_a_rate_without_measure_fails_with_the_step(run, tmp_path):
    assert run("full", "--set", "lr=1e18") == 1
    failure = by_method(tmp_path / "results")["full"]["failure"]
    assert failure["error"] == "Diverged"
    assert failure["message"].endswith("at step 2")


def test_scores_that_the_last_step_made_infinite_are_a_failure_not_class_0(run, tmp_path):
    """One step: its loss, computed before it, is finite."""
    assert run("full", "--set", "lr=1e18", "--set", "batch=64") == 1
    record = by_method(tmp_path / "results")["full"]
    assert record["outcome"] is None
    assert record["failure"]["error"] == "Diverged"
    assert record["failure"]["message"] == "16 of 16 images have scores that are not finite"


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("method", "looked_at"),
    [
        ("spt_deep", 32),
        ("spt_deep_kmeans", 40),
        ("vpt_deep", 0),
        ("gps", 40),
        ("sensitivity_lora", 40),
    ],
)
def test_init_images_are_those_that_prepare_read(run, tmp_path, method, looked_at):
    assert run(method, "--set", "batch=32") == 0
    assert by_method(tmp_path / "results")[method]["outcome"]["init_images"] == looked_at


@pytest.mark.parametrize(
    ("epochs", "count", "wanted"),
    [(10, 2, {5, 10}), (10, 1, {10}), (3, 10, {1, 2, 3}), (100, 3, {33, 67, 100}), (2, 2, {1, 2})],
)
def test_test_is_scored_at_even_steps_up_to_the_last_epoch(epochs, count, wanted):
    recipe = replace(load_recipe("unified"), epochs=epochs, test_evaluations=count, warmup_epochs=0)
    assert runner.evaluation_epochs(recipe) == wanted


def test_a_record_holds_the_accuracy_of_each_evaluated_epoch(run, tmp_path):
    run("linear", "--set", "epochs=4", "--set", "test_evaluations=2")
    outcome = by_method(tmp_path / "results")["linear"]["outcome"]
    assert set(outcome["test_accuracies"]) == {"2", "4"}
    assert outcome["accuracy"] == outcome["test_accuracies"]["4"]
    assert outcome["best_epoch_accuracy"] == max(outcome["test_accuracies"].values())
    assert len(outcome["losses"]) == 4


def test_a_record_says_what_each_split_was_read_as_and_its_name_does_not(run, tmp_path):
    run("linear,lora", "--set", "epochs=3")
    found = by_method(tmp_path / "results")
    assert (
        found["linear"]["environment"]["read_in_training"] == "features: computed once, below head"
    )
    assert found["linear"]["environment"]["read_in_testing"] == "images: read once"
    assert found["lora"]["environment"]["read_in_training"] == "images: no block is fixed"
    settings = json.dumps([record["settings"] for record in found.values()])
    assert "read_in" not in settings


def test_a_record_says_what_did_not_fit_into_memory(run, tmp_path, monkeypatch):
    monkeypatch.setattr(patch_tokens, "free_memory", lambda device: 0)
    with pytest.warns(memory.SpillWarning):
        assert run("spt_deep,spt_deep_mean") == 0
    found = by_method(tmp_path / "results")
    for record in found.values():  # of both cells of the process
        assert "they lie in a file" in record["environment"]["spilled"]


def test_a_method_s_footnote_goes_into_its_record_and_below_its_table(run, tmp_path):
    assert run("adapter_vpt2022") == 0
    (record,) = tmp_path.rglob("adapter_vpt2022-seed0-*.json")
    assert "9,216 of 230,544" in json.loads(record.read_text(encoding="utf-8"))["remark"]
    assert "9,216 of 230,544" in (tmp_path / "results" / "leaderboard.md").read_text(
        encoding="utf-8"
    )
