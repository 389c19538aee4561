"""Run one cell: train and evaluate its model, and write the result as a record.

In the order of the calls: `run` (a Cell becomes a Record), `train_and_evaluate`, `train`, and the
stages of a training.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from types import MappingProxyType
from typing import Any

import torch

from bench.config.recipe import Recipe
from bench.data.distributed import SINGLE_PROCESS, ProcessGroup
from bench.data.splits import Examples
from bench.models import backbones, compatibility, compilation, weight_files
from bench.models.training_tensors import TrainingTensors
from bench.records import serialising
from bench.records.schema import Outcome, Record
from bench.records.store import Store
from bench.training import callbacks, devices, numerics, results, trainer
from bench.training.callbacks import Callback, ProgressCallback, TrainingMonitor
from bench.training.cell import Cell, load_split, load_training_examples, make_loader
from bench.training.checkpoints import Checkpoints, checkpoints_of
from bench.training.feature_cache import FeatureCache
from bench.training.ongoing import OngoingTraining, SplitBatches
from bench.training.results import MeasuredOutcome
from bench.training.scored_sets import predictions_of, score_shifts
from bench.training.start import NOT_TAKEN, InitStats, initialise
from bench.training.trainer import TrainingState
from methods.shared.base import Model
from methods.shared.structure import heads_of

SHUFFLE_SEED_OFFSET = 1_000_003  # separates the generator of the batch order from the weights'


@dataclass(frozen=True)
class StartedModel:
    """A model before its first epoch, and the images that it is trained and evaluated on."""

    model: Model
    backbone_tensor_ids: set[int]  # of the tensors that came with the backbone
    init: InitStats
    train_examples: Examples
    eval_examples: Examples


@dataclass(frozen=True)
class TrainedModel:
    """A model after its last epoch, and the course of its training."""

    model: Model
    backbone_tensor_ids: set[int]  # of the tensors that came with the backbone
    losses: list[float]  # mean per epoch
    monitor: TrainingMonitor
    eval_images: int
    init: InitStats
    train_seconds: float
    loading_notes: dict[str, str]


def run(
    cell: Cell,
    store: Store,
    device: torch.device,
    progress: ProgressCallback,
    notes: Mapping[str, Any] = MappingProxyType({}),
    callback: Callback | None = None,
    checkpoint_every: float | None = None,
) -> Record:
    """Run one cell and write its record; a failure is recorded as well.

    `notes` are stored in the record's environment. `callback` gets the model before the first epoch
    and after each. With `checkpoint_every` (seconds), the cell goes on from its checkpoint, if
    there is one, and writes others.
    """
    environment, start = devices.describe_environment(device) | dict(notes), perf_counter()
    checkpoints = checkpoints_of(cell, store, device, checkpoint_every)
    work = partial(train_and_evaluate, cell, store, device, progress, checkpoints=checkpoints)
    result = results.catch_failures(partial(work, callback=callback))
    environment |= results.described(result, perf_counter() - start)
    return results.write_record(cell, store, result.outcome, result.failure, environment)


def train_and_evaluate(
    cell: Cell,
    store: Store,
    device: torch.device,
    progress: ProgressCallback,
    process_group: ProcessGroup = SINGLE_PROCESS,
    callback: Callback | None = None,
    checkpoints: Checkpoints | None = None,
) -> MeasuredOutcome:
    """Train the cell's model and measure its outcome; writes the predictions to the store."""
    devices.reset_peak_memory(device)
    trained = train(cell, device, progress, process_group, callback, checkpoints)
    return measure(cell, trained, store, device, process_group, checkpoints)


def measure(
    cell: Cell,
    trained: TrainedModel,
    store: Store,
    device: torch.device,
    process_group: ProcessGroup = SINGLE_PROCESS,
    checkpoints: Checkpoints | None = None,
) -> MeasuredOutcome:
    """Measure the outcome of a trained model; writes its predictions to the store."""
    evaluations, best = trained.monitor.evaluations, trained.monitor.best_epoch()
    last = evaluations[cell.recipe.epochs]
    head_params = sum(p.numel() for p in heads_of(trained.model).parameters())
    trainable = sum(p.numel() for p in trained.model.parameters() if p.requires_grad)
    kept = predictions_of(last)
    store.write_predictions(cell.settings, kept)
    outcome = Outcome(
        accuracy=last.accuracy,
        best_epoch_accuracy=evaluations[best].accuracy,
        best_epoch=best,
        test_images=trained.eval_images,
        method_params=trainable - head_params,
        head_params=head_params,
        init_seconds=trained.init.seconds,
        init_images=trained.init.images,
        train_seconds=trained.train_seconds,
        test_seconds=trained.monitor.test_seconds,
        peak_memory_mb=(
            checkpoints.peak_memory_mb() if checkpoints else devices.peak_memory_mb(device)
        ),
        losses=trained.losses,
        test_accuracies={str(epoch): e.accuracy for epoch, e in evaluations.items()},
        predictions=kept.sha256(),
        stored_bytes=weight_files.num_bytes(
            weight_files.stored_tensors(cell.method, trained.model, trained.backbone_tensor_ids)
        ),
        shifts=score_shifts(cell, trained.model, store, device, process_group),
    )
    serialising.require_readable(outcome)
    spilled = {"spilled": "; ".join(trained.init.spilled)} if trained.init.spilled else {}
    resumed = checkpoints.notes() if checkpoints else {}
    return outcome, {**trained.loading_notes, **spilled, **resumed}


