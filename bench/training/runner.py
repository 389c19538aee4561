"""One cell: a method on a backbone, a task and a seed becomes a record."""

import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from timm.models import VisionTransformer

import methods
from bench.config.recipe import Recipe
from bench.config.suite import Split, Task
from bench.data import splits
from bench.data.distributed import SINGLE_PROCESS, ProcessGroup
from bench.data.loader import BatchLoader
from bench.data.splits import Examples
from bench.data.transforms import Transform
from bench.models import backbones, compatibility, compilation, weight_files
from bench.records.schema import Failure, Outcome, Record
from bench.records.store import Predictions, Store
from bench.training import callbacks, devices, trainer
from bench.training.callbacks import Callback, ProgressCallback, TrainingMonitor
from bench.training.cell import Cell
from bench.training.feature_cache import FeatureCache
from bench.utils.errors import first_line
from bench.utils.files import write_atomically
from methods import Unsupported
from methods.shared.memory import SpillWarning, is_out_of_memory

SHUFFLE_SEED_OFFSET = (
    1_000_003  # keeps the generator of the batches' order apart from the one that draws weights
)


MeasuredOutcome = tuple[Outcome | None, dict[str, Any]]
"""What was measured, where this process is the one that measures; and what to keep beside it."""


@dataclass(frozen=True)
class RunResult:
    """How a cell ended, and what is kept beside what the record says of where it ran."""

    outcome: Outcome | None
    failure: Failure | None
    notes: dict[str, Any] = field(default_factory=dict)


def run(
    cell: Cell,
    store: Store,
    device: torch.device,
    progress: ProgressCallback,
    more: Mapping[str, Any] = MappingProxyType({}),
    observe: Callback | None = None,
) -> Record:
    """Run one cell and keep its record; what goes wrong becomes a record of that.

    `more` is kept beside what the record says of where it ran. `observe` sees the model before the
    first epoch and after each.
    """
    about, start = devices.describe_environment(device) | dict(more), perf_counter()
    ending = catch_failures(
        partial(train_and_evaluate, cell, store, device, progress, observe=observe)
    )
    about |= {**ending.notes, "seconds": perf_counter() - start}
    return write_record(cell, store, ending.outcome, ending.failure, about)


def catch_failures(work: Callable[[], MeasuredOutcome]) -> RunResult:
    """How the work ends, whatever it raises."""
    try:
        outcome, kept = work()
        return RunResult(outcome, None, kept)
    except Unsupported as error:
        return RunResult(None, _unsupported_failure(error))
    except SystemExit as error:
        said = f"the cell ended its process, with status {error.code}"
        return RunResult(None, Failure("failed", "SystemExit", said, traceback.format_exc()))
    except Exception as error:
        found = Failure("failed", _error_name(error), first_line(error), traceback.format_exc())
        return RunResult(None, found)


def _unsupported_failure(error: Unsupported) -> Failure:
    """What a method says; or what it raised instead, with its place."""
    kind = type(error.__cause__ or error).__name__
    said = traceback.format_exc() if error.__cause__ else ""
    return Failure("unsupported", kind, str(error), said)


def write_record(
    cell: Cell,
    store: Store,
    outcome: Outcome | None,
    failure: Failure | None,
    about: dict[str, Any],
) -> Record:
    """Write the record of a cell that ended so."""
    remark = methods.remark(cell.settings.method)
    about = about | {"data_warnings": list(cell.data_warnings)}
    parts = (cell.settings, cell.task.group, outcome, failure, about, cell.request, remark)
    record = Record(*parts, tuned=cell.tuned)
    former = store.find(cell.settings) if cell.measurements and failure else None
    if former is None or not former.ok:  # what cannot be observed keeps the record that it has
        store.write(record)
    return record


def _error_name(error: Exception) -> str:
    """The name of what went wrong; memory that runs out has one name wherever it does."""
    return "OutOfMemory" if is_out_of_memory(error) else type(error).__name__


