"""Images a second of every method, and the hours that a paper's worth of runs would take.

Each method is built, measured and dropped before the next, so that one at a time lies in memory.
"""

from collections.abc import Iterator

import torch

import methods
from bench import cards, cost
from bench.performance.rows import HOURS, TESTING, TRAINING, Row
from methods import Unsupported

SUITE, RECIPE = "vtab1k", "unified"


def rows(backbone: str, batch: int, rounds: int, device: str) -> Iterator[Row]:
    """For every registered method its images a second, and the hours of VTAB-1k for one seed."""
    threads = torch.get_num_threads()
    for name in methods.names():
        job = cost.Job(name, backbone, RECIPE, batch, device, threads)
        try:
            yield from of_method(job, rounds)
        except Unsupported as error:
            yield Row(name, None, unit=TRAINING, note=f"n/a: {error}")


def of_method(job: cost.Job, rounds: int) -> Iterator[Row]:
    """What a training step and a test batch take, as images a second; hours of both."""
    ready = cost.ready(job)
    seconds = [ms / 1000 for ms in cost.timed((ready.learn, ready.answer), rounds, job.device)]
    note = f"{job.backbone}, images of {ready.images.shape[-1]} pixels, batch {job.batch}, "
    note += ready.precision
    for unit, taken in zip((TRAINING, TESTING), seconds, strict=True):
        yield Row(job.method, job.batch / taken, taken, rounds, unit=unit, note=note)
    hours = sum(n * taken for n, taken in zip(images(), seconds, strict=True)) / job.batch / 3600
    yield Row(job.method, hours, n=rounds, unit=HOURS, note=note)


def images() -> tuple[int, int]:
    """How many images all tasks of VTAB-1k train on, all epochs, and are tested on once."""
    counts = [task.counts for task in cards.load_suite(SUITE).task]
    epochs = cards.load_recipe(RECIPE).epochs
    return epochs * sum(c["trainval"][0] for c in counts), sum(c["test"][0] for c in counts)
