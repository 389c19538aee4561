"""The check of whether a method's models can be trained in one pass, on copies of them.

Stacked and plain gradients are compared on a batch, away from the start, where a factor that is
zero would hide another's gradient. The name of the method plays no part.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.models.training_tensors import trained_tensors
from bench.training.random_state import RandomState, random_state, same_state, set_random_state
from bench.training.stacking import (
    ModelStack,
    NotStackable,
    other_tensors,
    stack_models,
)
from bench.training.trainer import LossFunction
from bench.utils.errors import first_line
from methods.shared.base import Model
from methods.shared.memory import is_out_of_memory

NOISE = 0.02  # deviation of what is added to the trained tensors, as of a layer's initial weights
TOLERANCE = {
    "fp32": 1e-3,
    "tf32": 1e-2,
    "bf16": 0.1,
}  # of the largest entry of a tensor, by precision
FLOOR = 1e-2  # of the largest gradient: that of a smaller tensor is rounding

LossOf = Callable[[Model], LossFunction]


@dataclass(frozen=True)
class StepEffects:
    """The side effects of one model's step, and which trained tensors get no gradient."""

    written: frozenset[str]  # tensors that are not trained, and changed in place
    unused: frozenset[str]  # trained tensors without a gradient
    draws: bool  # random numbers


NO_EFFECTS = StepEffects(frozenset(), frozenset(), draws=False)


@dataclass(frozen=True)
class _PlainStep:
    """The result of a model's step by autograd."""

    loss: Tensor
    gradients: dict[str, Tensor | None]
    others: dict[str, Tensor]  # not trained, after the step
    effects: StepEffects
    ending: RandomState


def check_stack(
    references: Sequence[Model],
    probes: Sequence[Model],
    loss_of: LossOf,
    inputs: Tensor,
    labels: Tensor,
    tolerance: float,
) -> StepEffects:
    """Compare the stacked gradients of `probes` with the plain ones of `references` on a batch.

    The i-th probe is a copy of the i-th reference; both are changed, and of no use afterwards.
    Raises `NotStackable` where they differ by more than the tolerance of a tensor's largest entry,
    or where torch refuses.
    """
    for i, (reference, probe) in enumerate(zip(references, probes, strict=True)):
        _move_away(reference, probe, seed=i)
    devices = [inputs.device] if inputs.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        start, steps = random_state(inputs.device), list[_PlainStep]()
        for reference in references:
            set_random_state(inputs.device, start)
            steps.append(_plain_step(reference, loss_of(reference), inputs, labels))
        set_random_state(inputs.device, start)
        effects = steps[0].effects
        if any(step.effects != effects for step in steps):
            raise NotStackable("the steps of its models change different tensors")
        stack = stack_models(probes, effects.written)
        gradients, losses = _stacked_gradients(stack, loss_of(probes[0]), inputs, labels)
        ending = random_state(inputs.device)
    if not all(same_state(step.ending, ending) for step in steps):
        raise NotStackable("it draws other random numbers in one pass than alone")
    for i, step in enumerate(steps):
        found = {name: stacked[i] for name, stacked in gradients.items()}
        changed = {name: stacked[i] for name, stacked in stack.carried.items()}
        _require_equal(found, changed, losses[i], step, tolerance)
    return effects


def _stacked_gradients(
    stack: ModelStack, loss: LossFunction, inputs: Tensor, labels: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    try:
        return stack.gradients(loss, inputs, labels)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise NotStackable(f"torch.func refuses its loss: {first_line(error)}") from error


def _move_away(reference: Model, probe: Model, seed: int) -> None:
    """Add the same noise to the trained tensors of both models."""
    generator, others = torch.Generator().manual_seed(seed), trained_tensors(probe)
    for name, p in trained_tensors(reference).items():
        noise = NOISE * torch.randn(p.shape, generator=generator, dtype=p.dtype)
        p.data = others[name].data = p.data + noise.to(p.device)


def _plain_step(model: Model, loss: LossFunction, inputs: Tensor, labels: Tensor) -> _PlainStep:
    """Compute a model's gradients by autograd; its parameters are not changed."""
    start, plain = random_state(inputs.device), _attributes(model)
    before = other_tensors(model)
    copies = {name: t.clone() for name, t in before.items() if not isinstance(t, nn.Parameter)}
    found = loss(inputs, labels)
    found.backward()
    after, ending = other_tensors(model), random_state(inputs.device)
    if any(after.get(name) is not t for name, t in before.items()) or len(after) != len(before):
        raise NotStackable("a step replaces a tensor of the model")
    if _attributes(model) != plain:
        raise NotStackable("a step changes an attribute of the model")
    gradients = {name: p.grad for name, p in trained_tensors(model).items()}
    effects = StepEffects(
        frozenset(name for name, t in copies.items() if not torch.equal(t, after[name])),
        frozenset(name for name, gradient in gradients.items() if gradient is None),
        draws=not same_state(start, ending),
    )
    return _PlainStep(found.detach(), gradients, after, effects, ending)


def _attributes(model: Model) -> dict[tuple[str, str], Any]:
    """Return the numbers and words that the model's modules hold."""
    return {
        (path, name): value
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, int | float | str)
    }


def _require_equal(
    found: dict[str, Tensor],
    changed: dict[str, Tensor],
    loss: Tensor,
    step: _PlainStep,
    tolerance: float,
) -> None:
    """Raise `NotStackable` unless all is as after the plain step, but for rounding.

    `found` are the gradients, and `changed` what is not trained.
    """
    _require_close("the loss", loss, step.loss, tolerance)
    known = {name: g for name, g in step.gradients.items() if g is not None}
    largest = max((_largest(g) for g in known.values()), default=0.0)
    for name, gradient in known.items():
        _require_close(f"the gradient of {name}", found[name], gradient, tolerance, FLOOR * largest)
    for name, tensor in changed.items():
        _require_close(name, tensor, step.others[name], tolerance)


def _require_close(
    name: str, found: Tensor, expected: Tensor, tolerance: float, floor: float = 0.0
) -> None:
    """Raise `NotStackable` where tensors differ by more than the tolerance of the largest entry."""
    found, expected = found.double(), expected.double()
    both = found.isfinite() & expected.isfinite()
    apart = _largest((found - expected)[both])
    if apart > tolerance * max(_largest(expected[both]), floor):
        raise NotStackable(f"{name} in one pass is not that of one model alone")
    if not torch.equal(found.isfinite(), expected.isfinite()):
        raise NotStackable(f"{name} is finite in one pass, or alone, and not in both")


def _largest(tensor: Tensor) -> float:
    return tensor.abs().max().item() if tensor.numel() else 0.0
