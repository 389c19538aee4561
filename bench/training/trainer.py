"""The training loop and the evaluation, the same for every method."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import cos, pi
from typing import Any, Protocol

import torch
from torch import Tensor

from bench.config.recipe import Recipe
from bench.data.distributed import SINGLE_PROCESS, ProcessGroup
from bench.models.training_mode import moving_statistics, set_training_mode
from bench.training import numerics
from methods import Method
from methods.shared.base import Forward, Model
from methods.shared.modes import eval_mode
from methods.shared.structure import heads_of

NO_PREDICTION = -1  # class of an image whose logits are not finite

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""A function from a batch of inputs and their labels, (B,), to the loss, ()."""


class BatchSource(Protocol):
    """Batches of inputs and labels, and the function of the model that maps them to logits."""

    @property
    def device(self) -> torch.device: ...
    @property
    def process_group(self) -> ProcessGroup: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]: ...
    def forward_fn(self, model: Model) -> Forward:
        """Return the function that maps the next epoch's inputs to logits."""


class Diverged(Exception):
    """The loss or a logit is no longer finite."""


@dataclass(frozen=True)
class EvaluationResult:
    """The predicted and the true class of each image, (images,), and the accuracy in percent."""

    classes: Tensor
    labels: Tensor
    accuracy: float


@dataclass(frozen=True)
class TrainingState:
    """State of a training beside the model: optimiser, schedule, mean loss of each epoch."""

    optimiser: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LambdaLR
    losses: list[float] = field(default_factory=list)

    @classmethod
    def at_start(
        cls, model: Model, method: Method, recipe: Recipe, lr: float, steps: int
    ) -> "TrainingState":
        """Return the state before the first epoch; an epoch has so many `steps`.

        `lr` is the peak learning rate before scaling by batch size.
        """
        peak = _scale_lr(lr, recipe)
        optimiser = OPTIMISERS[recipe.optimiser](param_groups(model, method, recipe, peak))
        factors = [lr_schedule(recipe, peak, steps)] * len(optimiser.param_groups)
        return cls(optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factors))


def fit(
    model: Model,
    method: Method,
    batches: BatchSource,
    recipe: Recipe,
    lr: float,
    precision: str,
    after_epoch: Callable[[int, float], None],
    state: TrainingState | None = None,
) -> list[float]:
    """Train the parameters with ``requires_grad``; return the mean loss of each epoch.

    `lr` is the peak learning rate before scaling by batch size. `after_epoch` gets the epoch, from
    1, and its loss. Training goes on from a `state` after any number of epochs, where one is given.
    Raises `Diverged` with the step if the loss is not finite.
    """
    state = state or TrainingState.at_start(model, method, recipe, lr, len(batches))
    optimiser, scheduler, losses = state.optimiser, state.scheduler, state.losses
    group = batches.process_group
    for epoch in range(len(losses) + 1, recipe.epochs + 1):
        set_training_mode(model)
        loss = loss_fn(method, model, batches.forward_fn(model), precision, group)
        step_losses = []
        for inputs, labels in batches:
            step_losses.append(train_step(loss, optimiser, inputs, labels, group))
            scheduler.step()
        losses.append(mean_loss(step_losses, (epoch - 1) * len(batches)))
        method.after_epoch(model, epoch)
        group.broadcast(_trained_tensors(model))
        after_epoch(epoch, losses[-1])
    return losses


def _trained_tensors(model: Model) -> Iterator[Tensor]:
    """Yield what training changes: trainable parameters, and statistics of batch norms."""
    yield from (p for p in model.parameters() if p.requires_grad)
    yield from moving_statistics(model)


def loss_fn(
    method: Method,
    model: Model,
    forward: Forward,
    precision: str,
    process_group: ProcessGroup = SINGLE_PROCESS,
) -> LossFunction:
    """Return the function from a batch, of which it is a process's shard, to the method's loss."""

    def logits(inputs: Tensor) -> Tensor:
        with autocast(inputs.device, precision):
            return forward(inputs).float()  # (B, classes)

    return partial(method.loss, model, logits, reduction=process_group.loss_reduction)


def train_step(
    loss: LossFunction,
    optimiser: torch.optim.Optimizer,
    inputs: Tensor,
    labels: Tensor,
    process_group: ProcessGroup = SINGLE_PROCESS,
) -> Tensor:
    """Take one step on a batch, of which this is the process's shard; return the loss before it.

    Labels are (B,).
    """
    optimiser.zero_grad(set_to_none=True)
    found = loss(inputs, labels)
    found.backward()
    mean = process_group.all_reduce_mean(found.detach(), labels, _optimised_parameters(optimiser))
    optimiser.step()
    return mean


OPTIMISERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adamw": lambda groups: torch.optim.AdamW(groups),
    "sgd": lambda groups: torch.optim.SGD(groups, momentum=0.9),
}


