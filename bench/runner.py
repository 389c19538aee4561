"""One cell: a method on a backbone, a task and a seed becomes a record."""

import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from timm.models import VisionTransformer

import methods
from bench import backbones, checkpoints, compiling, data, environment, fitting, moments, trainer
from bench.backbones import Backbone
from bench.batches import Batches
from bench.cards import Recipe, Suite
from bench.crew import ALONE, Crew
from bench.data import Examples
from bench.errors import first_line
from bench.features import Features
from bench.moments import Observe, Progress, Watch
from bench.predictions import Predictions
from bench.records import Failure, Outcome, Record, Settings, Store, Tuned, write_atomically
from bench.tasks import Split, Task
from bench.views import View
from methods import Method, Unsupported
from methods.memory import Spilled, ran_out

ORDER = 1_000_003  # keeps the generator of the batches' order apart from the one that draws weights


@dataclass(frozen=True)
class Cell:
    """What is to be run, with everything that it needs at hand."""

    settings: Settings
    suite: Suite
    task: Task
    method: Method
    backbone: Backbone
    recipe: Recipe
    root: Path  # of the data
    variant: str | None  # of the data, as asked for
    request: dict[str, Any]  # the names, as the command line has them, that ask for this cell
    prompts_from: Task | None = None  # whose images `prepare` sees; None: the cell's own task's
    learnt: Split = "trainval"
    scored: Split = "test"
    tuned: Tuned | None = None  # the trials that chose its rates
    observed: tuple[str, ...] = ()  # the measurements that a study takes of it
    data_warnings: tuple[str, ...] = ()  # what is odd about its data, and no reason to refuse them


Measured = tuple[Outcome | None, dict[str, Any]]
"""What was measured, where this process is the one that measures; and what to keep beside it."""


@dataclass(frozen=True)
class Ending:
    """How a cell ended, and what is kept beside what the record says of where it ran."""

    outcome: Outcome | None
    failure: Failure | None
    kept: dict[str, Any] = field(default_factory=dict)


def run(
    cell: Cell,
    store: Store,
    device: torch.device,
    progress: Progress,
    more: Mapping[str, Any] = MappingProxyType({}),
    observe: Observe | None = None,
) -> Record:
    """Run one cell and keep its record; what goes wrong becomes a record of that.

    `more` is kept beside what the record says of where it ran. `observe` sees the model before the
    first epoch and after each.
    """
    about, start = environment.describe(device) | dict(more), perf_counter()
    ending = attempt(partial(measure, cell, store, device, progress, observe=observe))
    about |= {**ending.kept, "seconds": perf_counter() - start}
    return keep(cell, store, ending.outcome, ending.failure, about)


def attempt(work: Callable[[], Measured]) -> Ending:
    """How the work ends, whatever it raises."""
    try:
        outcome, kept = work()
        return Ending(outcome, None, kept)
    except Unsupported as error:
        return Ending(None, _unsupported(error))
    except SystemExit as error:
        said = f"the cell ended its process, with status {error.code}"
        return Ending(None, Failure("failed", "SystemExit", said, traceback.format_exc()))
    except Exception as error:
        found = Failure("failed", _kind(error), first_line(error), traceback.format_exc())
        return Ending(None, found)


def _unsupported(error: Unsupported) -> Failure:
    """What a method says; or what it raised instead, with its place."""
    kind = type(error.__cause__ or error).__name__
    said = traceback.format_exc() if error.__cause__ else ""
    return Failure("unsupported", kind, str(error), said)