@dataclass(frozen=True)
class InitStats:
    """How the method's `prepare` went."""

    seconds: float
    images: int  # that it looked at
    spilled: list[str]  # what did not fit into memory


@dataclass(frozen=True)
class TrainedModel:
    """A model after its last epoch, and what its training showed."""

    model: VisionTransformer
    backbone_tensor_ids: set[int]  # what marks the tensors that came with the backbone
    losses: list[float]  # mean, an epoch
    monitor: TrainingMonitor
    scored_images: int
    init: InitStats
    train_seconds: float
    loading_notes: dict[
        str, str
    ]  # what of each split was computed once: features, or nothing and why


def train(
    cell: Cell,
    device: torch.device,
    progress: ProgressCallback,
    crew: ProcessGroup = SINGLE_PROCESS,
    observe: Callback | None = None,
) -> TrainedModel:
    """Train the cell's model on the split that it learns, scoring it on the one that it scores.

    Every process of a crew calls this, and has the same model in the end. Raises `Unsupported`,
    before any compute, where the method does not fit the backbone.
    """
    compatibility.require_attachable(cell.backbone, cell.method)
    images, scored = (
        load_training_examples(cell, cell.train_split),
        _load_split(cell, cell.eval_split),
    )
    torch.manual_seed(cell.settings.seed)
    model = backbones.load(cell.backbone, cell.task.classes, cell.recipe)
    backbones.move_to_device(model, device)
    bare = weight_files.tensor_ids(model)
    shown = _load_split(cell, cell.train_split, cell.prompt_task) if cell.prompt_task else images
    begun = _init_method(cell, model, shown, device)
    model.to(device)
    crew.broadcast_model(model)
    watch = TrainingMonitor()
    tell = callbacks.epoch_end_callback(model, device, watch, progress, observe)
    with compilation.compiled_blocks(model) if cell.recipe.compile else nullcontext():
        losses, kept = _fit(cell, model, images, scored, device, watch, tell, crew)
    devices.synchronise(device)
    seconds = watch.train_seconds()
    return TrainedModel(model, bare, losses, watch, len(scored), begun, seconds, kept)


def train_and_evaluate(
    cell: Cell,
    store: Store,
    device: torch.device,
    progress: ProgressCallback,
    crew: ProcessGroup = SINGLE_PROCESS,
    observe: Callback | None = None,
) -> MeasuredOutcome:
    """Train the cell for its record; its predictions go to the store."""
    devices.reset_peak_memory(device)
    done = train(cell, device, progress, crew, observe)
    best, last = done.monitor.best_epoch(), done.monitor.evaluations[cell.recipe.epochs]
    head = sum(p.numel() for p in done.model.get_classifier().parameters())
    trainable = sum(p.numel() for p in done.model.parameters() if p.requires_grad)
    outcome = Outcome(
        accuracy=last.accuracy,
        best_epoch_accuracy=done.monitor.evaluations[best].accuracy,
        best_epoch=best,
        test_images=done.scored_images,
        method_params=trainable - head,
        head_params=head,
        init_seconds=done.init.seconds,
        init_images=done.init.images,
        train_seconds=done.train_seconds,
        test_seconds=done.monitor.test_seconds,
        peak_memory_mb=devices.peak_memory_mb(device),
        losses=done.losses,
        test_accuracies={str(epoch): s.accuracy for epoch, s in done.monitor.evaluations.items()},
        predictions=_write_predictions(last, cell, store),
    )
    spilled = {"spilled": "; ".join(done.init.spilled)} if done.init.spilled else {}
    return outcome, {**done.loading_notes, **spilled}


def _load_split(cell: Cell, split: Split, task: Task | None = None) -> Examples:
    """A split of the cell's task, or of another `task` of its suite."""
    return splits.load_split(cell.suite, task or cell.task, split, cell.root, cell.variant)


def load_training_examples(cell: Cell, split: Split) -> Examples:
    """The examples of a split that the cell learns from: the recipe's share of them."""
    whole, share = _load_split(cell, split), cell.recipe.train_share
    return whole if share == 1 else splits.stratified_subset(whole, share, cell.settings.seed)


