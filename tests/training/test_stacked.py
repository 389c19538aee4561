"""A pass of trials: each ends as alone, whatever becomes of the others."""

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.training.stacked import StackedTraining, StackedTrial
from bench.training.stacking import NotStackable, stack_models
from bench.training.trainer import Diverged
from methods.linear import Linear
from methods.lora import LoRA
from support import run_records, stacks
from training.test_stacking import RATES, recipe, scores, train_alone, train_together

HUGE = 1e30  # a learning rate with which the loss is soon not finite


def test_a_trial_that_diverges_leaves_the_others_as_they_are() -> None:
    without, beside = train_together("lora"), train_together("lora", (HUGE, *RATES))
    for lr in RATES:
        assert without[lr][0] == pytest.approx(beside[lr][0], rel=1e-9)
        torch.testing.assert_close(*(scores(found[lr][1], "lora") for found in (without, beside)))


def trials_of(name: str, rates: tuple[float, ...]) -> tuple[list[StackedTrial], StackedTraining]:
    method, model = stacks.adapted(name)
    made = zip(stacks.copies(model, len(rates)), rates, strict=True)
    trials = [StackedTrial(one, method, recipe(), lr, lambda *_: None) for one, lr in made]
    batches = stacks.NoiseBatches(stacks.dtype_of(name))
    return trials, StackedTraining(trials, model, stacks.shared_ids(model), batches, "fp32")


def test_a_trial_that_diverges_ends_first_and_says_what_it_says_alone() -> None:
    with pytest.raises(Diverged) as alone:
        train_alone("lora", HUGE)
    trials, training = trials_of("lora", (1e-3, HUGE))
    assert list(training.fit()) == [trials[1], trials[0]]
    assert isinstance(trials[1].failure, Diverged)
    assert str(trials[1].failure) == str(alone.value)
    assert trials[0].failure is None


def test_what_fails_after_an_epoch_ends_its_trial_alone() -> None:
    trials, training = trials_of("linear", (1e-3, 1e-2))

    def fail(epoch: int, loss: float) -> None:
        raise RuntimeError("no scores")

    trials[0].after_epoch = fail
    assert list(training.fit()) == [trials[0], trials[1]]
    assert str(trials[0].failure) == "no scores"
    assert len(trials[1].losses) == recipe().epochs


def test_the_order_of_trials_does_not_matter() -> None:
    forwards, backwards = train_together("bi_lora"), train_together("bi_lora", RATES[::-1])
    for lr in RATES:
        assert forwards[lr][0] == pytest.approx(backwards[lr][0], rel=1e-9)


def test_frozen_weights_are_stored_once_and_trained_ones_for_each() -> None:
    trials, training = trials_of("lora", RATES)
    list(training.fit())
    for name, p in trials[0].model.named_parameters():
        others = [trial.model.get_parameter(name) for trial in trials[1:]]
        assert all((other is p) == (not p.requires_grad) for other in others), name
        assert p.requires_grad is False or not any(torch.equal(p, other) for other in others)


class Counting(nn.Module):
    """The identity, which counts its calls."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x


class Seen(nn.Module):
    """The identity, which keeps what it saw first in the place of a tensor that it had."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x.detach().mean()
        return x


class Deciding(nn.Module):
    """The identity, or not, as a number of the input decides."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.mean() > 0 else 2 * x


class Hidden(nn.Module):
    """Adds a trained number that only autograd's graph of the module's own tensor knows."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.scale.register_hook(lambda gradient: 3 * gradient)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


@dataclass(frozen=True)
class WithModule(LoRA):
    """LoRA, and before the head a module of the test's."""

    kind: Any = None

    def attach(self, model: Any) -> None:
        super().attach(model)
        model.head_drop = self.kind()


@dataclass(frozen=True)
class Unfreezing(Linear):
    """A linear probe that trains the last norm, too, after the first epoch."""

    def after_epoch(self, model: Any, epoch: int) -> None:
        model.norm.requires_grad_(True)


@dataclass(frozen=True)
class Rescaling(Linear):
    """A linear probe that changes a frozen weight after each epoch."""

    def after_epoch(self, model: Any, epoch: int) -> None:
        with torch.no_grad():
            model.norm.weight.mul_(2)


@dataclass(frozen=True)
class DrawingAlone(WithModule):
    """Dropout in the step, and after an epoch as many random numbers as the weights decide."""

    def after_epoch(self, model: Any, epoch: int) -> None:
        torch.rand(1 + int(1e6 * model.head.weight.abs().sum().item()) % 1000)


@pytest.mark.parametrize(
    ("method", "why"),
    [
        (WithModule(kind=Counting), "attribute"),
        (WithModule(kind=Seen), "replaces a tensor"),
        (WithModule(kind=Deciding), "data-dependent control flow"),
        (WithModule(kind=Hidden), "the gradient of head_drop.scale"),
        (Unfreezing(), "share a tensor that training changes"),
        (Rescaling(), "weights that the models share change"),
        (DrawingAlone(kind=lambda: nn.Dropout(0.5)), "random numbers of their own"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_one_pass_would_change_is_declined(
    method: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_records.register(monkeypatch, "odd", method)
    _, training = trials_of("odd", (1e-3, 1e-2))
    with pytest.raises(NotStackable, match=why):
        list(training.fit())


def test_models_that_train_different_tensors_are_not_stacked() -> None:
    _, model = stacks.adapted("linear")
    one, other = model, copy.deepcopy(model)
    other.norm.requires_grad_(True)
    with pytest.raises(NotStackable, match="do not train the same tensors"):
        stack_models([one, other])