def lr_schedule(recipe: Recipe, peak: float, steps: int) -> Callable[[int], float]:
    """Return the factor on the peak learning rate at each step: linear warm-up, cosine decay.

    The cosine ends at the recipe's `min_lr`; `steps` are those of an epoch.
    """
    warmup, total = recipe.warmup_epochs * steps, recipe.epochs * steps
    floor = min(1.0, recipe.min_lr / peak)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / max(1, total - warmup)
        return floor + (1 - floor) * (1 + cos(pi * min(1.0, done))) / 2

    return factor


def param_groups(model: Model, method: Method, recipe: Recipe, lr: float) -> list[dict[str, Any]]:
    """Return the optimiser's groups: weight decay for matrices only, the head's separately.

    A method may define groups of its own, whose ``lr`` is a factor on the common one.
    """
    own = [{**g, "lr": lr * g.get("lr", 1.0)} for g in method.param_groups(model)]
    taken = {id(p) for group in own for p in group["params"]}
    head = {id(p) for p in heads_of(model).parameters()}
    trainable = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
    by_decay: dict[float, list[Tensor]] = {}
    for p in trainable:
        decay = recipe.head_weight_decay if id(p) in head else recipe.weight_decay
        by_decay.setdefault(decay if p.ndim > 1 else 0.0, []).append(p)
    common = [{"params": ps, "weight_decay": d, "lr": lr} for d, ps in by_decay.items()]
    return common + [{"weight_decay": 0.0, **group} for group in own]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the autocast context for a precision: bf16 matrix products; weights stay fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def _optimised_parameters(optimiser: torch.optim.Optimizer) -> Iterator[Tensor]:
    yield from (p for group in optimiser.param_groups for p in group["params"])


def _scale_lr(lr: float, recipe: Recipe) -> float:
    return lr * recipe.batch / recipe.lr_per_batch if recipe.lr_per_batch else lr


def mean_loss(step_losses: Sequence[Tensor], before: int) -> float:
    """Return the mean loss of an epoch; `before` counts the steps of the earlier epochs."""
    losses = torch.stack(list(step_losses))
    nonfinite = (~losses.isfinite()).nonzero()
    if len(nonfinite):
        first = int(nonfinite[0])
        raise Diverged(f"the loss was {losses[first].item()} at step {before + first + 1}")
    return losses.mean().item()


def evaluate(model: Model, batches: BatchSource, precision: str) -> EvaluationResult:
    """Evaluate the model on a split; leaves its mode as it was.

    Raises `Diverged` if an image has a logit that is not finite: its largest means nothing.
    """
    classes, labels = _predict(model, batches, precision, _predict_classes)
    return _evaluation(classes, labels)


def evaluate_masked(
    model: Model, batches: BatchSource, precision: str, allowed: Sequence[int]
) -> tuple[EvaluationResult, EvaluationResult]:
    """Evaluate as `evaluate` does, and among the `allowed` classes alone, in one pass.

    If all labels are allowed, the second accuracy is never below the first.
    """

    def choose(logits: Tensor) -> Tensor:
        classes = _predict_classes(logits)
        return torch.stack([classes, predict_among(allowed, logits, classes)], 1)  # (B, 2)

    classes, labels = _predict(model, batches, precision, choose)
    return _evaluation(classes[:, 0], labels), _evaluation(classes[:, 1], labels)


def _predict(
    model: Model, batches: BatchSource, precision: str, choose: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return what `choose` makes of each image's logits, (images, ...), and the labels."""
    with eval_mode(model):
        forward = batches.forward_fn(model)
        with numerics.arithmetic(precision), autocast(batches.device, precision):
            predictions = [(choose(forward(inputs)), labels) for inputs, labels in batches]
    return batches.process_group.gather_predictions(predictions)


def probabilities(model: Model, batches: BatchSource, precision: str) -> tuple[Tensor, Tensor]:
    """Return the softmax of each image's logits, (images, classes), and the labels, on the CPU."""
    found, labels = _predict(model, batches, precision, lambda logits: logits.float().softmax(1))
    return found.cpu(), labels.cpu()


def _evaluation(classes: Tensor, labels: Tensor) -> EvaluationResult:
    lost = int((classes == NO_PREDICTION).sum())
    if lost:
        raise Diverged(f"{lost} of {len(classes)} images have scores that are not finite")
    correct = (classes == labels).double().mean().item()
    return EvaluationResult(classes.cpu(), labels.cpu(), 100 * correct)


def _predict_classes(logits: Tensor) -> Tensor:
    """Return the class with the largest logit, (B,); `NO_PREDICTION` if one is not finite."""
    return logits.argmax(1).where(logits.isfinite().all(1), NO_PREDICTION)


def predict_among(allowed: Sequence[int], logits: Tensor, classes: Tensor) -> Tensor:
    """Return the allowed class with the largest logit, (B,); an allowed one of `classes` stays.

    `classes`, (B,), are predicted from the same logits, (B, all classes).
    """
    index = torch.tensor(sorted(allowed), device=logits.device)
    among = index[logits[:, index].argmax(1)]  # of equal logits, argmax may choose any
    kept = torch.isin(classes, index) | (classes == NO_PREDICTION)
    return classes.where(kept, among)
