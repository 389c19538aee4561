"""The numbers of a record: of which epoch they are, and what they count."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from bench import cli, runner
from bench.moments import Watch
from bench.predictions import read

pytestmark = pytest.mark.usefixtures("no_picture")

THREE = ("--set", "epochs=3", "--set", "test_evaluations=3")


@pytest.fixture
def run(cards, tmp_path):
    """Run a method into `tmp_path`; its record."""

    def act(method: str, *more: str) -> dict:
        assert cli.main(tiny.command("run", cards, tmp_path, method, *more)) == 0
        [path] = (tmp_path / "records").rglob(f"{method}-*.json")
        return json.loads(path.read_text())

    return act


@pytest.fixture
def scoring(monkeypatch):
    """Let the epochs score so many of the 16 test images, the first of them, as class 0."""

    def as_given(*counts: int) -> None:
        given = iter(counts)

        def predict(model, batches, precision, predict=runner.trainer.predict):
            found, count = predict(model, batches, precision), next(given)
            classes = torch.where(torch.arange(16) < count, found.labels, 1 - found.labels)
            return replace(found, classes=classes, accuracy=100 * count / 16)

        monkeypatch.setattr(runner.trainer, "predict", predict)

    return as_given


def kept(results: Path, record: dict):
    found = read(results / "predictions" / f"{record['cell']}.npz")
    assert found is not None
    return found


def test_the_predictions_kept_are_those_of_the_last_epoch(run, scoring, tmp_path):
    scoring(4, 12, 8)
    record = run("linear", *THREE)
    found = kept(tmp_path, record)
    assert np.flatnonzero(found.right()).tolist() == list(range(8))
    assert found.labels.tolist() == [0, 1] * 8
    assert record["outcome"]["predictions"] == found.sha256()
    assert record["outcome"]["accuracy"] == 50.0
    assert record["outcome"]["best_epoch_accuracy"] == 75.0


@pytest.mark.parametrize(
    ("counts", "best"), [((4, 12, 12), 2), ((12, 4, 12), 1), ((8, 8, 8), 1), ((4, 8, 12), 3)]
)
def test_of_equally_good_epochs_the_first_is_the_best(run, scoring, counts, best):
    scoring(*counts)
    outcome = run("linear", *THREE)["outcome"]
    assert outcome["best_epoch"] == best
    assert outcome["best_epoch_accuracy"] == 100 * max(counts) / 16


@pytest.mark.parametrize(
    ("method", "count"),
    [
        ("linear", 0),
        ("lora", 2 * 8 * (64 + 3 * 64)),  # of two blocks of width 64
        ("vpt_deep", 2 * 20 * 64),
        ("vpt_deep_frozen", 0),
        ("ln", 5 * 2 * 64),  # two norms a block, and the last
    ],
)
def test_method_params_are_what_learns_without_the_head(run, method, count):
    outcome = run(method)["outcome"]
    assert outcome["method_params"] == count
    assert outcome["head_params"] == 2 * 64 + 2


def test_test_images_are_those_that_were_scored(run, tmp_path):
    record = run("linear")
    assert record["outcome"]["test_images"] == 16
    assert len(kept(tmp_path, record).classes) == 16


def test_a_record_scores_what_its_predictions_do(run, tmp_path):
    record = run("bias", "--set", "epochs=5")
    right = kept(tmp_path, record).right()
    assert record["outcome"]["accuracy"] == pytest.approx(100 * right.mean())


@pytest.mark.parametrize("method", ["linear", "lora"])  # on features, and on images
def test_a_run_computes_in_the_precision_that_its_record_says(run, method, monkeypatch):
    asked = set()

    def autocast(device, precision, autocast=runner.trainer.autocast):
        asked.add(precision)
        return autocast(device, precision)

    for module in ("trainer", "features"):
        monkeypatch.setattr(f"bench.{module}.autocast", autocast)
    record = run(method, "--set", "precision=bf16", "--set", "epochs=2")
    assert record["settings"]["recipe"]["precision"] == "bf16"
    assert asked == {"bf16"}


def test_the_times_of_start_and_of_scoring_are_told_apart(run, monkeypatch):
    """A clock by which a `prepare` takes 100 seconds, a pass over test 10, and an epoch 1."""
    now = [0.0]
    monkeypatch.setattr("bench.runner.perf_counter", lambda: now[0])

    def taking(seconds, act):
        def slow(*given, **named):
            now[0] += seconds
            return act(*given, **named)

        return slow

    monkeypatch.setattr("methods.linear.Linear.attach", taking(100.0, lambda self, model: None))
    for name, seconds in (("predict", 10.0), ("_mean", 1.0)):
        slow = taking(seconds, getattr(runner.trainer, name))
        monkeypatch.setattr(f"bench.trainer.{name}", slow)
    outcome = run("linear", *THREE)["outcome"]
    assert (outcome["init_seconds"], outcome["test_seconds"]) == (100.0, 30.0)


def test_the_time_of_training_is_without_that_of_scoring_and_observing(monkeypatch):
    monkeypatch.setattr("bench.moments.perf_counter", lambda: 100.0)
    watch = Watch(seconds=7.0, observing=20.0, began=10.0)
    assert watch.trained() == 63.0
