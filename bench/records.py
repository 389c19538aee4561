"""The record of a cell, and the store that keeps one JSON file a record."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench.errors import UserError

SCHEMA = 1
STRICT = ConfigDict(extra="forbid")
PROMPTS_FROM = "prompts_from"  # among a cell's fields: the task whose images its prompts start from


@dataclass(frozen=True, config=STRICT)
class Settings:
    """All that can change a cell's number, and nothing else; its hash is the cell's name."""

    suite: str
    suite_version: int
    task: str
    split: str  # "<variant>:<digest>-<digest>" of trainval and test: labels, names, some pixels
    method: str
    fields: dict[str, Any]  # the method's hyper-parameters
    backbone: str
    weights: str  # sha256
    input: dict[str, Any]  # size, mean, std and pooling of the backbone's input
    recipe: dict[str, Any]  # the protocol that all methods of a table share
    rates: dict[str, float]  # learning rate and weight decay of this method under it
    seed: int
    start_split: str = ""  # "<variant>:<digest>" of the trainval of the task in PROMPTS_FROM

    @property
    def variant(self) -> str:
        """Of the data: lossless, jpeg75; empty where they were embedded, or read as found."""
        return self.split.rpartition(":")[0]

    def digest(self) -> str:
        """16 hex digits that stand for these settings, whatever the order of their fields."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}  # asdict copies: far slower
        if not self.start_split:  # unsaid where a start is the task's own, as it once always was
            del plain["start_split"]
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, config=STRICT)
class Outcome:
    """What a cell that ended well measured."""

    accuracy: float  # top-1 percent on test after the last epoch
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
        whole = {**asdict(record), "cell": record.settings.digest()}
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
        record = _adapter.validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise UserError(f"{path} is not a record: {what}") from None
    if record.schema != SCHEMA:
        raise UserError(f"{path} has schema {record.schema}; this version reads {SCHEMA}")
    if record.cell != record.settings.digest():
        raise UserError(f"{path} names cell {record.cell}, but its settings are another's")
    return record


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
