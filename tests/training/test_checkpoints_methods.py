"""Every method goes on from a checkpoint, bit-equal to a run that was never interrupted."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import methods
from methods import Method
from methods.linear import Linear
from methods.peft_library import PeftLibrary
from support.resumed_cells import assert_equal, cell_of, resume, train_whole
from support.variants import one_of_each_kind


@pytest.fixture(scope="module")
def cell(cards):
    """A cell whose method is replaced: planning takes longer than training."""
    return cell_of(cards, "linear")


@pytest.mark.parametrize("name", one_of_each_kind(methods.names()))
def test_a_resumed_cell_equals_a_whole_one(name, cell, tmp_path):
    cell = replace(cell, method=methods.create(name))
    whole, kept = train_whole(cell, tmp_path)
    resumed, checkpoints = resume(cell, tmp_path, kept[1])
    assert (checkpoints.spent.resumed_after, checkpoints.problems) == ((1,), [])
    assert_equal(whole, resumed)


LONGER = {
    "classes_mapped_anew_after_each_epoch": methods.create("da_vpt", remap_from=1, prompts=2),
    "ranks_allocated_and_then_kept": PeftLibrary(
        "AdaLoraConfig",
        {"init_r": 4, "target_r": 2, "tinit": 1, "tfinal": 2, "total_step": 5, "deltaT": 1},
    ),
    "dropout": methods.create("lora", dropout=0.5),
}


@dataclass(frozen=True)
class Restless(Linear):
    """Draws from every generator after an epoch, and moves a frozen weight and a statistic."""

    def attach(self, model: Any) -> None:
        model.blocks[0].norm1 = Normalised(model.blocks[0].norm1)
        model.register_buffer("seen", torch.zeros(()), persistent=False)

    def after_epoch(self, model: Any, epoch: int) -> None:
        model.seen += epoch
        noise = torch.randn(()) + float(np.random.random())
        with torch.no_grad():
            model.blocks[0].mlp.fc1.bias.add_(0.01 * model.seen * noise.sin())


class Normalised(nn.Module):
    """A layer before a batch norm that learns."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer, self.norm = layer, nn.BatchNorm1d(layer.weight.shape[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.layer(x).transpose(1, 2)).transpose(1, 2)


@pytest.mark.sample(1)
@pytest.mark.parametrize("kind", [*LONGER, "all_that_can_move"])
def test_a_cell_resumed_after_any_epoch_equals_a_whole_one(kind, cards, tmp_path):
    cell = replace(cell_of(cards, "linear", 5), method=LONGER.get(kind, Restless()))
    np.random.seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # peft's, of a short schedule
        whole, kept = train_whole(cell, tmp_path)
        for epoch, checkpoint in kept.items():
            resumed, checkpoints = resume(cell, tmp_path, checkpoint)
            assert (checkpoints.spent.resumed_after, checkpoints.problems) == ((epoch,), [])
            assert_equal(whole, resumed)


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "changes",
    [
        {"views.default.train": "random_resized_crop_flip"},
        {"optimiser": "sgd"},
        {"test_evaluations": 1},
        {"head_init": "linear_probe"},
        {"precision": "bf16"},
    ],
    ids=str,
)
def test_under_any_recipe_a_resumed_cell_equals_a_whole_one(changes, cards, tmp_path):
    cell = cell_of(cards, "bias", 3, **changes)
    whole, kept = train_whole(cell, tmp_path)
    resumed, checkpoints = resume(cell, tmp_path, kept[2])
    assert (checkpoints.spent.resumed_after, checkpoints.problems) == ((2,), [])
    assert_equal(whole, resumed)


@dataclass(frozen=True)
class Counting(Linear):
    """Keeps a number of its own, which scales what it learns, where no tensor is."""

    def attach(self, model: Any) -> None:
        model.steps_taken = [0]

    def after_epoch(self, model: Any, epoch: int) -> None:
        model.steps_taken[0] += 3
        with torch.no_grad():
            model.head.weight.mul_(1 + 0.1 * model.steps_taken[0])

    def training_state(self, model: Any) -> dict[str, torch.Tensor]:
        return {"steps": torch.tensor(model.steps_taken)}

    def load_training_state(self, model: Any, state: dict[str, torch.Tensor]) -> None:
        model.steps_taken = state["steps"].tolist()


def test_a_method_s_own_state_goes_with_the_checkpoint(cards, tmp_path):
    cell = replace(cell_of(cards, "linear", 3), method=Counting())
    whole, kept = train_whole(cell, tmp_path)
    resumed, checkpoints = resume(cell, tmp_path, kept[1])
    assert checkpoints.spent.resumed_after == (1,)
    assert_equal(whole, resumed)


class Unprepared(AssertionError):
    """A resumed cell was initialised from data."""


def test_a_resumed_cell_is_not_initialised_again(cards, tmp_path, monkeypatch):
    cell = cell_of(cards, "spt_deep_kmeans")
    whole, kept = train_whole(cell, tmp_path)

    def refuse(self: Method, model: Any, batches: Any) -> None:
        raise Unprepared

    monkeypatch.setattr(type(cell.method), "prepare", refuse)
    resumed, checkpoints = resume(cell, tmp_path, kept[1])
    assert checkpoints.spent.resumed_after == (1,)
    assert_equal(whole, resumed)
    assert resumed.init == whole.init