def train(
    cell: Cell,
    device: torch.device,
    progress: ProgressCallback,
    process_group: ProcessGroup = SINGLE_PROCESS,
    callback: Callback | None = None,
    checkpoints: Checkpoints | None = None,
) -> TrainedModel:
    """Train the cell's model on its train split, evaluating it on its eval split.

    Every process of the group calls this, and ends with the same model. Training goes on from the
    cell's checkpoint, if there is one to go on from. Raises `Unsupported`, before any compute, if
    the method does not support the backbone.
    """
    with numerics.arithmetic(cell.settings.recipe["precision"]):
        return _train(cell, device, progress, process_group, callback, checkpoints)


def _train(
    cell: Cell,
    device: torch.device,
    progress: ProgressCallback,
    process_group: ProcessGroup,
    callback: Callback | None,
    checkpoints: Checkpoints | None,
) -> TrainedModel:
    begin = partial(_begin, cell, device, process_group)
    training = (checkpoints.resume(begin) if checkpoints else None) or begin()
    model, monitor = training.model, training.monitor
    after_epoch = callbacks.epoch_end_callback(model, device, monitor, progress, callback)
    for epoch, loss in enumerate(training.state.losses, start=1):
        progress(epoch, loss, monitor.accuracy(epoch))
    with compilation.compiled_blocks(model) if cell.recipe.compile else nullcontext():
        losses = _fit(cell, training, after_epoch, checkpoints)
    devices.synchronise(device)
    return TrainedModel(
        model,
        training.tensors.backbone_ids,
        losses,
        monitor,
        training.eval_images,
        training.init,
        monitor.train_seconds(),
        training.batches.loading_notes(),
    )


def _begin(
    cell: Cell,
    device: torch.device,
    process_group: ProcessGroup,
    load: Callable[[TrainingTensors], None] | None = None,
) -> OngoingTraining:
    """Build the model, its batches and its optimiser, as they are before the first epoch.

    With `load`, which puts a checkpoint's tensors into it, the model is not initialised from data.
    """
    started = start_model(cell, device, is_loaded=load is not None)
    model = started.model
    process_group.broadcast_model(model)
    tensors = TrainingTensors.of_untrained(cell.method, model, started.backbone_tensor_ids)
    if load:
        load(tensors)
    batches = make_batches(cell, started, device, process_group)
    lr = cell.settings.rates["lr"]
    state = TrainingState.at_start(model, cell.method, cell.recipe, lr, len(batches.train))
    return OngoingTraining(
        model,
        tensors,
        started.init,
        batches,
        len(started.eval_examples),
        state,
        TrainingMonitor(),
    )


def start_model(cell: Cell, device: torch.device, is_loaded: bool = False) -> StartedModel:
    """Load the cell's data and its model, and initialise the method; raises as `train` does.

    A model that `is_loaded` from a checkpoint next is not initialised from data.
    """
    compatibility.require_attachable(cell.backbone, cell.method)
    train_examples = load_training_examples(cell, cell.train_split)
    eval_examples = load_split(cell, cell.eval_split)
    torch.manual_seed(cell.settings.seed)
    model = backbones.load(cell.backbone, cell.task.classes, cell.recipe)
    backbones.move_to_device(model, device)
    tensor_ids = weight_files.tensor_ids(model)
    if is_loaded:
        cell.method.attach(model)
    init = NOT_TAKEN if is_loaded else initialise(cell, model, train_examples, device)
    model.to(device)
    return StartedModel(model, tensor_ids, init, train_examples, eval_examples)


def make_batches(
    cell: Cell,
    started: StartedModel,
    device: torch.device,
    process_group: ProcessGroup = SINGLE_PROCESS,
) -> SplitBatches:
    """Make the batches of the cell's training and of its evaluations."""
    train_examples, eval_examples = started.train_examples, started.eval_examples
    recipe, precision = cell.recipe, cell.settings.recipe["precision"]
    test = make_loader(cell, eval_examples, cell.views.test, device, None, process_group)
    seed = cell.settings.seed + SHUFFLE_SEED_OFFSET
    train = make_loader(cell, train_examples, cell.views.train, device, seed, process_group)
    return SplitBatches(
        FeatureCache(train, precision, recipe.epochs),
        FeatureCache(test, precision, len(evaluation_epochs(recipe))),
    )


def _fit(
    cell: Cell,
    training: OngoingTraining,
    progress: ProgressCallback,
    checkpoints: Checkpoints | None,
) -> list[float]:
    """Train the model, evaluating it into the monitor; return the mean loss of each epoch."""
    model, batches = training.model, training.batches
    evaluate = evaluate_after(cell, model, batches.test, training.monitor, progress)

    def after_epoch(epoch: int, loss: float) -> None:
        evaluate(epoch, loss)
        if checkpoints:
            checkpoints.write_if_due(training)

    lr, precision = cell.settings.rates["lr"], cell.settings.recipe["precision"]
    parts = batches.train, cell.recipe, lr, precision
    return trainer.fit(model, cell.method, *parts, after_epoch, training.state)


def evaluate_after(
    cell: Cell,
    model: Model,
    test: FeatureCache,
    monitor: TrainingMonitor,
    progress: ProgressCallback,
) -> Callable[[int, float], None]:
    """Return the function that evaluates the model after an epoch, where it is due, and reports."""
    evaluated, precision = evaluation_epochs(cell.recipe), cell.settings.recipe["precision"]

    def after_epoch(epoch: int, loss: float) -> None:
        if epoch in evaluated:
            start = perf_counter()
            monitor.evaluations[epoch] = trainer.evaluate(model, test, precision)
            monitor.test_seconds += perf_counter() - start
        progress(epoch, loss, monitor.accuracy(epoch))

    return after_epoch


def evaluation_epochs(recipe: Recipe) -> set[int]:
    """Return the epochs after which the model is evaluated: evenly spaced, including the last."""
    count = min(recipe.test_evaluations, recipe.epochs)
    return {round(recipe.epochs * (i + 1) / count) for i in range(count)}