def keep(
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
    former = store.find(cell.settings) if cell.observed and failure else None
    if former is None or not former.ok:  # what cannot be observed keeps the record that it has
        store.write(record)
    return record


def _kind(error: Exception) -> str:
    """The name of what went wrong; memory that runs out has one name wherever it does."""
    return "OutOfMemory" if ran_out(error) else type(error).__name__


@dataclass(frozen=True)
class Start:
    """How the method's `prepare` went."""

    seconds: float
    images: int  # that it looked at
    spilled: list[str]  # what did not fit into memory


@dataclass(frozen=True)
class Trained:
    """A model after its last epoch, and what its training showed."""

    model: VisionTransformer
    bare: set[int]  # what marks the tensors that came with the backbone
    losses: list[float]  # mean, an epoch
    watch: Watch
    scored_images: int
    start: Start
    train_seconds: float
    kept: dict[str, str]  # what of each split was computed once: features, or nothing and why


def train(
    cell: Cell,
    device: torch.device,
    progress: Progress,
    crew: Crew = ALONE,
    observe: Observe | None = None,
) -> Trained:
    """Train the cell's model on the split that it learns, scoring it on the one that it scores.

    Every process of a crew calls this, and has the same model in the end. Raises `Unsupported`,
    before any compute, where the method does not fit the backbone.
    """
    fitting.require(cell.backbone, cell.method)
    images, scored = learnt(cell, cell.learnt), _read(cell, cell.scored)
    torch.manual_seed(cell.settings.seed)
    model = backbones.load(cell.backbone, cell.task.classes, cell.recipe)
    backbones.placed(model, device)
    bare = checkpoints.identities(model)
    shown = _read(cell, cell.learnt, cell.prompts_from) if cell.prompts_from else images
    begun = _prepare(cell, model, shown, device)
    model.to(device)
    crew.start(model)
    watch = Watch()
    tell = moments.teller(model, device, watch, progress, observe)
    with compiling.compiled(model) if cell.recipe.compile else nullcontext():
        losses, kept = _fit(cell, model, images, scored, device, watch, tell, crew)
    environment.synchronise(device)
    seconds = watch.trained()
    return Trained(model, bare, losses, watch, len(scored), begun, seconds, kept)


def measure(
    cell: Cell,
    store: Store,
    device: torch.device,
    progress: Progress,
    crew: Crew = ALONE,
    observe: Observe | None = None,
) -> Measured:
    """Train the cell for its record; its predictions go to the store."""
    environment.reset_peak_memory(device)
    done = train(cell, device, progress, crew, observe)
    best, last = done.watch.best(), done.watch.scores[cell.recipe.epochs]
    head = sum(p.numel() for p in done.model.get_classifier().parameters())
    trainable = sum(p.numel() for p in done.model.parameters() if p.requires_grad)
    outcome = Outcome(
        accuracy=last.accuracy,
        best_epoch_accuracy=done.watch.scores[best].accuracy,
        best_epoch=best,
        test_images=done.scored_images,
        method_params=trainable - head,
        head_params=head,
        init_seconds=done.start.seconds,
        init_images=done.start.images,
        train_seconds=done.train_seconds,
        test_seconds=done.watch.seconds,
        peak_memory_mb=environment.peak_memory_mb(device),
        losses=done.losses,
        test_accuracies={str(epoch): s.accuracy for epoch, s in done.watch.scores.items()},
        predictions=_keep(last, cell, store),
    )
    spilled = {"spilled": "; ".join(done.start.spilled)} if done.start.spilled else {}
    return outcome, {**done.kept, **spilled}


def _read(cell: Cell, split: Split, task: Task | None = None) -> Examples:
    """A split of the cell's task, or of another `task` of its suite."""
    return data.read(cell.suite, task or cell.task, split, cell.root, cell.variant)


def learnt(cell: Cell, split: Split) -> Examples:
    """The examples of a split that the cell learns from: the recipe's share of them."""
    whole, share = _read(cell, split), cell.recipe.train_share
    return whole if share == 1 else data.part(whole, share, cell.settings.seed)


def batches(
    cell: Cell,
    examples: Examples,
    geometry: str,
    device: torch.device,
    order: int | None,
    crew: Crew = ALONE,
) -> Batches:
    """The examples as the cell's backbone and recipe want them; `order` seeds the shuffling."""
    mean, std = backbones.normalisation(cell.backbone, cell.recipe)
    size = cell.backbone.input.size
    view = View(geometry, cell.recipe.view(cell.suite.name).interpolation)
    generator = None if order is None else torch.Generator().manual_seed(order)
    return Batches(examples, view, size, cell.recipe.batch, mean, std, device, generator, crew)


def test_batches(cell: Cell, device: torch.device) -> Batches:
    """The images that the cell scores, as it does."""
    view = cell.recipe.view(cell.suite.name).test
    return batches(cell, _read(cell, cell.scored), view, device, None)


def _prepare(
    cell: Cell, model: VisionTransformer, examples: Examples, device: torch.device
) -> Start:
    views = cell.recipe.view(cell.suite.name)
    shown = batches(cell, examples, views.test, device, cell.settings.seed)
    environment.synchronise(device)
    start = perf_counter()
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always", Spilled)  # in each cell of a process, not in its first
        cell.method.prepare(model, shown)
    environment.synchronise(device)
    seconds = perf_counter() - start
    for one in given:
        warnings.showwarning(one.message, one.category, one.filename, one.lineno)
    spilled = [str(one.message) for one in given if issubclass(one.category, Spilled)]
    return Start(seconds, shown.passed, spilled)


def _fit(
    cell: Cell,
    model: VisionTransformer,
    learnt: Examples,
    scored: Examples,
    device: torch.device,
    watch: Watch,
    progress: Progress,
    crew: Crew,
) -> tuple[list[float], dict[str, str]]:
    """The mean loss of each epoch, and of each split how its images and features were read."""
    views, recipe = cell.recipe.view(cell.suite.name), cell.recipe
    wanted, precision = evaluated_epochs(recipe), cell.settings.recipe["precision"]
    shown = batches(cell, scored, views.test, device, None, crew)
    to_score = Features(shown, precision, len(wanted))
    learnable = batches(cell, learnt, views.train, device, cell.settings.seed + ORDER, crew)
    to_learn = Features(learnable, precision, recipe.epochs)

    def after_epoch(epoch: int, loss: float) -> None:
        if epoch in wanted:
            start = perf_counter()
            watch.scores[epoch] = trainer.predict(model, to_score, precision)
            watch.seconds += perf_counter() - start
        progress(epoch, loss, watch.accuracy(epoch))

    lr = cell.settings.rates["lr"]
    losses = trainer.fit(model, cell.method, to_learn, recipe, lr, precision, after_epoch)
    return losses, {
        "read_in_training": to_learn.note,
        "read_in_testing": to_score.note,
        "images_in_training": learnable.note,
        "images_in_testing": shown.note,
    }


def evaluated_epochs(recipe: Recipe) -> set[int]:
    """The epochs after which test is scored: evenly spaced, the last among them."""
    count = min(recipe.test_evaluations, recipe.epochs)
    return {round(recipe.epochs * (i + 1) / count) for i in range(count)}


def _keep(last: trainer.Predictions, cell: Cell, store: Store) -> str:
    """Write the predicted and the right classes beside the records; what stands for the former."""
    classes, labels = (part.numpy().astype(np.int16) for part in (last.classes, last.labels))
    kept = Predictions(classes, labels)
    write_atomically(store.predictions_path(cell.settings), kept.content())
    return kept.sha256()
