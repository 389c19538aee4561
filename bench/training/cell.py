"""A cell: one method, backbone, task and seed with all that a run of it needs, and its data."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from bench.config.recipe import Recipe, Views
from bench.config.suite import Shift, Split, Suite, Task
from bench.data import splits
from bench.data.distributed import SINGLE_PROCESS, ProcessGroup
from bench.data.loader import BatchLoader
from bench.data.splits import Examples
from bench.data.transforms import Transform
from bench.models import backbones
from bench.models.backbones import Backbone
from bench.records.schema import Settings, TuningResult
from methods import Method


@dataclass(frozen=True)
class Cell:
    """One run to do: the settings, which its record repeats, and the objects that they describe."""

    settings: Settings
    suite: Suite
    task: Task
    method: Method
    backbone: Backbone
    recipe: Recipe
    root: Path  # of the data
    variant: str | None  # of the data, as requested
    request: dict[str, Any]  # the names, as on the command line, that ask for this cell
    prompt_task: Task | None = None  # whose images `prepare` gets; None: the cell's own task's
    train_split: Split = "trainval"
    eval_split: Split = "test"
    tuned: TuningResult | None = None  # the trials that chose its rates
    measurements: tuple[str, ...] = ()  # the measurements that a study takes of it
    data_warnings: tuple[str, ...] = ()  # oddities of its data that are no reason to refuse them

    @cached_property
    def digest(self) -> str:
        """The cell's name; hashed once, for a plan asks many times for it."""
        return self.settings.digest()

    @property
    def shifts(self) -> list[Shift]:
        """The further test sets that it is scored on: none, if it is a trial."""
        return self.suite.shifts_of(self.task) if self.eval_split == "test" else []

    @property
    def views(self) -> Views:
        """The recipe's transforms for the cell's suite."""
        return self.recipe.views_for(self.suite.name)


def load_split(cell: Cell, split: Split, task: Task | None = None) -> Examples:
    """Load a split of the cell's task, or of another `task` of its suite."""
    return splits.load_split(cell.suite, task or cell.task, split, cell.root, cell.variant)


def load_training_examples(cell: Cell, split: Split) -> Examples:
    """Load the examples of a split that the cell is trained on: the recipe's share of them."""
    examples, share = load_split(cell, split), cell.recipe.train_share
    if share == 1:
        return examples
    return splits.stratified_subset(examples, share, cell.settings.seed)


def make_loader(
    cell: Cell,
    examples: Examples,
    geometry: str,
    device: torch.device,
    shuffle_seed: int | None = None,
    process_group: ProcessGroup = SINGLE_PROCESS,
) -> BatchLoader:
    """Make a loader with the backbone's image size and the recipe's transform and normalisation.

    It shuffles only with a `shuffle_seed`.
    """
    mean, std = backbones.normalisation(cell.backbone, cell.recipe)
    generator = None if shuffle_seed is None else torch.Generator().manual_seed(shuffle_seed)
    return BatchLoader(
        examples,
        Transform(geometry, cell.views.interpolation),
        cell.backbone.input.size,
        cell.recipe.batch,
        mean,
        std,
        device,
        generator,
        process_group,
    )


def make_test_loader(cell: Cell, device: torch.device) -> BatchLoader:
    """Make the loader of the cell's eval split."""
    return make_loader(cell, load_split(cell, cell.eval_split), cell.views.test, device)
