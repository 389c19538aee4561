"""Records made up by `make`, `row` and `forty`: they say nothing about any method."""

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from bench.config.suite import load_suite
from bench.records.schema import Failure, Outcome, Record, Settings
from bench.records.store import Store
from bench.report.boards import Board, build_boards
from bench.report.frame import record_frame

Ending = Literal["failed", "unsupported"]
SUITE = load_suite("mini")
SUITES = {SUITE.name: SUITE}
TASKS = [task.name for task in SUITE.task]
PARAMS = {"full": 5_526_720, "linear": 0, "bias": 20_736, "lora": 147_456, "vpt_deep": 46_080}


def make(
    method: str, task: str, seed: int = 0, accuracy: float | Ending = 50.0, **changed: Any
) -> Record:
    """A record made up; an accuracy that is text is a kind of failure instead."""
    plain: dict[str, Any] = {
        "suite": SUITE.name,
        "suite_version": SUITE.version,
        "classes": 10,
        "split": "5" * 32,
        "fields": {},
        "backbone": "vit_mini_mae",
        "weights": "0123456789abcdef" * 4,
        "input": {"size": 32, "pooling": "token"},
        "recipe": {"name": "quick", "version": 1, "batch": 32, "epochs": 10},
        "rates": {"lr": 0.005, "weight_decay": 0.01},
    }
    settings = Settings(method=method, task=task, seed=seed, **{**plain, **changed})
    group = SUITE.find(task).group if task in TASKS else "Other"
    if isinstance(accuracy, str):
        failure = Failure(kind=accuracy, error="E", message="why")
        return Record(settings, group, None, failure, cell=settings.digest())
    outcome = _outcome(method, task, accuracy, settings.recipe["epochs"])
    return Record(settings, group, outcome, None, cell=settings.digest())


def _outcome(method: str, task: str, accuracy: float, epochs: int) -> Outcome:
    best = min(accuracy + 0.25, 100.0)
    return Outcome(
        accuracy=accuracy,
        best_epoch_accuracy=best,
        best_epoch=epochs - 2,
        test_images=800,
        method_params=PARAMS.get(method, 9_600),
        head_params=1_930 + 193 * TASKS.index(task) if task in TASKS else 0,
        init_seconds=0.02 if method == "lora" else 0.0,
        init_images=0,
        train_seconds=12.0,
        test_seconds=1.0,
        peak_memory_mb=512.0,
        losses=[2.0, *[1.0] * (epochs - 1)],
        test_accuracies={str(epochs - 2): best, str(epochs): accuracy},
        stored_bytes=50_000 if method == "lora" else None,  # the others are early records
    )


def row(
    method: str, accuracies: Iterable[float | Ending], seed: int = 0, **changed: Any
) -> list[Record]:
    """A record a task of the suite."""
    pairs = zip(TASKS, accuracies, strict=False)
    return [make(method, task, seed, accuracy, **changed) for task, accuracy in pairs]


def forty() -> list[Record]:
    """Two backbones; three seeds and one; rows cut short, failed, not possible, with fields."""
    draw = random.Random(0)
    noisy: Callable[[float], list[float]] = lambda mean: [  # noqa: E731
        round(draw.gauss(mean, 2), 2) for _ in TASKS
    ]
    made = [r for seed in range(3) for r in row("linear", noisy(42.0), seed)]
    made += [r for seed in range(2) for r in row("lora", noisy(69.0), seed, fields={"rank": 8})]
    made += row("vpt_deep", noisy(66.0), fields={"prompts": 20, "init": "a|b"})
    made += row("vpt_deep", noisy(67.0), fields={"prompts": 50, "init": "a|b"})
    made += row("full", ["failed", 70.0, 71.5])
    made += row("spt_deep", ["unsupported"] * 5)
    sup: dict[str, Any] = {"backbone": "vit_mini_sup", "weights": "f" * 64}
    made += row("bias", noisy(64.0)[:2], **sup) + row("full", noisy(72.0)[:2], **sup)
    return made


def write(results: Path, records: Iterable[Record]) -> Store:
    store = Store(results)
    for record in records:
        store.write(record)
    return store


def boards(records: Iterable[Record]) -> list[Board]:
    return build_boards(record_frame(records), SUITES)
