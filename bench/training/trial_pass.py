"""Trials that differ only in their rates, trained in one pass, and each recorded as alone.

Where one pass is not possible, or memory does not suffice, they are trained one by one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from types import MappingProxyType
from typing import Any

import torch

from bench.records.schema import Record
from bench.records.store import Store
from bench.training import devices, numerics, results, runner
from bench.training.callbacks import ProgressCallback, TrainingMonitor
from bench.training.cell import Cell
from bench.training.feature_cache import FeatureCache
from bench.training.ongoing import SplitBatches
from bench.training.results import MeasuredOutcome
from bench.training.runner import StartedModel, TrainedModel
from bench.training.stacked import StackedTraining, StackedTrial
from bench.training.stacking import copy_model
from bench.utils.errors import first_line
from methods.shared.base import Model
from methods.shared.memory import is_out_of_memory

TRAINED = "trained"  # the key, in a record's environment, of how a trial of a pass was trained


@dataclass(frozen=True)
class _Trial:
    """A trial of the pass, with all that its outcome is measured from."""

    cell: Cell
    stacked: StackedTrial
    monitor: TrainingMonitor
    batches: SplitBatches
    backbone_tensor_ids: set[int]


def run_trials(
    cells: Sequence[Cell],
    store: Store,
    device: torch.device,
    progress: Mapping[str, ProgressCallback],
    notes: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Record]:
    """Run trials that differ only in their rates; yield each record when it is written.

    `progress` is called for each trial, by the digest of its cell. `notes` are stored in the
    environments of the records, with how the trial was trained and why.
    """
    left = {cell.digest: cell for cell in cells}
    reason = ""
    try:
        with numerics.arithmetic(cells[0].settings.recipe["precision"]):
            for record in _run_pass(cells, store, device, progress, notes):
                del left[record.settings.digest()]
                yield record
    except (Exception, SystemExit) as error:  # a trial alone records what it raises
        reason = _describe(error)
    for digest, cell in left.items():
        about = {**notes, TRAINED: f"alone: {reason}"}
        yield runner.run(cell, store, device, progress[digest], about)


def _describe(error: BaseException) -> str:
    if isinstance(error, Exception) and is_out_of_memory(error):
        return "memory ran out in one pass with others"
    return first_line(error) if isinstance(error, Exception) else type(error).__name__


def _run_pass(
    cells: Sequence[Cell],
    store: Store,
    device: torch.device,
    progress: Mapping[str, ProgressCallback],
    notes: Mapping[str, Any],
) -> Iterator[Record]:
    """Train the cells in one pass; yield the record of each when its training has ended."""
    about, start = devices.describe_environment(device) | dict(notes), perf_counter()
    about[TRAINED] = f"in one pass with {len(cells) - 1} other trials"
    devices.reset_peak_memory(device)
    started = runner.start_model(cells[0], device)
    batches = runner.make_batches(cells[0], started, device)
    trials = [_make_trial(cell, started, batches, progress[cell.digest]) for cell in cells]
    training = StackedTraining(
        [trial.stacked for trial in trials],
        started.model,
        _shared_ids(started),
        batches.train,
        cells[0].settings.recipe["precision"],
    )
    by_stacked = {id(trial.stacked): trial for trial in trials}
    begun = perf_counter()
    for stacked in training.fit():
        devices.synchronise(device)
        trial, tested = by_stacked[id(stacked)], sum(one.monitor.test_seconds for one in trials)
        seconds = (perf_counter() - begun - tested) / len(cells)
        result = results.catch_failures(partial(_measure, trial, started, store, device, seconds))
        spent = {"seconds": (perf_counter() - start) / len(cells)}
        environment = about | result.notes | spent
        yield results.write_record(trial.cell, store, result.outcome, result.failure, environment)


def _make_trial(
    cell: Cell, started: StartedModel, batches: SplitBatches, progress: ProgressCallback
) -> _Trial:
    """Make a trial with a copy of the model, which shares what no trial changes."""
    model, monitor = copy_model(started.model, _shared_ids(started)), TrainingMonitor()
    precision = cell.settings.recipe["precision"]
    test = FeatureCache(batches.test.batches, precision, batches.test.passes)
    stacked = StackedTrial(
        model,
        cell.method,
        cell.recipe,
        cell.settings.rates["lr"],
        runner.evaluate_after(cell, model, test, monitor, progress),
    )
    return _Trial(
        cell, stacked, monitor, SplitBatches(batches.train, test), _ids_in_copy(model, started)
    )


def _shared_ids(started: StartedModel) -> set[int]:
    """Return the identities of the backbone's weights that are not trained."""
    frozen = {id(p) for p in started.model.parameters() if not p.requires_grad}
    return frozen & started.backbone_tensor_ids


def _ids_in_copy(model: Model, started: StartedModel) -> set[int]:
    """Return the identities of a copy's tensors whose originals came with the backbone."""
    known, copied = started.backbone_tensor_ids, model.state_dict(keep_vars=True)
    original = started.model.state_dict(keep_vars=True)
    return {id(copied[name]) for name, tensor in original.items() if id(tensor) in known}


def _measure(
    trial: _Trial, started: StartedModel, store: Store, device: torch.device, seconds: float
) -> MeasuredOutcome:
    """Measure the outcome of a trial that has ended; raises its failure."""
    if trial.stacked.failure:
        raise trial.stacked.failure
    trained = TrainedModel(
        trial.stacked.model,
        trial.backbone_tensor_ids,
        trial.stacked.losses,
        trial.monitor,
        len(started.eval_examples),
        started.init,
        seconds,
        trial.batches.loading_notes(),
    )
    return runner.measure(trial.cell, trained, store, device)
