"""The store of a results folder: one JSON file a record, and each cell's predicted classes."""

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from bench.records.schema import SCHEMA_VERSION, TRIALS_DIR, Record, Settings, inconsistency
from bench.utils.errors import UserError
from bench.utils.files import write_atomically


class Store:
    """The records below a results folder: ``records/<suite>/<backbone>/<task>/<method>...json``."""

    def __init__(self, root: Path):
        self.root = root

    def path(self, settings: Settings, cell: str = "") -> Path:
        """Return the path of the record of these settings; pass `cell` to save hashing them."""
        s = settings
        parts = map(_safe_path_part, (s.suite, s.backbone, s.task))
        name = f"{s.method}-seed{s.seed}-{cell or s.digest()}.json"
        return self.root.joinpath("records", *parts, name)

    def predictions_path(self, settings: Settings) -> Path:
        """Return the path of the cell's predicted classes."""
        return self.root / "predictions" / f"{settings.digest()}.npz"

    def find(self, settings: Settings) -> Record | None:
        """Return the cell's record, or None if there is no valid one."""
        path = self.path(settings)
        try:
            return read_record(path) if path.exists() else None
        except UserError:
            return None

    def write(self, record: Record) -> Path:
        """Write `record` atomically, in place of an earlier one of the same cell."""
        path = self.path(record.settings)
        settings = record.settings
        whole = {**asdict(record), "settings": settings.to_json(), "cell": settings.digest()}
        write_atomically(path, json.dumps(whole, indent=1, sort_keys=True).encode() + b"\n")
        return path

    def files(self) -> list[Path]:
        """List all record files, in a fixed order."""
        return sorted((self.root / "records").rglob("*.json"))

    def recorded_cells(self, suite: str) -> set[str]:
        """Return the cells of a suite that have a file, by its name: one walk for many cells."""
        walk = os.walk(self.root / "records" / _safe_path_part(suite))
        return {name[-21:-5] for _, _, names in walk for name in names if name.endswith(".json")}

    def read_all(self) -> Iterator[tuple[Path, Record | UserError]]:
        """Yield every file with its record, or with the error that says what is wrong with it."""
        for path in self.files():
            try:
                yield path, read_record(path)
            except UserError as error:
                yield path, error

    def require_current_schema(self) -> None:
        """Raise `UserError` if there are records of schema 1, whose cells a run would repeat.

        The files are searched as text, not parsed: 10,000 take a fraction of a second.
        """
        every = [*self.files(), *Store(self.root / TRIALS_DIR).files()]
        old = [path for path in every if b'\n "schema": 1,' in path.read_bytes()]
        if old:
            raise UserError(
                f"{len(old)} records in {self.root} are of schema 1; this version reads "
                f"{SCHEMA_VERSION}. `python -m bench migrate --results {self.root}` keeps their "
                "numbers"
            )

    def require_writable(self) -> None:
        """Raise `UserError` if records cannot be written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise UserError(
                f"the results folder {self.root} cannot be written to ({error.strerror}); "
                "choose another with --results"
            ) from None


_record_adapter = TypeAdapter(Record)


def read_record(path: Path) -> Record:
    """Read a record; raise `UserError` if the file is not a valid one."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} is not a record: {error.strerror}") from None
    try:
        record = _record_adapter.validate_json(content)
    except ValidationError as error:
        _require_schema(path, content)
        raise UserError(f"{path} is not a record: {error.errors()[0]['msg']}") from None
    _require_schema(path, content, record.schema)
    if record.cell != record.settings.digest():
        raise UserError(f"{path} names cell {record.cell}, but its settings are another's")
    return record


def _require_schema(path: Path, content: bytes, given: Any = None) -> None:
    """Raise `UserError` for a record of another schema version."""
    if given is None:
        with suppress(ValueError):
            found = json.loads(content)
            given = found.get("schema") if isinstance(found, dict) else None
    if given is None or given == SCHEMA_VERSION:
        return
    how = "`python -m bench migrate` brings a results folder over" if given == 1 else "update it"
    raise UserError(f"{path} has schema {given}; this version reads {SCHEMA_VERSION}: {how}")


@cache
def _safe_path_part(name: str) -> str:
    """Replace the characters of `name` that are not safe in a path."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name)


class Predictions(NamedTuple):
    """The predicted classes of the test images, (N,), and their labels, (N,)."""

    classes: NDArray[np.int16]
    labels: NDArray[np.int16] | None  # None: an early file without labels

    def correct(self) -> NDArray[np.bool_] | None:
        """Return which predictions are correct, (N,), or None without labels."""
        return None if self.labels is None else self.classes == self.labels

    def sha256(self) -> str:
        """Hash the predicted classes, as the record names them."""
        return hashlib.sha256(self.classes.tobytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """Serialise to the file that `read_predictions` reads."""
        stream = io.BytesIO()
        labels = {} if self.labels is None else {"labels": self.labels}
        np.savez_compressed(stream, allow_pickle=False, classes=self.classes, **labels)
        return stream.getvalue()


def read_predictions(path: Path) -> Predictions | None:
    """Read a file of predictions, or return None if it cannot be read."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
            return Predictions(kept["classes"], kept.get("labels", None))
    except (OSError, ValueError, KeyError):
        return None


def read_valid(store: Store) -> tuple[list[Record], list[str]]:
    """Return the valid records, and a sentence for each file that is not one."""
    records, problems = [], []
    for path, record in store.read_all():
        problem = (
            str(record) if isinstance(record, UserError) else _record_problem(path, record, store)
        )
        if problem:
            problems.append(problem)
        elif isinstance(record, Record):
            records.append(record)
    return records, problems


def load_records(results: Path | str = "results") -> list[Record]:
    """Load the records of a results folder that can be trusted, as `read_valid` finds them."""
    return read_valid(Store(Path(results)))[0]


def _record_problem(path: Path, record: Record, store: Store) -> str:
    """Return what is wrong with a readable record, or an empty string.

    A copy under another name is wrong: it would count as one more seed.
    """
    place = store.path(record.settings, record.cell)  # whose hash was checked in reading
    if path != place:
        return f"{path} is the record of a cell whose place is {place}"
    odd = inconsistency(record)
    return f"{path} {odd}" if odd else ""
