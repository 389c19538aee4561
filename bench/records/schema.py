"""The schema of a record: settings, outcome or failure, and provenance of one cell."""

import hashlib
import json
from dataclasses import field, fields
from typing import Any, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from bench.utils.text import longest_prefix

SCHEMA_VERSION = 2  # 1 had neither the number of classes nor the hash of a plug-in's code
TRIALS_DIR = "trials"  # a store of its own in a results folder
STRICT = ConfigDict(extra="forbid")
PROMPTS_FROM = "prompts_from"  # in Settings.fields: the task whose images initialise the prompts


@dataclass(frozen=True, config=STRICT)
class Settings:
    """Everything that can change a cell's numbers, and nothing else; its hash names the cell."""

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
        """The variant of prepared data (lossless or jpeg75); empty for any other data."""
        return self.split.rpartition(":")[0]

    @property
    def data_key(self) -> tuple[str, int]:
        """The split and the number of classes: equal for cells comparable image by image."""
        return self.split, self.classes

    def to_json(self) -> dict[str, Any]:
        """Return the settings as recorded: empty `start_split` and `code` are left out."""
        plain = {name: getattr(self, name) for name in SETTINGS_NAMES}  # asdict copies: far slower
        return {k: v for k, v in plain.items() if v or k not in ("start_split", "code")}

    def digest(self) -> str:
        """Return the cell's name: 16 hex digits of the settings' hash, in any order of fields."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


SETTINGS_NAMES = tuple(f.name for f in fields(Settings))


@dataclass(frozen=True, config=STRICT)
class Outcome:
    """The measurements of a cell that succeeded."""

    accuracy: float  # top-1 percent on test after the last epoch; of a trial, on val
    best_epoch_accuracy: float  # oracle: the best of the epochs at which test was scored
    best_epoch: int
    test_images: int
    method_params: int  # trainable, without the head
    head_params: int
    init_seconds: float  # wall-clock of Method.prepare
    init_images: int  # how many images prepare looked at
    train_seconds: float
    test_seconds: float  # of all the evaluations on test
    peak_memory_mb: float  # of the device; of the process, on a CPU
    losses: list[float]  # mean training loss, an epoch
    test_accuracies: dict[str, float]  # epoch -> top-1 percent on test
    predictions: str = ""  # sha256 of the predicted classes, which have a file of their own


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
    """The search that chose the rates and fields of a final run."""

    seed: int
    seconds: float  # of all the trials
    trials: list[Trial]


@dataclass(frozen=True, config=STRICT)
class Failure:
    """The reason why a cell has no outcome."""

    kind: Literal["failed", "unsupported"]
    error: str  # the exception's type
    message: str
    traceback: str = ""


@dataclass(frozen=True, config=STRICT)
class Record:
    """One cell: its settings, its outcome or failure, and where and when it ran."""

    settings: Settings
    group: str
    outcome: Outcome | None
    failure: Failure | None
    environment: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)  # names from which to plan the cell again
    remark: str = ""  # the method's footnote
    cell: str = ""
    tuned: TuningResult | None = None  # for a final run whose rates were chosen by trials
    schema: int = SCHEMA_VERSION

    @property
    def ok(self) -> bool:
        return self.outcome is not None


def inconsistency(record: Record) -> str:
    """Return what is contradictory in a readable record, or an empty string."""
    if record.ok == (record.failure is not None):
        return "should have either an outcome or a failure"
    if record.outcome and not 0 <= record.outcome.accuracy <= 100:
        return f"has accuracy {record.outcome.accuracy}; from 0 to 100 was expected"
    return ""


RATE_NAMES = ("lr", "weight_decay")
TUNING_KEY = "tuning"  # in a recorded recipe: how the search went
SCORED_SPLIT_KEY = "scored"  # in a trial's recorded recipe: the split, which is not test
GridPoint = dict[str, Any]  # learning rate, weight decay, and fields of the method


def is_trial(settings: Settings) -> bool:
    """Return whether a cell with these settings is scored on validation data."""
    return SCORED_SPLIT_KEY in settings.recipe


def searched_fields(settings: Settings) -> list[str]:
    """Return the fields of a final run's method that trials chose."""
    grids = settings.recipe.get(TUNING_KEY, {}).get("grid_of", {})
    return list(grids.get(longest_prefix(settings.method, grids), {}))


def extract_point(settings: Settings, like: GridPoint) -> GridPoint:
    """Return the grid point a cell was run at, with the keys of the point `like`."""
    known = {**settings.fields, **settings.rates}
    return {name: known.get(name) for name in like}