def make_loader(
    cell: Cell,
    examples: Examples,
    geometry: str,
    device: torch.device,
    order: int | None,
    crew: ProcessGroup = SINGLE_PROCESS,
) -> BatchLoader:
    """The examples as the cell's backbone and recipe want them; `order` seeds the shuffling."""
    mean, std = backbones.normalisation(cell.backbone, cell.recipe)
    size = cell.backbone.input.size
    view = Transform(geometry, cell.recipe.views_for(cell.suite.name).interpolation)
    generator = None if order is None else torch.Generator().manual_seed(order)
    return BatchLoader(examples, view, size, cell.recipe.batch, mean, std, device, generator, crew)


def make_test_loader(cell: Cell, device: torch.device) -> BatchLoader:
    """The images that the cell scores, as it does."""
    view = cell.recipe.views_for(cell.suite.name).test
    return make_loader(cell, _load_split(cell, cell.eval_split), view, device, None)


def _init_method(
    cell: Cell, model: VisionTransformer, examples: Examples, device: torch.device
) -> InitStats:
    views = cell.recipe.views_for(cell.suite.name)
    shown = make_loader(cell, examples, views.test, device, cell.settings.seed)
    devices.synchronise(device)
    start = perf_counter()
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always", SpillWarning)  # in each cell of a process, not in its first
        cell.method.prepare(model, shown)
    devices.synchronise(device)
    seconds = perf_counter() - start
    for one in given:
        warnings.showwarning(one.message, one.category, one.filename, one.lineno)
    spilled = [str(one.message) for one in given if issubclass(one.category, SpillWarning)]
    return InitStats(seconds, shown.images_served, spilled)


def _fit(
    cell: Cell,
    model: VisionTransformer,
    learnt: Examples,
    scored: Examples,
    device: torch.device,
    watch: TrainingMonitor,
    progress: ProgressCallback,
    crew: ProcessGroup,
) -> tuple[list[float], dict[str, str]]:
    """The mean loss of each epoch, and of each split how its images and features were read."""
    views, recipe = cell.recipe.views_for(cell.suite.name), cell.recipe
    wanted, precision = evaluation_epochs(recipe), cell.settings.recipe["precision"]
    shown = make_loader(cell, scored, views.test, device, None, crew)
    to_score = FeatureCache(shown, precision, len(wanted))
    learnable = make_loader(
        cell, learnt, views.train, device, cell.settings.seed + SHUFFLE_SEED_OFFSET, crew
    )
    to_learn = FeatureCache(learnable, precision, recipe.epochs)

    def after_epoch(epoch: int, loss: float) -> None:
        if epoch in wanted:
            start = perf_counter()
            watch.evaluations[epoch] = trainer.evaluate(model, to_score, precision)
            watch.test_seconds += perf_counter() - start
        progress(epoch, loss, watch.accuracy(epoch))

    lr = cell.settings.rates["lr"]
    losses = trainer.fit(model, cell.method, to_learn, recipe, lr, precision, after_epoch)
    return losses, {
        "read_in_training": to_learn.note,
        "read_in_testing": to_score.note,
        "images_in_training": learnable.note,
        "images_in_testing": shown.note,
    }


def evaluation_epochs(recipe: Recipe) -> set[int]:
    """The epochs after which test is scored: evenly spaced, the last among them."""
    count = min(recipe.test_evaluations, recipe.epochs)
    return {round(recipe.epochs * (i + 1) / count) for i in range(count)}


def _write_predictions(last: trainer.EvaluationResult, cell: Cell, store: Store) -> str:
    """Write the predicted and the right classes beside the records; what stands for the former."""
    classes, labels = (part.numpy().astype(np.int16) for part in (last.classes, last.labels))
    kept = Predictions(classes, labels)
    write_atomically(store.predictions_path(cell.settings), kept.to_bytes())
    return kept.sha256()
