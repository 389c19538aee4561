"""Runs: the images that a model gets, the numbers of a record, and many cells in one process."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.cli import main
from bench.records.predictions import read_predictions
from bench.training import runner
from bench.training.callbacks import TrainingMonitor
from methods.shared import registry
from support import paths, tiny
from support.recording_probe import Notes, Noting, as_listed, places

ROOT = paths.REPO_ROOT
ROOM = 60  # MiB in 40 cells; 10 left behind by each would be 400
RISES = 4  # of the most held so far, in 40 cells; what one method of five leaves would be 8
MANY = """
import sys
from pathlib import Path

import torch

from bench.execution import plan
from bench.execution.request import Request
from bench.records.store import Store
from bench.training import runner

torch.set_num_threads(1)
folder, methods = Path(sys.argv[1]), sys.argv[2].split(",")
words = dict(word.split("=") for word in sys.argv[3:])
changes = {name: int(value) if value.isdecimal() else value for name, value in words.items()}


def cells(names, seeds):
    request = Request(
        suite=str(folder / "tiny.toml"), methods=names, backbones=[], tasks=["light"],
        seeds=seeds, recipe=None, changes=changes, root=folder / "data", variant=None, device="cpu",
    )
    return plan.make_plan(request, Store(folder / "results")).cells


def resident():
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024


