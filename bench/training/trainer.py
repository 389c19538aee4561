"""The one training loop that every method shares; nothing in it knows about any of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import cos, pi
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from timm.models import VisionTransformer
from torch import Tensor

from bench.config.recipe import Recipe
from bench.data.distributed import SINGLE_PROCESS, ProcessGroup
from methods import Method

NO_PREDICTION = -1  # of an image with scores that are not finite


class BatchSource(Protocol):
    """Inputs and labels in batches, and which function of the model scores such inputs."""

    @property
    def device(self) -> torch.device: ...
    @property
    def process_group(self) -> ProcessGroup: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]: ...
    def forward_fn(self, model: VisionTransformer) -> Callable[[Tensor], Tensor]:
        """What makes scores of the inputs of the next pass."""


class Diverged(Exception):
    """The loss, or a score, is no longer a finite number."""


@dataclass(frozen=True)
class EvaluationResult:
    """The predicted and the right class of each image, (B,), and the share of hits in percent."""

    classes: Tensor
    labels: Tensor
    accuracy: float


def fit(
    model: VisionTransformer,
    method: Method,
    batches: BatchSource,
    recipe: Recipe,
    lr: float,
    precision: str,
    after_epoch: Callable[[int, float], None],
) -> list[float]:
    """Train whatever in `model` has ``requires_grad``; the mean loss of each epoch.

    `lr` is the peak learning rate before scaling by batch. `after_epoch` is told the epoch, from
    1, and its loss. Raises `Diverged` with the step when the loss is not finite.
    """
    peak = _scale_lr(lr, recipe)
    optimiser = OPTIMISERS[recipe.optimiser](param_groups(model, method, recipe, peak))
    rate = lr_schedule(recipe, peak, len(batches))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, [rate] * len(optimiser.param_groups))
    losses: list[float] = []
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        steps, scores = [], batches.forward_fn(model)
        for inputs, labels in batches:
            steps.append(
                train_step(scores, optimiser, inputs, labels, precision, batches.process_group)
            )
            scheduler.step()
        losses.append(_mean_loss(steps, (epoch - 1) * len(batches)))
        method.after_epoch(model, epoch)
        batches.process_group.broadcast(p for p in model.parameters() if p.requires_grad)
        after_epoch(epoch, losses[-1])
    return losses


def train_step(
    scores: Callable[[Tensor], Tensor],
    optimiser: torch.optim.Optimizer,
    inputs: Tensor,
    labels: Tensor,
    precision: str,
    crew: ProcessGroup = SINGLE_PROCESS,
) -> Tensor:
    """One step on a batch of what `scores` reads, and labels, (B,); the loss before it.

    Of the batch, `crew` may have given this process a part.
    """
    optimiser.zero_grad(set_to_none=True)
    with autocast(inputs.device, precision):
        found = scores(inputs)  # (B, classes)
    loss = F.cross_entropy(found.float(), labels, reduction=crew.loss_reduction)
    loss.backward()
    mean = crew.all_reduce_mean(loss.detach(), labels, _optimised_parameters(optimiser))
    optimiser.step()
    return mean


OPTIMISERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adamw": lambda found: torch.optim.AdamW(found),
    "sgd": lambda found: torch.optim.SGD(found, momentum=0.9),
}


def lr_schedule(recipe: Recipe, peak: float, steps: int) -> Callable[[int], float]:
    """The factor on the peak learning rate at each step: a linear rise, then a cosine to `min_lr`.

    An epoch has so many `steps`.
    """
    rise, total = recipe.warmup_epochs * steps, recipe.epochs * steps
    floor = min(1.0, recipe.min_lr / peak)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        done = (step - rise) / max(1, total - rise)
        return floor + (1 - floor) * (1 + cos(pi * min(1.0, done))) / 2

    return factor


def param_groups(
    model: VisionTransformer, method: Method, recipe: Recipe, lr: float
) -> list[dict[str, Any]]:
    """The optimiser's groups: matrices decay, vectors do not, the head has a decay of its own.

    A method may name groups of its own, whose ``lr`` is a factor on the common one.
    """
    own = [{**g, "lr": lr * g.get("lr", 1.0)} for g in method.param_groups(model)]
    taken = {id(p) for group in own for p in group["params"]}
    head = {id(p) for p in model.get_classifier().parameters()}
    live = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
    sorted_out: dict[float, list[Tensor]] = {}
    for p in live:
        decay = recipe.head_weight_decay if id(p) in head else recipe.weight_decay
        sorted_out.setdefault(decay if p.ndim > 1 else 0.0, []).append(p)
    common = [{"params": ps, "weight_decay": d, "lr": lr} for d, ps in sorted_out.items()]
    return common + [{"weight_decay": 0.0, **group} for group in own]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Products of matrices in bf16 where `precision` says so; weights stay fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def _optimised_parameters(optimiser: torch.optim.Optimizer) -> Iterator[Tensor]:
    yield from (p for group in optimiser.param_groups for p in group["params"])


def _scale_lr(lr: float, recipe: Recipe) -> float:
    return lr * recipe.batch / recipe.lr_per_batch if recipe.lr_per_batch else lr


def _mean_loss(steps: Sequence[Tensor], before: int) -> float:
    losses = torch.stack(list(steps))
    wrong = (~losses.isfinite()).nonzero()
    if len(wrong):
        raise Diverged(
            f"the loss was {losses[wrong[0]].item()} at step {before + int(wrong[0]) + 1}"
        )
    return losses.mean().item()


@torch.no_grad()
def evaluate(model: VisionTransformer, batches: BatchSource, precision: str) -> EvaluationResult:
    """The model's answers on a split, in evaluation mode; leaves the model's mode as it was.

    Raises `Diverged` where an image has a score that is not finite: its largest means nothing.
    """
    was_training = model.training
    model.eval()
    scores = batches.forward_fn(model)
    with autocast(batches.device, precision):
        answers = [(_predicted_classes(scores(inputs)), labels) for inputs, labels in batches]
    model.train(was_training)
    classes, labels = batches.process_group.gather_predictions(answers)
    lost = int((classes == NO_PREDICTION).sum())
    if lost:
        raise Diverged(f"{lost} of {len(classes)} images have scores that are not finite")
    right = (classes == labels).double().mean().item()
    return EvaluationResult(classes.cpu(), labels.cpu(), 100 * right)


def _predicted_classes(scores: Tensor) -> Tensor:
    """The class with the largest score, (B,), of scores, (B, classes); none where one is NaN."""
    return scores.argmax(1).where(scores.isfinite().all(1), NO_PREDICTION)
