"""The first steps of a method at the size of a cell, on noise: whether it fits, and how fast."""

from dataclasses import dataclass

import torch

from bench.config.recipe import Recipe
from bench.models.backbones import Backbone
from bench.performance import benchmarked_model
from bench.training import devices
from bench.utils.errors import first_line
from methods import Method, Unsupported
from methods.shared.memory import is_out_of_memory

ROUNDS = 3
NOT_APPLICABLE = "n/a"


@dataclass(frozen=True)
class StepCost:
    """Seconds of a training step and of a test batch, and the peak memory."""

    train_seconds: float
    test_seconds: float
    peak_memory_mb: float  # of a GPU: allocated; of a CPU: the whole process

    def __str__(self) -> str:
        train, test = 1000 * self.train_seconds, 1000 * self.test_seconds
        times = f"{train:.1f} ms a step, {test:.1f} ms a test batch"
        return f"{times}, {self.peak_memory_mb / 2**10:.1f} GiB"

    def seconds_of(self, train_steps: int, test_batches: int) -> float:
        """Return how long so many steps and batches take."""
        return train_steps * self.train_seconds + test_batches * self.test_seconds


def measure(
    backbone: Backbone, method: Method, recipe: Recipe, lr: float, classes: int, device: str
) -> StepCost | str:
    """Measure a batch of the recipe's size; return a sentence where it cannot be trained."""
    where = torch.device(device)
    devices.reset_peak_memory(where)
    try:
        one = benchmarked_model.build(backbone, method, recipe, lr, classes, recipe.batch, where)
        acts = one.train_step, one.eval_step
        train_ms, test_ms = benchmarked_model.time_interleaved(acts, ROUNDS, device)
    except Unsupported as error:
        return f"{NOT_APPLICABLE}: {error}"
    except Exception as error:  # whatever a user's method raises: the next one is measured
        if is_out_of_memory(error):
            return f"out of memory: a batch of {recipe.batch} images does not fit"
        return f"{type(error).__name__}: {first_line(error)}"
    return StepCost(train_ms / 1000, test_ms / 1000, devices.peak_memory_mb(where))
