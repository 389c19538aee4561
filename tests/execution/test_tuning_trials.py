"""Trials: the rates, epochs and seed that each is trained with."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.cli import main
from bench.config import search_space
from bench.config.overrides import override_recipe
from bench.config.recipe import load_recipe
from bench.execution import tuning
from support import tiny
from support.made_up_records import make

pytestmark = pytest.mark.usefixtures("no_figures")

POINT = {"lr": 0.25, "weight_decay": 0.125, "prompts": 7}
TWO = ("--set", "grid={ lr = [1e-3, 1e-2] }")


@pytest.mark.parametrize(
    ("epochs", "warmup"), [(100, 10), (50, 5), (25, 2), (9, 0)], ids=lambda n: str(n)
)
def test_a_short_trial_warms_up_for_the_same_share(epochs, warmup):
    found = search_space.recipe_at_point(load_recipe("unified"), POINT, epochs)
    assert (found.epochs, found.warmup_epochs) == (epochs, warmup)


def test_a_trial_has_the_rates_of_its_point_whatever_the_recipe_has_for_its_method():
    recipe = override_recipe(load_recipe("unified"), {"lr_of": {"vpt_deep": 3.0}})
    found = search_space.recipe_at_point(recipe, POINT, 100)
    assert found.rates("vpt_deep") == {"lr": 0.25, "weight_decay": 0.125}


def settings(folder: Path) -> list[dict]:
    paths = (folder / "records").rglob("*.json")
    return [json.loads(path.read_text(encoding="utf-8"))["settings"] for path in paths]


@pytest.mark.parametrize(("more", "seed"), [((), 0), (("--set", "tuning.seed=5"), 5)])
def test_trials_have_the_seed_of_the_tuning_and_finals_those_of_the_request(
    cards, tmp_path, more, seed
):
    words = tiny.command("run", cards, tmp_path, "linear", "--tune", "--seeds", "3,4", *TWO, *more)
    assert main.main(words) == 0
    assert [one["seed"] for one in settings(tmp_path / "trials")] == [seed, seed]
    assert sorted(one["seed"] for one in settings(tmp_path)) == [3, 4]


def test_a_trial_keeps_the_recipe_except_for_its_rates(cards, tmp_path):
    more = ("--set", "batch=8", "--set", "normalisation=imagenet")
    words = tiny.command("run", cards, tmp_path, "linear", "--tune", *TWO, *more)
    assert main.main(words) == 0
    for one in [*settings(tmp_path / "trials"), *settings(tmp_path)]:
        assert (one["recipe"]["batch"], one["recipe"]["normalisation"]) == (8, "imagenet")


def test_a_search_over_a_larger_grid_finds_the_trials_that_were_made(cards, tmp_path):
    words = tiny.command("run", cards, tmp_path, "linear", "--tune")
    assert main.main([*words, *TWO]) == 0
    made = {p: p.stat().st_mtime_ns for p in (tmp_path / "trials" / "records").rglob("*.json")}
    assert main.main([*words, "--set", "grid={ lr = [1e-3, 1e-2, 1e-1] }"]) == 0
    now = {p: p.stat().st_mtime_ns for p in (tmp_path / "trials" / "records").rglob("*.json")}
    assert (len(made), len(now)) == (2, 3)
    assert made.items() <= now.items()


def tried(method: str, *found: tuple[float, float]) -> tuning.SearchState:
    """A search that is over, of points by their rate and accuracy."""
    trials = []
    for lr, accuracy in found:
        at = {"point": {"lr": lr, "weight_decay": 0.0}}
        record = make(method, "digits", 0, accuracy, rates={"lr": lr, "weight_decay": 0.0})
        settings, recipe = record.settings, SimpleNamespace(epochs=1)
        digest = settings.digest()
        cell = SimpleNamespace(settings=settings, request={"at": at}, recipe=recipe, digest=digest)
        trials.append((cell, record))
    return tuning.SearchState(trials, None)


def test_the_summary_names_the_best_point_in_the_mean_and_of_equal_ones_the_smaller_rate():
    looks = [tried("bias", (0.1, 50.0), (0.01, 70.0)), tried("bias", (0.1, 60.0), (0.01, 64.0))]
    assert tuning.summary_lines(looks) == ["bias: lr 0.01, weight_decay 0.0 (67.00 % in the mean)"]
    for order in ((0.1, 0.01), (0.01, 0.1)):
        [line] = tuning.summary_lines([tried("bias", *((lr, 60.0) for lr in order))])
        assert line == "bias: lr 0.01, weight_decay 0.0 (60.00 % in the mean)"
