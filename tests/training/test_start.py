"""The start of training: a head fitted to the frozen backbone's features."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from bench.cli import main
from bench.execution import plan
from bench.execution.request import Request
from bench.training import runner, start
from methods.shared.structure import heads_of
from support import tiny

pytestmark = pytest.mark.usefixtures("no_figures")

PROBE = ("--set", "head_init=linear_probe")


def a_cell(cards, method="linear", **changes):
    plain = {"epochs": 1, "warmup_epochs": 0, "precision": "fp32", "head_init": "linear_probe"}
    request = Request(
        suite=str(cards / "tiny.toml"),
        methods=[method],
        tasks=["light"],
        changes={**plain, **changes},
        root=cards / "data",
    )
    return plan.plan_cells(request)[0]


def head_at_start(cell):
    """Weight and bias of the head before the first epoch."""
    found = []

    def note(state):
        if state.epoch == 0:
            [head] = heads_of(state.model)
            found.extend([head.weight.detach().clone(), head.bias.detach().clone()])

    runner.train(cell, torch.device("cpu"), lambda *_: None, callback=note)
    return found


def made_up(classes, count=60, width=5):
    """Features with other means and deviations in each channel, and labels that they tell."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % classes
    noise = torch.randn(count, width, generator=draw, dtype=torch.float64)
    centres = torch.randn(classes, width, generator=draw, dtype=torch.float64)
    return (noise + centres[labels]) * torch.arange(1, width + 1) + 7, labels


@pytest.mark.parametrize("classes", [3, 4])
def test_the_fit_is_the_logistic_regression_of_scikit_learn(classes):
    features, labels = made_up(classes)
    weight, bias = start.fit_linear(features, labels, classes)
    scale = StandardScaler().fit(features)
    strength = 1 / (start.PROBE_DECAY * len(labels))
    known = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000)
    known.fit(scale.transform(features), labels)
    expected = known.predict_proba(scale.transform(features))
    found = (features @ weight.T + bias).softmax(1)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_a_channel_that_never_varies_and_a_class_without_images_break_nothing():
    features, labels = made_up(2)
    features[:, 0] = 3.0
    weight, bias = start.fit_linear(features, labels, 3)
    assert weight.isfinite().all()
    assert bias.isfinite().all()
    assert 2 not in (features @ weight.T + bias).argmax(1)


def test_training_starts_from_a_head_that_is_fitted_to_the_training_images(cards):
    cell = a_cell(cards)
    weight, bias = head_at_start(cell)
    model = runner.backbones.load(cell.backbone, 2, cell.recipe)
    examples = runner.load_training_examples(cell, "trainval")
    loader = runner.make_loader(cell, examples, cell.views.test, torch.device("cpu"))
    [features] = start.head_inputs(model, loader, "fp32")
    expected = start.fit_linear(features, examples.labels, 2)
    assert len(features) == 40
    torch.testing.assert_close(weight.double(), expected[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(bias.double(), expected[1], rtol=0, atol=1e-4)


def test_the_fit_knows_nothing_of_the_seed(cards):
    one, other = (head_at_start(a_cell_of_seed(cards, seed)) for seed in (0, 1))
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])


def a_cell_of_seed(cards, seed):
    cell = a_cell(cards)
    return replace(cell, settings=replace(cell.settings, seed=seed))


def test_the_fit_draws_nothing_and_leaves_no_hook(cards):
    cell = a_cell(cards)
    model = runner.backbones.load(cell.backbone, 2, cell.recipe).train()
    loader = runner.make_loader(
        cell, runner.load_training_examples(cell, "trainval"), "squash", torch.device("cpu")
    )
    before = torch.get_rng_state()
    start.fit_heads(model, loader, "fp32")
    assert torch.equal(torch.get_rng_state(), before)
    assert not model.head._forward_pre_hooks
    assert model.training
    assert model.head.weight.requires_grad
    assert model.head.weight.grad is None


@pytest.mark.parametrize(("method", "images"), [("linear", 40), ("spt_deep", 40 + 32)])
def test_the_images_of_the_fit_are_those_of_the_initialisation(cards, tmp_path, method, images):
    assert main.main(tiny.command("run", cards, tmp_path, method, *PROBE)) == 0
    [path] = (tmp_path / "records").rglob("*.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["outcome"]["init_images"] == images
    assert record["settings"]["recipe"]["head_init"] == "linear_probe"


def test_with_the_images_of_another_task_for_prompts_the_head_keeps_its_own(cards):
    cell = a_cell(cards, "spt_deep", prompts_from="dark")
    assert cell.prompt_task
    assert cell.prompt_task.name == "dark"
    own, others = head_at_start(cell), head_at_start(a_cell(cards, "spt_deep"))
    assert torch.equal(own[0], others[0])


def test_another_start_of_the_head_draws_and_reads_as_before(cards, tmp_path):
    assert main.main(tiny.command("run", cards, tmp_path, "linear")) == 0
    [path] = (tmp_path / "records").rglob("*.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["outcome"]["init_images"] == 0
    assert record["settings"]["recipe"]["head_init"] == "trunc_normal"
