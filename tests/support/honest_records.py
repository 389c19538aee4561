"""Records of built-in tasks with predictions that prove them, and ways to forge them."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import methods
from bench.config.recipe import load_recipe
from bench.config.suite import load_suite
from bench.data import splits
from bench.records.predictions import Predictions
from bench.records.schema import Outcome, Record, Settings
from bench.records.store import Store
from methods.shared.hyperparameters import recorded_fields

MINI, QUICK = load_suite("mini"), load_recipe("quick")
TASK = MINI.find("sprites_location")
Made = tuple[Record, Predictions | None]


@cache
def split_of(task: str) -> tuple[str, tuple[int, ...]]:
    """The digest of a built-in task's splits, and its test labels."""
    parts = [
        splits.load_split(MINI, MINI.find(task), name, Path()) for name in ("trainval", "test")
    ]
    labels = tuple(map(int, parts[1].labels.tolist()))
    return "-".join(map(splits.fingerprint, parts)), labels


def true_labels() -> np.ndarray:
    return np.array(split_of(TASK.name)[1], np.int16)


def honest(method: str = "vpt_deep", hits: int = 600, seed: int = 0, **changed: Any) -> Made:
    """A record of the built-in task with its predictions, `hits` of them right."""
    labels = true_labels()
    right = np.arange(len(labels)) < hits
    kept = Predictions(
        np.where(right, labels, (labels + 1) % TASK.classes).astype(np.int16), labels
    )
    settings = Settings(**(_settings(method, seed) | changed))
    return scored(settings, kept), kept


def _settings(method: str, seed: int) -> dict[str, Any]:
    return {
        "suite": MINI.name,
        "suite_version": MINI.version,
        "task": TASK.name,
        "classes": TASK.classes,
        "split": split_of(TASK.name)[0],
        "method": method,
        "fields": recorded_fields(methods.create(method)) if method in methods.names() else {},
        "backbone": "vit_mini_mae",
        "weights": "0123456789abcdef" * 4,
        "input": {"size": 32, "pooling": "token"},
        "recipe": QUICK.protocol(MINI.name, "fp32"),
        "rates": QUICK.rates(method),
        "seed": seed,
    }


def scored(settings: Settings, kept: Predictions) -> Record:
    """A record that says what its predictions score by their own labels."""
    assert kept.labels is not None
    accuracy = 100 * float((kept.classes == kept.labels).mean())
    outcome = Outcome(
        accuracy=accuracy,
        best_epoch_accuracy=accuracy,
        best_epoch=10,
        test_images=len(kept.classes),
        method_params=9_600,
        head_params=3_088,
        init_seconds=0.0,
        init_images=0,
        train_seconds=12.0,
        test_seconds=1.0,
        peak_memory_mb=512.0,
        losses=[1.0] * 10,
        test_accuracies={"10": accuracy},
        predictions=kept.sha256(),
    )
    names = {name: getattr(settings, name) for name in ("suite", "method", "backbone", "task")}
    request = {**names, "seed": settings.seed, "recipe": "quick", "changes": {}}
    about = {"dirty": False, "commit": "0" * 40}
    return Record(settings, TASK.group, outcome, None, about, request, cell=settings.digest())


def with_accuracy(record: Record, accuracy: float) -> Record:
    """The record with another accuracy, said alike everywhere."""
    assert record.outcome
    said = {"accuracy": accuracy, "best_epoch_accuracy": accuracy}
    return replace(
        record, outcome=replace(record.outcome, **said, test_accuracies={"10": accuracy})
    )


def write(folder: Path, *made: Made) -> Store:
    """A results folder with these records and their predictions."""
    store = Store(folder)
    for record, kept in made:
        store.write(record)
        if kept:
            store.write_predictions(record.settings, kept)
    return store


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change the JSON of a record's file."""
    whole = json.loads(path.read_text(encoding="utf-8"))
    change(whole)
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path
