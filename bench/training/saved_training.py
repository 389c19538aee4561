"""The state of a training in a checkpoint, apart from its model: saving and restoring."""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.models.training_tensors import trained_tensors
from bench.records.schema import STRICT
from bench.training import generators
from bench.training.callbacks import TrainingMonitor
from bench.training.checkpoint_file import BadCheckpoint
from bench.training.feature_cache import CacheDecision
from bench.training.ongoing import OngoingTraining
from bench.training.start import InitStats
from bench.training.trainer import EvaluationResult, TrainingState

OPTIMISER, CLASSES, LABELS = "optimiser.", "classes.", "labels"  # names of tensors


@dataclass(frozen=True, config=STRICT)
class Spent:
    """Time and memory of the parts of a run before this one."""

    seconds: float = 0.0  # from its start to the checkpoint
    peak_memory_mb: float = 0.0
    resumed_after: tuple[int, ...] = ()  # the epochs after which it was resumed


@dataclass(frozen=True, config=STRICT)
class Saved:
    """The part of a checkpoint that is JSON."""

    cell: str
    environment: dict[str, Any]
    frozen_sha256: str
    trainable: list[str]
    losses: list[float]
    rates: list[float]  # of the optimiser's groups
    schedule: dict[str, Any]
    accuracies: dict[int, float]  # by epoch
    init: InitStats
    train_seconds: float
    test_seconds: float
    spent: Spent
    caches: dict[str, CacheDecision | None]
    generator_states: list[generators.States]  # by rank


def save(
    training: OngoingTraining,
    cell: str,
    environment: dict[str, Any],
    spent: Spent,
    states: list[generators.States],
) -> Saved:
    """Return the JSON part of a checkpoint; `states` are the generator states by rank."""
    state, monitor = training.state, training.monitor
    caches = {"train": training.batches.train, "test": training.batches.test}
    return Saved(
        cell=cell,
        environment=environment,
        frozen_sha256=training.tensors.frozen_sha256(),
        trainable=list(trained_tensors(training.model)),
        losses=state.losses,
        rates=[float(group["lr"]) for group in state.optimiser.param_groups],
        schedule=_schedule(state),
        accuracies={epoch: e.accuracy for epoch, e in monitor.evaluations.items()},
        init=training.init,
        train_seconds=monitor.train_seconds(),
        test_seconds=monitor.test_seconds,
        spent=spent,
        caches={name: cache.decision for name, cache in caches.items()},
        generator_states=states,
    )


def restore(training: OngoingTraining, saved: Saved, tensors: Mapping[str, Tensor]) -> None:
    """Bring a training whose model has the tensors of a checkpoint to the state that was saved.

    Raises `BadCheckpoint` where the model is not the one whose training was saved; what else a
    strange file makes fail may raise anything.
    """
    _require_alike(training, saved)
    _load_state(training.state, saved, tensors)
    _load_monitor(training.monitor, saved, tensors)
    training.batches.train.earlier = saved.caches["train"]
    training.batches.test.earlier = saved.caches["test"]


def tensors_of(training: OngoingTraining) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint: of the model, the optimiser and the evaluations."""
    evaluations = training.monitor.evaluations
    predicted = {f"{CLASSES}{epoch}": e.classes.int() for epoch, e in evaluations.items()}
    labels = [(LABELS, e.labels) for e in evaluations.values()][-1:]  # the same after every epoch
    of_optimiser = {
        f"{OPTIMISER}{number}.{name}": value
        for number, entries in training.state.optimiser.state_dict()["state"].items()
        for name, value in entries.items()
        if value is not None
    }
    return {**training.tensors.stored(), **of_optimiser, **predicted, **dict(labels)}


def _schedule(state: TrainingState) -> dict[str, Any]:
    found = state.scheduler.state_dict()
    return {name: value for name, value in found.items() if name != "lr_lambdas"}


def _require_alike(training: OngoingTraining, saved: Saved) -> None:
    """Raise `BadCheckpoint` where the model is not the one whose training was saved."""
    if list(trained_tensors(training.model)) != saved.trainable:
        raise BadCheckpoint("other parameters learnt when it was written")
    if training.tensors.frozen_sha256() != saved.frozen_sha256:
        raise BadCheckpoint("what is frozen had other values when it was written")


def _load_state(state: TrainingState, saved: Saved, tensors: Mapping[str, Tensor]) -> None:
    """Put optimiser, schedule and losses back as they were."""
    entries: dict[int, dict[str, Tensor]] = {}
    for full_name, value in tensors.items():
        if full_name.startswith(OPTIMISER):
            number, _, name = full_name.removeprefix(OPTIMISER).partition(".")
            entries.setdefault(int(number), {})[name] = value
    _require_moments(state.optimiser, entries)
    groups = state.optimiser.state_dict()["param_groups"]
    state.optimiser.load_state_dict({"state": entries, "param_groups": groups})
    for group, rate in zip(state.optimiser.param_groups, saved.rates, strict=True):
        group["lr"] = rate
    unchanged = {"lr_lambdas": [None] * len(groups)}
    state.scheduler.load_state_dict(saved.schedule | unchanged)
    state.losses.extend(saved.losses)


def _require_moments(
    optimiser: torch.optim.Optimizer, entries: Mapping[int, Mapping[str, Tensor]]
) -> None:
    """Raise `BadCheckpoint` where the optimiser's entries are not of its parameters."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for number, of_one in entries.items():
        shapes = {value.shape for value in of_one.values()}
        if not shapes <= {parameters[number].shape, torch.Size()}:
            raise BadCheckpoint("the optimiser's tensors have other shapes than what learns")
    if len({frozenset(of_one) for of_one in entries.values()}) > 1:
        raise BadCheckpoint("the optimiser lacks tensors")


def _load_monitor(monitor: TrainingMonitor, saved: Saved, tensors: Mapping[str, Tensor]) -> None:
    """Put the evaluations and measured times back as they were."""
    for epoch, accuracy in saved.accuracies.items():
        classes = tensors[f"{CLASSES}{epoch}"].long()
        monitor.evaluations[epoch] = EvaluationResult(classes, tensors[LABELS], accuracy)
    monitor.test_seconds = saved.test_seconds
    monitor.earlier_seconds = saved.train_seconds + saved.test_seconds
