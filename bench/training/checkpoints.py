"""Checkpoints of a cell in training; after a kill it resumes and ends with the same numbers.

A cell goes on only where the numbers are bit for bit those of an uninterrupted run: with the same
code, versions, device, threads and processes. Anything else makes it start over, with a sentence.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import Any, Protocol

import torch
from pydantic import TypeAdapter

from bench.data.distributed import SINGLE_PROCESS, ProcessGroup
from bench.models.training_tensors import DoesNotFit, TrainingTensors
from bench.records import parsing
from bench.records.store import Store
from bench.training import checkpoint_file, devices, generators, saved_training
from bench.training.cell import Cell
from bench.training.checkpoint_file import BadCheckpoint
from bench.training.ongoing import OngoingTraining
from bench.training.saved_training import Saved, Spent
from bench.utils import folders
from bench.utils.environment import source_sha256
from bench.utils.errors import UserError, first_line
from bench.utils.names import shorten

UNCOMPARED = {"commit", "dirty", "started", "platform"}  # the sources are, in place of the commit
MAX_SHARE = 0.02  # of the time, that writing takes

_saved_adapter: TypeAdapter[Saved] = TypeAdapter(Saved)


class Begin(Protocol):
    """Makes a training before its first epoch."""

    def __call__(self, load: Callable[[TrainingTensors], None]) -> OngoingTraining: ...


@dataclass
class Checkpoints:
    """The checkpoint of one cell: read before its training, and written at the ends of epochs.

    It is written where `every` seconds have passed since the start or since the last one, or more
    of them if writing would take more than `MAX_SHARE` of the time; with 0, after each epoch. Every
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
        self.last_cost = 0.0  # seconds
        self.environment = _environment(self.device, self.group)

    def resume(self, begin: Begin) -> OngoingTraining | None:
        """Return the state of training at the checkpoint; None if there is no usable one.

        `begin` makes a training before its first epoch, of a model with the tensors that the
        function it is given loads.
        """
        there = self.path.is_symlink() or self.path.exists()
        training = None
        if self.group.all_true(there):
            try:
                training = self._restore(begin)
            except Exception as error:  # whatever a strange file makes fail
                why = f"{self.path} is not used: {_reason(error)}; the cell starts over"
                self.problems.append(why)
        return training if self.group.all_true(training is not None) else None

    def write_if_due(self, training: OngoingTraining) -> None:
        """Write a checkpoint, in place of the last one, if it is time; that is no training time."""
        pause = max(self.every, self.last_cost / MAX_SHARE) if self.every else 0.0
        if not self.group.all_true(perf_counter() - self.last_time >= pause):
            return
        start = perf_counter()
        order = training.batches.train.batches.shuffle_generator
        states = self.group.gather(generators.read_states(self.device, order))
        if self.group.rank == 0:
            self._write(training, states)
        self.last_time = perf_counter()
        self.last_cost = self.last_time - start
        training.monitor.callback_seconds += self.last_cost

    def notes(self) -> dict[str, Any]:
        """Return entries for the record's environment: where training resumed, what failed."""
        found: dict[str, Any] = {}
        if self.spent.resumed_after:
            found["resumed_after_epochs"] = list(self.spent.resumed_after)
            found["seconds_before_resuming"] = self.spent.seconds
        return found | ({"checkpoint_problems": self.problems} if self.problems else {})

    def peak_memory_mb(self) -> float:
        """Return the peak memory of all parts so far, in MiB."""
        now = devices.peak_memory_mb(self.device)
        return max(self.spent.peak_memory_mb, now) if self.spent.resumed_after else now

    def _write(self, training: OngoingTraining, states: list[generators.States]) -> None:
        seconds = self.spent.seconds + perf_counter() - self.start_time
        spent = replace(self.spent, seconds=seconds, peak_memory_mb=self.peak_memory_mb())
        try:
            self.store.require_there()
            folders.require_inside(self.store.root, self.path)
            saved = saved_training.save(training, self.cell.digest, self.environment, spent, states)
            content = _saved_adapter.dump_python(saved, mode="json")
            checkpoint_file.write(self.path, saved_training.tensors_of(training), content)
        except Exception as error:  # a full disk, say: the training goes on
            why = f"{self.path} could not be written: {first_line(error)}"
            if why not in self.problems:
                self.problems.append(why)

    def _restore(self, begin: Begin) -> OngoingTraining:
        folders.require_inside(self.store.root, self.path)
        tensors, content = checkpoint_file.read(self.path)
        saved = parsing.validate_json(_saved_adapter, content)
        self._require_same(saved)
        training = begin(load=partial(TrainingTensors.load, stored=tensors))
        saved_training.restore(training, saved, tensors)
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


def checkpoints_of(
    cell: Cell,
    store: Store,
    device: torch.device,
    every: float | None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Checkpoints | None:
    """Return the checkpoints of a cell, one `every` so many seconds; None: it has none."""
    return None if every is None else Checkpoints(cell, store, device, every, group)
