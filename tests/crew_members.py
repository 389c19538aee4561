"""What several processes do in tests: train cells together, or wait for one that never comes."""

from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from timm.models import VisionTransformer

from bench import crew, plan, runner
from bench.crew import ALONE, Crew
from bench.plan import Request
from bench.records import Store
from bench.runner import Cell, Ending
from methods.linear import Linear

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Own(Linear):
    """Has a group of its own, and draws random numbers after each epoch."""

    def param_groups(self, model: VisionTransformer):
        return [{"params": [model.head.bias], "lr": 0.1, "weight_decay": 0.5}]

    def after_epoch(self, model: VisionTransformer, epoch: int) -> None:
        with torch.no_grad():
            model.head.weight += 0.01 * torch.randn_like(model.head.weight)


def cells(request: Request) -> list[Cell]:
    """The cells of a request, and, at the end, the last of them with a method of the tests' own."""
    found = plan.cells(request)
    return [*found, replace(found[-1], method=Own())]


def trained(request: Request, results: Path, who: Crew = ALONE) -> list[Ending]:
    """How the cells end on the CPU, one after another."""
    store = Store(results)
    works = [
        partial(runner.measure, cell, store, CPU, lambda *_: None, who) for cell in cells(request)
    ]
    return [runner.attempt(work) for work in works]


def train(
    number: int, count: int, requests: list[Request], results: Path, meeting: Path, line: Connection
) -> None:
    """Train the cells of all requests as one of `count` processes, and say how they ended."""
    torch.set_num_threads(1)
    with crew.joined(number, count, CPU, meeting, 120) as several:
        folder = results / str(number)  # in use, there is one that writes
        line.send([trained(request, folder, several) for request in requests])


def miss(meeting: Path, line: Connection) -> None:
    """Wait a second for another process that never comes."""

    def meet() -> runner.Measured:
        with crew.joined(0, 2, CPU, meeting, 1.0):
            return None, {}

    line.send(runner.attempt(meet))
