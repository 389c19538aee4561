"""The schema of a record: settings, outcome or failure, and provenance of one cell."""

import hashlib
import json
from dataclasses import field, fields
from typing import Annotated, Any, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from bench.records import entries
from bench.records.entries import (
    MAX_EPOCHS,
    MAX_TRIALS,
    OWN_GRIDS_KEY,
    SCORED_SPLIT_KEY,
    TUNING_KEY,
)
from bench.records.entries import PROMPTS_FROM as PROMPTS_FROM
from bench.records.entries import RATE_NAMES as RATE_NAMES
from bench.records.markers import Items
from bench.utils.text import longest_prefix

SCHEMA_VERSION = 2  # 1 had neither the number of classes nor the hash of a plug-in's code
SYNTHETIC = "synthetic"  # the variant of images that are drawn in place of a suite's own
TRIALS_DIR = "trials"  # a store of its own in a results folder
STRICT = ConfigDict(extra="forbid")
# STATED: brought in from others, by their word alone: it is listed and never ranks. Empty: a run of
# one's own, or merged because its predictions give its number.
Evidence = Literal["", "stated"]
STATED: Evidence = "stated"


@dataclass(frozen=True, config=STRICT)
class Settings:
    """Everything that can change a cell's numbers, and nothing else; its hash names the cell."""

    suite: entries.Name  # name of the suite
    suite_version: entries.Version  # version of its card
    task: entries.Name  # name of the task
    classes: entries.Classes  # number of classes
    split: (
        entries.SplitName
    )  # "<variant>:<digest>-<digest>" of trainval and test, or of a trial's train and val
    method: entries.Name  # name of the method
    fields: entries.Fields  # the method's hyper-parameters
    backbone: entries.BackboneName  # name, with changes of its input in brackets
    weights: entries.WeightsHash  # sha256
    input: entries.Input  # size, mean, std and pooling of the backbone's input
    recipe: entries.Recipe  # the protocol that all methods of a table share
    rates: entries.Rates  # learning rate and weight decay of this method under it
    seed: entries.Seed  # of the head, the method and the order of images
    start_split: entries.StartSplitName = (
        ""  # "<variant>:<digest>" of the trainval of the task in PROMPTS_FROM
    )
    code: entries.CodeHash = (
        ""  # of a plug-in's method: the sha256 of its source, after name and version
    )
    shifts: dict[entries.Name, entries.SplitName] = field(
        default_factory=dict
    )  # "<variant>:<digest>" of each further test set, and "-<digest>" of the classes of a mask
    few_shot: entries.FewShot = field(default_factory=dict)  # shots and list of a few-shot task

    @property
    def variant(self) -> str:
        """The variant of prepared data (lossless or jpeg75), or `SYNTHETIC`; empty for others."""
        digests = self.split, self.start_split, *self.shifts.values()
        found = [digest.rpartition(":")[0] for digest in digests]
        return SYNTHETIC if SYNTHETIC in found else found[0]

    @property
    def is_synthetic(self) -> bool:
        """Whether images were drawn: its numbers are a rehearsal and say nothing about a method."""
        return self.variant == SYNTHETIC

    @property
    def shown_suite(self) -> str:
        """The suite as tables name it, so that no table, row or mean is of both kinds of images."""
        return f"{self.suite} ({SYNTHETIC})" if self.is_synthetic else self.suite

    @property
    def data_key(self) -> tuple[str, int]:
        """The split and the number of classes: equal for cells comparable image by image."""
        return self.split, self.classes

    def to_json(self) -> dict[str, Any]:
        """Return the settings as recorded: those of `LEFT_OUT_IF_EMPTY` only where they are set."""
        plain = {name: getattr(self, name) for name in SETTINGS_NAMES}  # asdict copies: far slower
        return {k: v for k, v in plain.items() if v or k not in LEFT_OUT_IF_EMPTY}

    def digest(self) -> str:
        """Return the cell's name: 16 hex digits of the settings' hash, in any order of fields."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


# Records were written before there were:
LEFT_OUT_IF_EMPTY = ("start_split", "code", "few_shot", "shifts")
SETTINGS_NAMES = tuple(f.name for f in fields(Settings))


@dataclass(frozen=True, config=STRICT)
class ShiftScore:
    """The scores of a cell on a further test set, after the last epoch."""

    accuracy: entries.Percent  # top-1 over all classes of the task
    images: entries.Images  # number of images
    predictions: entries.HashOrEmpty  # sha256 of the predicted classes
    masked_accuracy: entries.Percent | None = None  # among the mask's classes; None: no mask
    masked_predictions: entries.HashOrEmpty = ""  # sha256 of those among the mask's classes

    @property
    def score(self) -> float:
        """The accuracy that tables show: among the classes that the set has."""
        return self.accuracy if self.masked_accuracy is None else self.masked_accuracy


@dataclass(frozen=True, config=STRICT)
class Outcome:
    """The measurements of a cell that succeeded."""

    accuracy: entries.Percent  # top-1 percent on test after the last epoch; of a trial, on val
    best_epoch_accuracy: entries.Percent  # oracle: the best of the epochs at which test was scored
    best_epoch: entries.Epochs  # the first with that accuracy
    test_images: entries.Images  # number of images
    method_params: entries.Parameters  # trainable, without the head
    head_params: entries.Parameters  # parameters of the head
    init_seconds: entries.Seconds  # of Method.prepare, and of fitting the head before it
    init_images: entries.ImagesOrNone  # how many images both looked at
    train_seconds: entries.Seconds  # of training, without evaluation
    test_seconds: entries.Seconds  # of all the evaluations on test
    peak_memory_mb: entries.Mebibytes  # of the device; of the process, on a CPU
    losses: Annotated[list[entries.Finite], Items(1, MAX_EPOCHS)]  # mean training loss, an epoch
    test_accuracies: dict[entries.EpochKey, entries.Percent]  # epoch -> top-1 percent on test
    predictions: entries.HashOrEmpty = (
        ""  # sha256 of the predicted classes, which have a file of their own
    )
    stored_bytes: entries.Bytes | None = None  # of what `export` writes; early records have none
    shifts: dict[entries.Name, ShiftScore] = field(default_factory=dict)  # by their sets' names


@dataclass(frozen=True, config=STRICT)
class Trial:
    """One point of the grid, trained on train and scored on val."""

    point: entries.Point  # learning rate, weight decay, and fields of the method
    epochs: entries.Epochs  # number of epochs of training
    accuracy: (
        entries.Percent | None
    )  # top-1 percent on val after the last epoch; None: it had no outcome
    seconds: entries.Seconds  # wall-clock of the whole cell
    cell: entries.CellName  # its own record's name


@dataclass(frozen=True, config=STRICT)
class TuningResult:
    """The search that chose the rates and fields of a final run."""

    seed: entries.Seed  # of all the trials
    seconds: entries.Seconds  # of all the trials
    trials: Annotated[list[Trial], Items(1, MAX_TRIALS)]  # every trial of the search


@dataclass(frozen=True, config=STRICT)
class Failure:
    """The reason why a cell has no outcome."""

    kind: Literal["failed", "unsupported"]  # unsupported: not on this backbone
    error: entries.Line  # the exception's type
    message: entries.Message  # the exception's text
    traceback: entries.Traceback = ""  # empty if unsupported


@dataclass(frozen=True, config=STRICT)
class Record:
    """One cell: its settings, its outcome or failure, and where and when it ran."""

    settings: Settings  # whatever can change a number
    group: entries.Line  # of the task within the suite
    outcome: Outcome | None  # None: the cell has none
    failure: Failure | None  # None: the cell has an outcome
    environment: entries.Environment = field(default_factory=dict)  # versions, device, time
    request: entries.Request = field(
        default_factory=dict
    )  # names from which to plan the cell again
    remark: entries.Message = ""  # the method's footnote
    cell: entries.CellName = ""  # its ID, the hash of the settings
    tuned: TuningResult | None = None  # for a final run whose rates were chosen by trials
    schema: int = SCHEMA_VERSION  # version of this schema
    evidence: Evidence = ""  # stated: by the word of others alone

    @property
    def ok(self) -> bool:
        return self.outcome is not None


def inconsistency(record: Record) -> str:
    """Return what is contradictory in a readable record, or an empty string."""
    if record.ok == (record.failure is not None):
        return "should have either an outcome or a failure"
    return _unlike_settings(record) or (
        _odd_outcome(record, record.outcome) if record.outcome else ""
    )


def _unlike_settings(record: Record) -> str:
    """Return where the request or the trials cannot be those of the settings."""
    s, asked = record.settings, record.request
    for name in ("method", "task", "seed"):
        if asked and asked[name] != getattr(s, name):
            return f"is of {name} {getattr(s, name)!r}, and its request names {asked[name]!r}"
    if is_trial(s) and "at" not in asked:
        return "is a trial, and its request does not say at which point"
    return ""


def _odd_outcome(record: Record, found: Outcome) -> str:
    """Return what the numbers of an outcome contradict."""
    last, scored = record.settings.recipe["epochs"], found.test_accuracies
    if len(found.losses) != last:
        return f"has the losses of {len(found.losses)} epochs of {last}"
    if not scored or max(map(int, scored)) != last or scored[str(last)] != found.accuracy:
        return f"has accuracy {found.accuracy}, which is not that of its last epoch, {last}"
    best = scored.get(str(found.best_epoch))
    if best != found.best_epoch_accuracy or best != max(scored.values()):
        return f"has best epoch {found.best_epoch}, which is not the best of those scored"
    return _odd_shifts(record.settings, found)


def _odd_shifts(settings: Settings, found: Outcome) -> str:
    """Return what the scores on further test sets contradict."""
    if unlike := sorted(settings.shifts.keys() ^ found.shifts.keys()):
        return f"has either a score on {unlike[0]} or its digest; both were expected"
    for name, one in found.shifts.items():
        if (one.masked_accuracy is not None) != is_masked(settings.shifts[name]):
            return f"has a masked accuracy on {name} where its digest names no mask, or none"
        if one.score < one.accuracy:
            return (
                f"has masked accuracy {one.score} on {name}, below {one.accuracy} over all classes"
            )
    return ""


def is_masked(digest: str) -> bool:
    """Return whether the digest of a further test set names the classes of a mask."""
    return "-" in digest.rpartition(":")[2]


GridPoint = dict[str, Any]  # learning rate, weight decay, and fields of the method


def is_trial(settings: Settings) -> bool:
    """Return whether a cell with these settings is scored on validation data."""
    return SCORED_SPLIT_KEY in settings.recipe


def own_grid(settings: Settings) -> dict[str, list[Any]]:
    """Return the grid of the method's own that its search had; empty without one."""
    grids = settings.recipe.get(TUNING_KEY, {}).get(OWN_GRIDS_KEY, {})
    found: dict[str, list[Any]] = grids.get(longest_prefix(settings.method, grids), {})
    return found


def searched_fields(settings: Settings) -> list[str]:
    """Return the fields of a final run's method that trials chose, without its rates."""
    return [name for name in own_grid(settings) if name not in RATE_NAMES]


def extract_point(settings: Settings, like: GridPoint) -> GridPoint:
    """Return the grid point a cell was run at, with the keys of the point `like`."""
    known = {**settings.fields, **settings.rates}
    return {name: known.get(name) for name in like}
