"""Checkpoints of a cell in training, from which it goes on after a kill as if there had been none.

A cell goes on only where the numbers are bit for bit those of an uninterrupted run: with the same
code, versions, device, threads and processes. Anything else starts it anew, with a sentence.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import Any, Protocol

import torch
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor

from bench.data.distributed import SINGLE_PROCESS, ProcessGroup
from bench.models.training_tensors import DoesNotFit, TrainingTensors, trainable_names
from bench.records import parsing
from bench.records.schema import STRICT
from bench.records.store import Store
from bench.training import checkpoint_file, devices, generators
from bench.training.callbacks import TrainingMonitor
from bench.training.cell import Cell
from bench.training.checkpoint_file import BadCheckpoint
from bench.training.feature_cache import CacheDecision
from bench.training.ongoing import OngoingTraining
from bench.training.start import InitStats
from bench.training.trainer import EvaluationResult, TrainingState
from bench.utils import folders
from bench.utils.environment import source_sha256
from bench.utils.errors import UserError, first_line
from bench.utils.names import shorten

UNCOMPARED = {"commit", "dirty", "started", "platform"}  # the sources are, in place of the commit
OPTIMISER, CLASSES, LABELS = "optimiser.", "classes.", "labels"  # names of tensors


@checked_dataclass(frozen=True, config=STRICT)
class Spent:
    """What the parts of a cell's run before this one took."""

    seconds: float = 0.0  # from its start to the checkpoint
    peak_memory_mb: float = 0.0
    resumed_after: tuple[int, ...] = ()  # the epochs after which it was resumed


@checked_dataclass(frozen=True, config=STRICT)
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


_saved_adapter: TypeAdapter[Saved] = TypeAdapter(Saved)


class Begin(Protocol):
    """Makes a training before its first epoch."""

    def __call__(self, load: Callable[[TrainingTensors], None]) -> OngoingTraining: ...


