"""Every method: gradients and trainings of several models in one pass are those of one by one."""

import copy

import pytest
import torch
from torch import Tensor

import methods
from bench.config.overrides import override_recipe
from bench.config.recipe import Recipe, load_recipe
from bench.training import trainer
from bench.training.stack_check import StepEffects, check_stack
from bench.training.stacked import StackedTraining, StackedTrial
from bench.training.stacking import NotStackable, stack_models
from methods import Method
from methods.shared.base import Model
from support import paths, stacks
from support.variants import one_of_each_kind

GOLDEN = paths.REPO_ROOT / "tests" / "golden" / "trained_alone.md"
ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-4}  # of the largest gradient of a model
IN_TRAINING = {torch.float64: 1e-5, torch.float32: 1e-3}  # logits are float32 in either
RATES = (1e-4, 1e-3, 1e-2)


def declined() -> dict[str, str]:
    """The methods whose trials are trained one by one, with the reason, from the golden list."""
    lines = GOLDEN.read_text(encoding="utf-8").splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return {name: why for name, why in rows if name != "method"}


def check(name: str) -> StepEffects:
    method, model = stacks.adapted(name)
    images, labels = stacks.noise(2)
    references, probes = stacks.copies(model, 3), stacks.copies(model, 3)
    of = stacks.loss_of(method)
    dtype = stacks.dtype_of(name)
    return check_stack(references, probes, of, images.to(dtype), labels, ROUNDING[dtype])


STACKED = [name for name in methods.names() if name not in declined()]


@pytest.mark.sample(4)
@pytest.mark.parametrize("name", sorted(declined()))
def test_a_method_on_the_list_is_declined_for_the_reason_given(name: str) -> None:
    with pytest.raises(NotStackable) as caught:
        check(name)
    assert declined()[name] in str(caught.value)


def test_most_methods_can_be_trained_in_one_pass() -> None:
    assert len(declined()) < len(methods.names()) / 8


def plain_gradients(
    method: Method, model: Model, images: Tensor, labels: Tensor
) -> tuple[dict[str, Tensor | None], Tensor]:
    torch.manual_seed(1)
    loss = stacks.loss_of(method)(model)(images, labels)
    loss.backward()
    return {n: p.grad for n, p in model.named_parameters() if p.requires_grad}, loss.detach()


@pytest.mark.parametrize("name", one_of_each_kind(STACKED))
def test_gradients_of_three_models_in_one_pass_are_those_of_each_alone(name: str) -> None:
    effects = check(name)
    method, model = stacks.adapted(name)
    images, labels = stacks.noise(4)
    images = images.to(stacks.dtype_of(name))
    models = stacks.scattered(stacks.copies(model, 3))
    alone = [plain_gradients(method, copy.deepcopy(one), images, labels) for one in models]
    stack = stack_models(models, effects.written)
    torch.manual_seed(1)
    gradients, losses = stack.gradients(stacks.loss_of(method)(models[0]), images, labels)
    for i, (expected, loss) in enumerate(alone):
        largest = max(g.abs().max() for g in expected.values() if g is not None)
        atol = ROUNDING[images.dtype] * largest.item()
        torch.testing.assert_close(losses[i], loss, rtol=1e-6, atol=1e-6)
        assert {n for n, g in expected.items() if g is None} == effects.unused
        for n in expected.keys() - effects.unused:
            torch.testing.assert_close(gradients[n][i], expected[n], rtol=0, atol=atol)


def recipe() -> Recipe:
    return override_recipe(load_recipe("quick"), {"epochs": 2, "warmup_epochs": 0})


def train_together(
    name: str, rates: tuple[float, ...] = RATES
) -> dict[float, tuple[list[float], Model]]:
    """Losses by epoch and the trained model, by rate, of one pass."""
    method, model = stacks.adapted(name)
    trials = [
        StackedTrial(one, method, recipe(), lr, lambda *_: None)
        for one, lr in zip(stacks.copies(model, len(rates)), rates, strict=True)
    ]
    batches = stacks.NoiseBatches(stacks.dtype_of(name))
    torch.manual_seed(7)
    ids = stacks.shared_ids(model)
    ended = list(StackedTraining(trials, model, ids, batches, "fp32").fit())
    assert {id(trial) for trial in ended} == {id(trial) for trial in trials}
    return {trial.lr: (trial.losses, trial.model) for trial in ended}


def train_alone(name: str, lr: float) -> tuple[list[float], Model]:
    method, model = stacks.adapted(name)
    torch.manual_seed(7)
    batches = stacks.NoiseBatches(stacks.dtype_of(name))
    losses = trainer.fit(model, method, batches, recipe(), lr, "fp32", lambda *_: None)
    return losses, model


def scores(model: Model, name: str) -> Tensor:
    with torch.no_grad():
        return model.eval()(stacks.noise(5)[0].to(stacks.dtype_of(name)))


@pytest.mark.parametrize("name", one_of_each_kind(STACKED))
def test_a_training_in_one_pass_ends_as_each_alone(name: str) -> None:
    atol = IN_TRAINING[stacks.dtype_of(name)]
    for lr, (losses, model) in train_together(name).items():
        expected, other = train_alone(name, lr)
        assert losses == pytest.approx(expected, rel=atol)
        torch.testing.assert_close(scores(model, name), scores(other, name), rtol=0, atol=atol)
