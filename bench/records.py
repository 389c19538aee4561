"""The record of a cell, and the store that keeps one JSON file a record."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench.errors import UserError

SCHEMA = 2  # 1 knew neither the number of classes nor the code of plug-ins
TRIALS = "trials"  # below a results folder: a store of its own
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
    def data(self) -> tuple[str, int]:
        """What two cells must share to be compared image by image: the split and its classes."""
        return self.split, self.classes

    def said(self) -> dict[str, Any]:
        """The settings as records have them: an own start and own code go unsaid."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}  # asdict copies: far slower
        return {k: v for k, v in plain.items() if v or k not in ("start_split", "code")}

    def digest(self) -> str:
        """16 hex digits that stand for these settings, whatever the order of their fields."""
        text = json.dumps(self.said(), sort_keys=True, separators=(",", ":"))
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
class Tuned:
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
    tuned: Tuned | None = None  # of a final run whose rates were chosen by trials
    schema: int = SCHEMA

    @property
    def ok(self) -> bool:
        return self.outcome is not None


class Store:
    """The records below a results folder: ``records/<suite>/<backbone>/<task>/<method>...json``."""

    def __init__(self, root: Path):
        self.root = root

    def path(self, settings: Settings, cell: str = "") -> Path:
        """Where the record of a cell with these settings lies; `cell` spares their hash."""
        s = settings
        parts = map(_plain, (s.suite, s.backbone, s.task))
        name = f"{s.method}-seed{s.seed}-{cell or s.digest()}.json"
        return self.root.joinpath("records", *parts, name)

    def predictions_path(self, settings: Settings) -> Path:
        """Where the predicted classes of that cell lie."""
        return self.root / "predictions" / f"{settings.digest()}.npz"

    def find(self, settings: Settings) -> Record | None:
        """The record of that cell, or None where there is no sound one."""
        path = self.path(settings)
        try:
            return read(path) if path.exists() else None
        except UserError:
            return None

    def write(self, record: Record) -> Path:
        """Keep `record`, in place of an earlier one of the same cell; whole or not at all."""
        path = self.path(record.settings)
        settings = record.settings
        whole = {**asdict(record), "settings": settings.said(), "cell": settings.digest()}
        write_atomically(path, json.dumps(whole, indent=1, sort_keys=True).encode() + b"\n")
        return path

    def files(self) -> list[Path]:
        """Every file that should be a record, in a fixed order."""
        return sorted((self.root / "records").rglob("*.json"))

    def read(self) -> Iterator[tuple[Path, Record | UserError]]:
        """Every file with its record, or with the sentence that says what is wrong with it."""
        for path in self.files():
            try:
                yield path, read(path)
            except UserError as error:
                yield path, error

    def require_current(self) -> None:
        """Raise `UserError` where there are records of schema 1, which a run would repeat.

        Their text is searched, not read: for 10,000 that takes a fraction of a second.
        """
        every = [*self.files(), *Store(self.root / TRIALS).files()]
        old = [path for path in every if b'\n "schema": 1,' in path.read_bytes()]
        if old:
            raise UserError(
                f"{len(old)} records in {self.root} are of schema 1; this version reads {SCHEMA}. "
                f"`python -m bench migrate --results {self.root}` keeps their numbers"
            )

    def require_writable(self) -> None:
        """Raise `UserError` where records could not be written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise UserError(
                f"the results folder {self.root} cannot be written to ({error.strerror}); "
                "choose another with --results"
            ) from None


def oddity(record: Record) -> str:
    """What a readable record cannot mean, or nothing."""
    if record.ok == (record.failure is not None):
        return "should have either an outcome or a failure"
    if record.outcome and not 0 <= record.outcome.accuracy <= 100:
        return f"has accuracy {record.outcome.accuracy}; from 0 to 100 was expected"
    return ""


_adapter = TypeAdapter(Record)


def read(path: Path) -> Record:
    """The record in the file at `path`; raises `UserError` where it is not a sound one."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} is not a record: {error.strerror}") from None
    try:
        record = _adapter.validate_json(content)
    except ValidationError as error:
        _require_schema(path, content)
        raise UserError(f"{path} is not a record: {error.errors()[0]['msg']}") from None
    _require_schema(path, content, record.schema)
    if record.cell != record.settings.digest():
        raise UserError(f"{path} names cell {record.cell}, but its settings are another's")
    return record


def _require_schema(path: Path, content: bytes, given: Any = None) -> None:
    """Raise `UserError` for a record of another version, which may lack what this one needs."""
    if given is None:
        with suppress(ValueError):
            found = json.loads(content)
            given = found.get("schema") if isinstance(found, dict) else None
    if given is None or given == SCHEMA:
        return
    how = "`python -m bench migrate` brings a results folder over" if given == 1 else "update it"
    raise UserError(f"{path} has schema {given}; this version reads {SCHEMA}: {how}")


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary file beside `path`, flush it to disk, and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=".", suffix=".part", delete=False
    ) as f:
        try:
            f.write(content)
            f.flush()
            os.fsync(f.fileno())
            os.chmod(f.name, 0o644)
            os.replace(f.name, path)
        except BaseException:
            Path(f.name).unlink(missing_ok=True)
            raise


@cache
def _plain(name: str) -> str:
    """`name` as one safe part of a path."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name)
