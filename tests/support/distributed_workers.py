"""Entry points of processes: train cells as a group, or wait for a member that never starts."""

from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.nn.functional as F
from timm.models import VisionTransformer

from bench.data import distributed
from bench.data.distributed import IGNORE_INDEX, SINGLE_PROCESS, ProcessGroup
from bench.execution import plan
from bench.execution.plan import Request
from bench.records.store import Store
from bench.training import runner
from bench.training.cell import Cell
from bench.training.results import MeasuredOutcome, RunResult, catch_failures
from methods.linear import Linear

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Own(Linear):
    """A method with a parameter group, a loss of its own, and random numbers after each epoch."""

    def param_groups(self, model: VisionTransformer):
        return [{"params": [model.head.bias], "lr": 0.1, "weight_decay": 0.5}]

    def loss(self, model: VisionTransformer, forward, inputs, labels, reduction="mean"):
        logits = forward(inputs)
        sizes = logits.square().sum(1)[labels != IGNORE_INDEX]
        size = sizes.mean() if reduction == "mean" else sizes.sum()
        return F.cross_entropy(logits, labels, reduction=reduction) + 0.1 * size

    def after_epoch(self, model: VisionTransformer, epoch: int) -> None:
        with torch.no_grad():
            model.head.weight += 0.01 * torch.randn_like(model.head.weight)


def cells(request: Request) -> list[Cell]:
    """The cells of a request, and, at the end, the last of them with a method of the tests' own."""
    found = plan.plan_cells(request)
    return [*found, replace(found[-1], method=Own())]


def trained(request: Request, results: Path, who: ProcessGroup = SINGLE_PROCESS) -> list[RunResult]:
    """Train the cells on the CPU, one after another."""
    store = Store(results)
    works = [
        partial(runner.train_and_evaluate, cell, store, CPU, lambda *_: None, who)
        for cell in cells(request)
    ]
    return [catch_failures(work) for work in works]


def train(
    number: int, count: int, requests: list[Request], results: Path, meeting: Path, line: Connection
) -> None:
    """Train the cells of all requests as one of `count` processes, and send their results."""
    torch.set_num_threads(1)
    with distributed.init_process_group(number, count, CPU, meeting, 120) as several:
        folder = results / str(number)  # in use, there is one that writes
        line.send([trained(request, folder, several) for request in requests])


def miss(meeting: Path, line: Connection) -> None:
    """Wait a second for another process that never comes."""

    def meet() -> MeasuredOutcome:
        with distributed.init_process_group(0, 2, CPU, meeting, 1.0):
            return None, {}

    line.send(catch_failures(meet))
