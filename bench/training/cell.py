from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config.recipe import Recipe
from bench.config.suite import Split, Suite, Task
from bench.models.backbones import Backbone
from bench.records.schema import Settings, TuningResult
from methods import Method


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
    prompt_task: Task | None = None  # whose images `prepare` sees; None: the cell's own task's
    train_split: Split = "trainval"
    eval_split: Split = "test"
    tuned: TuningResult | None = None  # the trials that chose its rates
    measurements: tuple[str, ...] = ()  # the measurements that a study takes of it
    data_warnings: tuple[str, ...] = ()  # what is odd about its data, and no reason to refuse them
