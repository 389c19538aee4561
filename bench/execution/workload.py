"""How much work a request asks for: runs, training steps and test batches of each method."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from bench.config import search_space
from bench.config.suite import Split, Task
from bench.data.splits import load_split
from bench.execution.request import FINAL_SPLITS, TRIAL_SPLITS
from bench.execution.resolution import ResolvedRequest
from bench.execution.selection import SplitPair


@dataclass(frozen=True)
class Workload:
    """The runs of a method on one backbone: all tasks, seeds and trials together."""

    trials: int = 0
    finals: int = 0
    train_steps: int = 0
    test_batches: int = 0

    def __add__(self, other: "Workload") -> "Workload":
        return Workload(*(getattr(self, f) + getattr(other, f) for f in self.__match_args__))


def workload(resolved: ResolvedRequest, method: str, is_tuned: bool) -> Workload:
    """Return the work of a method on one backbone.

    It is counted from the cards; of data on disk whose card has no count, from their lists. Raises
    `UserError` if these are absent.
    """
    work = Workload()
    for task in resolved.tasks:
        for part in _runs(resolved, task, method, is_tuned):
            work += part
    return work


def _runs(resolved: ResolvedRequest, task: Task, method: str, is_tuned: bool) -> Iterator[Workload]:
    recipe, seeds = resolved.recipe, len(resolved.seeds)
    if is_tuned:
        for rung in search_space.method_rungs(recipe, method):
            run = _one_run(resolved, task, TRIAL_SPLITS, rung.epochs, 1)
            yield Workload(rung.count, 0, rung.count * run[0], rung.count * run[1])
    evaluations = min(recipe.test_evaluations, recipe.epochs)
    run = _one_run(resolved, task, FINAL_SPLITS, recipe.epochs, evaluations)
    yield Workload(0, seeds, seeds * run[0], seeds * run[1])


def _one_run(
    resolved: ResolvedRequest, task: Task, pair: SplitPair, epochs: int, evaluations: int
) -> tuple[int, int]:
    """Return the training steps and the test batches of a run."""
    learnt, scored = (_count_images(resolved, task, split) for split in pair)
    learnt = round(learnt * resolved.recipe.train_share)
    batch = resolved.recipe.batch
    return epochs * ceil(learnt / batch), evaluations * ceil(scored / batch)


def _count_images(resolved: ResolvedRequest, task: Task, split: Split) -> int:
    if task.draw and task.listed_as(split) == "train":
        return task.classes * task.draw.shots
    if split in task.counts:
        return task.counts[split][0]
    request = resolved.request
    return len(load_split(resolved.suite, task, split, request.root, request.variant))