@dataclass
class Checkpoints:
    """The checkpoint of one cell: read before its training, and written at the ends of epochs.

    It is written where `every` seconds have passed since the start or since the last one. Every
    rank makes the same calls; rank 0 writes, and all read. No failure of it is the cell's: it is
    one of the `problems`.
    """

    cell: Cell
    store: Store
    device: torch.device
    every: float
    group: ProcessGroup = SINGLE_PROCESS
    spent: Spent = field(default_factory=Spent)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = self.store.checkpoint_path(self.cell.settings)
        self.start_time = self.last_time = perf_counter()
        self.environment = _environment(self.device, self.group)

    def resume(self, begin: Begin) -> OngoingTraining | None:
        """Return the training as it was at the checkpoint; None where there is none to go on from.

        `begin` makes a training before its first epoch, of a model with the tensors that the
        function it is given loads.
        """
        there = self.path.is_symlink() or self.path.exists()
        training = None
        if self.group.all_true(there):
            try:
                training = self._restore(begin)
            except Exception as error:  # whatever a strange file makes fail
                why = f"{self.path} is not used: {_reason(error)}; the cell starts anew"
                self.problems.append(why)
        return training if self.group.all_true(training is not None) else None

    def write_if_due(self, training: OngoingTraining) -> None:
        """Write a checkpoint, in place of the last one, if it is time; that is no training time."""
        if not self.group.all_true(perf_counter() - self.last_time >= self.every):
            return
        start = perf_counter()
        order = training.batches.train.batches.shuffle_generator
        states = self.group.gather(generators.read_states(self.device, order))
        if self.group.rank == 0:
            self._write(training, states)
        self.last_time = perf_counter()
        training.monitor.callback_seconds += self.last_time - start

    def notes(self) -> dict[str, Any]:
        """Return what the record's environment says: where it was resumed, and what went wrong."""
        found: dict[str, Any] = {}
        if self.spent.resumed_after:
            found["resumed_after_epochs"] = list(self.spent.resumed_after)
            found["seconds_before_resuming"] = self.spent.seconds
        return found | ({"checkpoint_problems": self.problems} if self.problems else {})

    def peak_memory_mb(self) -> float:
        """Return the peak memory of all parts so far, in MiB."""
        return max(self.spent.peak_memory_mb, devices.peak_memory_mb(self.device))

    def _write(self, training: OngoingTraining, states: list[generators.States]) -> None:
        try:
            self.store.require_there()
            folders.require_inside(self.store.root, self.path)
            saved = self._save(training, states)
            content = _saved_adapter.dump_python(saved, mode="json")
            checkpoint_file.write(self.path, _tensors(training), content)
        except Exception as error:  # a full disk, say: the training goes on
            why = f"{self.path} could not be written: {first_line(error)}"
            if why not in self.problems:
                self.problems.append(why)

    def _save(self, training: OngoingTraining, states: list[generators.States]) -> Saved:
        state, monitor = training.state, training.monitor
        caches = {"train": training.batches.train, "test": training.batches.test}
        seconds = self.spent.seconds + perf_counter() - self.start_time
        return Saved(
            cell=self.cell.digest,
            environment=self.environment,
            frozen_sha256=training.tensors.frozen_sha256(),
            trainable=trainable_names(training.model),
            losses=state.losses,
            rates=[float(group["lr"]) for group in state.optimiser.param_groups],
            schedule=_schedule(state),
            accuracies={epoch: e.accuracy for epoch, e in monitor.evaluations.items()},
            init=training.init,
            train_seconds=monitor.train_seconds(),
            test_seconds=monitor.test_seconds,
            spent=replace(self.spent, seconds=seconds, peak_memory_mb=self.peak_memory_mb()),
            caches={name: cache.decision for name, cache in caches.items()},
            generator_states=states,
        )

    def _restore(self, begin: Begin) -> OngoingTraining:
        folders.require_inside(self.store.root, self.path)
        tensors, content = checkpoint_file.read(self.path)
        saved = parsing.validate_json(_saved_adapter, content)
        self._require_same(saved)
        training = begin(load=partial(TrainingTensors.load, stored=tensors))
        _require_alike(training, saved)
        _load_state(training.state, saved, tensors)
        _load_monitor(training.monitor, saved, tensors)
        training.batches.train.earlier = saved.caches["train"]
        training.batches.test.earlier = saved.caches["test"]
        order = training.batches.train.batches.shuffle_generator
        generators.set_states(saved.generator_states[self.group.rank], self.device, order)
        after = (*saved.spent.resumed_after, len(saved.losses))
        self.spent = replace(saved.spent, resumed_after=after)
        return replace(training, init=saved.init)

    def _require_same(self, saved: Saved) -> None:
        """Raise `BadCheckpoint` for one of another cell, or of another environment."""
        if saved.cell != self.cell.digest:
            raise BadCheckpoint(f"it is of the cell {shorten(saved.cell)}")
        if not 0 < len(saved.losses) <= self.cell.recipe.epochs:
            raise BadCheckpoint(f"it is of epoch {len(saved.losses)}")
        for name in sorted(self.environment.keys() | saved.environment.keys()):
            then, now = saved.environment.get(name), self.environment.get(name)
            if then != now:
                raise BadCheckpoint(f"it was written with {name} {shorten(then)}, not {now!r}")


def _reason(error: Exception) -> str:
    """Return why a checkpoint is not used; an error of no kind that is meant for it says little."""
    said = first_line(error)
    if isinstance(error, BadCheckpoint | DoesNotFit | UserError | ValueError):
        return said
    return f"it is not of this form ({type(error).__name__}: {said})"


def _environment(device: torch.device, group: ProcessGroup) -> dict[str, Any]:
    """Describe what can change a number and is no setting of the cell."""
    about = devices.describe_environment(device)
    kept = {name: value for name, value in about.items() if name not in UNCOMPARED}
    return {**kept, "processes": group.world_size, "source_sha256": source_sha256()}


def _tensors(training: OngoingTraining) -> dict[str, Tensor]:
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
    if trainable_names(training.model) != saved.trainable:
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