first = cells(methods[:1], [0])
some = [cell for seed in range(1, 11) for cell in cells(methods, [seed])]  # each method in turn
for number, cell in enumerate((first + some)[:50] + first, start=1):
    record = runner.run(cell, Store(folder / "results"), torch.device("cpu"), lambda *_: None)
    assert record.outcome, record.failure
    o = record.outcome
    print(number, resident(), o.losses, o.test_accuracies, o.predictions, sep=";", flush=True)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Of each of 51 cells the resident memory after it, and what it measured."""
    if not Path("/proc/self/status").exists():
        pytest.skip("resident memory is read where Linux tells it")
    folder = tiny.write_all(tmp_path_factory.mktemp("cards"))
    words = [sys.executable, "-c", MANY, str(folder), "linear,vpt_deep,mlp3,partial1,sidetune"]
    changes = ["epochs=2", "warmup_epochs=0", "test_evaluations=2", "precision=fp32"]
    done = subprocess.run([*words, *changes], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line.split(";") for line in done.stdout.splitlines()]


@pytest.mark.long
def test_memory_after_fifty_cells_is_what_it_was_after_ten(told: list[list[str]]) -> None:
    resident = [int(line[1]) for line in told]
    assert len(resident) == 51
    most = list(accumulate(resident[10:], max, initial=max(resident[:10])))
    rises = sum(late > early for early, late in pairwise(most))
    assert rises <= RISES, json.dumps(resident)  # the heap may grow in a step, not with each cell
    assert most[-1] - most[0] <= ROOM, json.dumps(resident)


@pytest.mark.long
def test_a_cell_gives_the_same_first_and_last(told: list[list[str]]) -> None:
    assert told[0][2:] == told[50][2:]


pytestmark = pytest.mark.usefixtures("no_figures")

THREE = ("--set", "epochs=3", "--set", "test_evaluations=3")


@pytest.fixture
def run(cards, tmp_path):
    """Run a method into `tmp_path`; its record."""

    def act(method: str, *more: str) -> dict:
        assert main.main(tiny.command("run", cards, tmp_path, method, *more)) == 0
        [path] = (tmp_path / "records").rglob(f"{method}-*.json")
        return json.loads(path.read_text(encoding="utf-8"))

    return act


@pytest.fixture
def scoring(monkeypatch):
    """Let the epochs score so many of the 16 test images, the first of them, as class 0."""

    def as_given(*counts: int) -> None:
        given = iter(counts)

        def predict(model, batches, precision, predict=runner.trainer.evaluate):
            found, count = predict(model, batches, precision), next(given)
            classes = torch.where(torch.arange(16) < count, found.labels, 1 - found.labels)
            return replace(found, classes=classes, accuracy=100 * count / 16)

        monkeypatch.setattr(runner.trainer, "evaluate", predict)

    return as_given


def kept(results: Path, record: dict):
    found = read_predictions(results / "predictions" / f"{record['cell']}.npz")
    assert found is not None
    return found


def test_the_predictions_kept_are_those_of_the_last_epoch(run, scoring, tmp_path):
    scoring(4, 12, 8)
    record = run("linear", *THREE)
    found = kept(tmp_path, record)
    assert np.flatnonzero(found.correct()).tolist() == list(range(8))
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
    right = kept(tmp_path, record).correct()
    assert record["outcome"]["accuracy"] == pytest.approx(100 * right.mean())


@pytest.mark.parametrize("method", ["linear", "lora"])  # on features, and on images
def test_a_run_computes_in_the_precision_that_its_record_says(run, method, monkeypatch):
    asked = set()

    def autocast(device, precision, autocast=runner.trainer.autocast):
        asked.add(precision)
        return autocast(device, precision)

    for module in ("trainer", "feature_cache"):
        monkeypatch.setattr(f"bench.training.{module}.autocast", autocast)
    record = run(method, "--set", "precision=bf16", "--set", "epochs=2")
    assert record["settings"]["recipe"]["precision"] == "bf16"
    assert asked == {"bf16"}


def test_the_times_of_start_and_of_scoring_are_told_apart(run, monkeypatch):
    """A clock by which a `prepare` takes 100 seconds, a pass over test 10, and an epoch 1."""
    now = [0.0]
    for part in ("runner", "start"):
        monkeypatch.setattr(f"bench.training.{part}.perf_counter", lambda: now[0])
    monkeypatch.setattr(TrainingMonitor, "train_seconds", lambda _: 3.0)

    def taking(seconds, act):
        def slow(*given, **named):
            now[0] += seconds
            return act(*given, **named)

        return slow

    monkeypatch.setattr("methods.linear.Linear.attach", taking(100.0, lambda self, model: None))
    for name, seconds in (("evaluate", 10.0), ("mean_loss", 1.0)):
        slow = taking(seconds, getattr(runner.trainer, name))
        monkeypatch.setattr(f"bench.training.trainer.{name}", slow)
    outcome = run("linear", *THREE)["outcome"]
    assert (outcome["init_seconds"], outcome["test_seconds"]) == (100.0, 30.0)


def test_the_time_of_training_is_without_that_of_scoring_and_observing(monkeypatch):
    monkeypatch.setattr("bench.training.callbacks.perf_counter", lambda: 100.0)
    monitor = TrainingMonitor(test_seconds=7.0, callback_seconds=20.0, start_time=10.0)
    assert monitor.train_seconds() == 63.0


pytestmark = pytest.mark.usefixtures("no_figures")

RANDOM = "random_resized_crop_flip"


@pytest.fixture
def noted(cards, tmp_path, monkeypatch):
    """Run a linear probe on the task `light` and give what it was shown."""
    monkeypatch.setitem(registry._methods, "noting", Noting())

    def act(*more: str) -> Notes:
        monkeypatch.setattr(Noting, "notes", Notes())
        words = tiny.command("run", cards, tmp_path / "results", "noting", "--force", *more)
        assert main.main([*words, "--set", "batch=16"]) == 0
        return Noting.notes

    return act


@pytest.fixture
def train_images(cards):
    """The training images and their labels: train, then val."""
    return as_listed(cards / "data" / "light", "train.txt", "val.txt")


@pytest.fixture
def eval_images(cards):
    """The test images and their labels."""
    return as_listed(cards / "data" / "light", "test.txt")


def test_a_model_learns_in_training_mode_and_is_scored_in_evaluation_mode(noted):
    found = noted("--set", "epochs=2", "--set", "test_evaluations=2")
    modes = [(one.training, one.gradients) for one in found.passes]
    assert modes == 2 * [*[(True, True)] * 3, (False, False)]  # 40 images, then 16 of test


def views(train: str, test: str) -> tuple[str, ...]:
    return "--set", f"views.default.train={train}", "--set", f"views.default.test={test}"


def test_only_training_images_get_the_training_transform(noted, train_images, eval_images):
    found = noted(*views(RANDOM, "squash"))
    assert set(places(found.images(training=True), train_images[0])) == {-1}
    assert places(found.images(training=False), eval_images[0]) == list(range(16))
    shown = torch.cat([images for images, _ in found.prepared])
    assert sorted(places(shown, train_images[0])) == list(range(40))


def test_prepare_and_test_use_the_test_transform(noted, train_images, eval_images):
    found = noted(*views("squash", "squash256_crop"))
    assert sorted(places(found.images(training=True), train_images[0])) == list(range(40))
    assert set(places(found.images(training=False), eval_images[0])) == {-1}
    shown = torch.cat([images for images, _ in found.prepared])
    assert set(places(shown, train_images[0])) == {-1}


def test_images_come_with_their_own_labels(noted, train_images):
    for images, labels in noted().prepared:
        assert labels.tolist() == train_images[1][places(images, train_images[0])].tolist()


def test_each_epoch_shows_every_image_once_in_an_order_of_its_own(noted, train_images):
    order = places(noted("--set", "epochs=3").images(training=True), train_images[0])
    epochs = [order[start : start + 40] for start in (0, 40, 80)]
    assert [sorted(epoch) for epoch in epochs] == 3 * [list(range(40))]
    assert len({tuple(epoch) for epoch in [*epochs, list(range(40))]}) == 4


def orders(found: Notes, train_images) -> tuple[list[int], list[int]]:
    """The order of the images in the first epoch, and in `prepare`."""
    shown = torch.cat([images for images, _ in found.prepared])
    return places(found.images(training=True), train_images[0]), places(shown, train_images[0])


def test_another_seed_has_another_head_and_other_orders(noted, train_images):
    first, second = noted("--seeds", "0"), noted("--seeds", "1")
    assert not torch.equal(first.heads[0], second.heads[0])
    for one, other in zip(orders(first, train_images), orders(second, train_images), strict=True):
        assert one != other


def test_a_seed_fixes_the_head_and_both_orders(noted, train_images):
    torch.manual_seed(1)
    first = noted("--seeds", "3")
    torch.manual_seed(2)
    second = noted("--seeds", "3")
    assert torch.equal(first.heads[0], second.heads[0])
    assert orders(first, train_images) == orders(second, train_images)


def test_the_order_of_learning_is_not_that_of_prepare(noted, train_images):
    learning, preparing = orders(noted(), train_images)
    assert learning != preparing


def test_a_share_of_the_training_images_is_drawn_by_the_seed_class_by_class(noted, train_images):
    found = []
    for seed in ("0", "1"):
        notes = noted("--seeds", seed, "--set", "train_share=0.5")
        found.append(set(places(notes.images(training=True), train_images[0])))
        assert sorted(train_images[1][list(found[-1])].tolist()) == [0] * 10 + [1] * 10
    assert found[0] != found[1]


def test_the_suites_own_views_are_taken_before_the_default_ones(noted, eval_images):
    own = f'views={{ tiny = {{ train = "squash", test = "squash256_crop", {BICUBIC} }}, '
    both = own + f'default = {{ train = "squash", test = "squash", {BICUBIC} }} }}'
    found = noted("--set", both)
    assert set(places(found.images(training=False), eval_images[0])) == {-1}


BICUBIC = 'interpolation = "bicubic"'


@pytest.mark.sample(1)
@pytest.mark.parametrize("split", ["train", "test"])
def test_images_are_resized_as_the_recipe_s_interpolation_says(noted, split):
    geometry = views("squash256_random_crop_flip", "squash256_crop")
    found = [
        noted(*geometry, "--set", f"views.default.interpolation={how}").images(split == "train")
        for how in ("bicubic", "bilinear", "tf1_bilinear")
    ]
    for one, other in pairwise(found):
        assert (one - other).abs().mean() > 0.01


def test_a_card_s_own_mean_deviation_and_size_are_what_the_model_sees(
    noted, tmp_path, train_images
):
    mean, std = [0.1, 0.2, 0.3], [0.4, 0.5, 0.8]
    card = tiny.backbone_card(tmp_path / "own.toml", mean=mean, std=std)
    wide = {**tiny.ARCHITECTURE, "img_size": 64}
    large = tiny.backbone_card(tmp_path / "large.toml", input_size=64, architecture=wide)
    found = noted("--backbones", str(card)).images(training=True)
    by_hand = (train_images[0] * 0.5 + 0.5 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(
        std
    ).view(3, 1, 1)
    assert sorted(places(found, by_hand)) == list(range(40))
    torch.testing.assert_close(found, by_hand[places(found, by_hand)])
    assert noted("--backbones", str(large)).images(training=True).shape[1:] == (3, 64, 64)
