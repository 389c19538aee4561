"""The record of a cell, and the store that keeps one JSON file a record."""

import hashlib
import json
from dataclasses import field, fields
from typing import Any, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

SCHEMA_VERSION = 2  # 1 knew neither the number of classes nor the code of plug-ins
TRIALS_DIR = "trials"  # below a results folder: a store of its own
STRICT = ConfigDict(extra="forbid")
PROMPTS_FROM = "prompts_from"  # among a cell's fields: the task whose images its prompts start from


@dataclass(frozen=True, config=STRICT)
class Settings:
    """All that can change a cell's number, and nothing else; its hash is the cell's name."""

    suite: str
    suite_version: int
    task: str
    classes: int
    split: str  # "<variant>:<digest>-<digest>" of trainval and test, or of a trial's train and val
    method: str
    fields: dict[str, Any]  # the method's hyper-parameters
    backbone: str
    weights: str  # sha256
    input: dict[str, Any]  # size, mean, std and pooling of the backbone's input
    recipe: dict[str, Any]  # the protocol that all methods of a table share
    rates: dict[str, float]  # learning rate and weight decay of this method under it
    seed: int
    start_split: str = ""  # "<variant>:<digest>" of the trainval of the task in PROMPTS_FROM
    code: str = ""  # of a plug-in's method: the sha256 of its source, after name and version

    @property
    def variant(self) -> str:
        """Of the data: lossless, jpeg75; empty where they were embedded, or read as found."""
        return self.split.rpartition(":")[0]

    @property
    def data_key(self) -> tuple[str, int]:
        """What two cells must share to be compared image by image: the split and its classes."""
        return self.split, self.classes

    def to_json(self) -> dict[str, Any]:
        """The settings as records have them: an own start and own code go unsaid."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}  # asdict copies: far slower
        return {k: v for k, v in plain.items() if v or k not in ("start_split", "code")}

    def digest(self) -> str:
        """16 hex digits that stand for these settings, whatever the order of their fields."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, config=STRICT)
class Outcome:
    """What a cell that ended well measured."""

    accuracy: float  # top-1 percent on test after the last epoch; of a trial, on val
    best_epoch_accuracy: float  # oracle: the best of the epochs at which test was scored
    best_epoch: int
    test_images: int
    method_params: int  # trainable, head left out
    head_params: int
    init_seconds: float  # wall-clock of Method.prepare
    init_images: int  # how many images prepare looked at
    train_seconds: float
    test_seconds: float  # of all the evaluations on test
    peak_memory_mb: float  # of the device; of the process, on a CPU
    losses: list[float]  # mean training loss, an epoch
    test_accuracies: dict[str, float]  # epoch -> top-1 percent on test
    predictions: str = ""  # sha256 of the file of predicted classes, kept beside


@dataclass(frozen=True, config=STRICT)
class Trial:
    """One point of the grid, trained on train and scored on val."""

    point: dict[str, Any]  # learning rate, weight decay, and fields of the method
    epochs: int
    accuracy: float | None  # top-1 percent on val after the last epoch; None: it had no outcome
    seconds: float  # wall-clock of the whole cell
    cell: str  # its own record's name


@dataclass(frozen=True, config=STRICT)
class TuningResult:
    """How the rates and fields of a final run were found."""

    seed: int
    seconds: float  # of all the trials
    trials: list[Trial]


@dataclass(frozen=True, config=STRICT)
class Failure:
    """Why a cell has no outcome."""

    kind: Literal["failed", "unsupported"]
    error: str  # the exception's type
    message: str
    traceback: str = ""


@dataclass(frozen=True, config=STRICT)
class Record:
    """One cell: its settings, how it ended, and where and when it ran."""

    settings: Settings
    group: str
    outcome: Outcome | None
    failure: Failure | None
    environment: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)  # names that ask for this cell again
    remark: str = ""  # the method's footnote
    cell: str = ""
    tuned: TuningResult | None = None  # of a final run whose rates were chosen by trials
    schema: int = SCHEMA_VERSION

    @property
    def ok(self) -> bool:
        return self.outcome is not None


def inconsistency(record: Record) -> str:
    """What a readable record cannot mean, or nothing."""
    if record.ok == (record.failure is not None):
        return "should have either an outcome or a failure"
    if record.outcome and not 0 <= record.outcome.accuracy <= 100:
        return f"has accuracy {record.outcome.accuracy}; from 0 to 100 was expected"
    return ""
