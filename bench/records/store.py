"""The store of a results folder: one JSON file a record, and each cell's predicted classes."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from bench.records import parsing, predictions, serialising, transaction
from bench.records.predictions import Predictions
from bench.records.schema import (
    SCHEMA_VERSION,
    STATED,
    TRIALS_DIR,
    Record,
    Settings,
    inconsistency,
)
from bench.utils import folders, strict_json
from bench.utils.errors import UserError, first_line
from bench.utils.files import read_regular_file, write_atomically
from bench.utils.names import shorten

RECORDS_DIR, PREDICTIONS_DIR, CHECKPOINTS_DIR = "records", "predictions", ".checkpoints"
# Folders of a results folder, none of which may lead out of it.
OWN_DIRS = (
    RECORDS_DIR,
    PREDICTIONS_DIR,
    "measures",
    "interpolation",
    TRIALS_DIR,
    ".leases",
    CHECKPOINTS_DIR,
    "tensorboard",
)


class Store:
    """The records below a results folder: ``records/<suite>/<backbone>/<task>/<method>...json``."""

    def __init__(self, root: Path):
        self.root = root
        self.is_pinned = False

    def path(self, settings: Settings, cell: str = "") -> Path:
        """Return the path of the record of these settings; pass `cell` to save hashing them."""
        s = settings
        *parts, method = map(_safe_path_part, (s.suite, s.backbone, s.task, s.method))
        name = f"{method}-seed{s.seed}-{cell or s.digest()}.json"
        return self.root.joinpath(RECORDS_DIR, *parts, name)

    def predictions_path(self, settings: Settings, shift: str = "") -> Path:
        """Return the path of the cell's predicted classes of test, or of a further test set."""
        name = f"{settings.digest()}-{_safe_path_part(shift)}" if shift else settings.digest()
        return self.root / PREDICTIONS_DIR / f"{name}.npz"

    def checkpoint_path(self, settings: Settings) -> Path:
        """Return the path of the checkpoint of a cell in training."""
        return self.root / CHECKPOINTS_DIR / f"{settings.digest()}.safetensors"

    def find(self, settings: Settings) -> Record | None:
        """Return the cell's record, or None if there is no valid one.

        Records merged with `--accept-stated` do not count: the cell is run as if they did not
        exist.
        """
        record = self.find_any(settings)
        return None if record and record.evidence == STATED else record

    def find_any(self, settings: Settings) -> Record | None:
        """Return the cell's record, one that others stated included."""
        path = self.path(settings)
        if not path.exists():
            return None
        with suppress(UserError):
            folders.require_inside(self.root, path)
            return read_record(path)
        return None

    def write(self, record: Record) -> Path:
        """Write `record` atomically, in place of an earlier one of the same cell."""
        path = self.path(record.settings)
        self.require_there()
        folders.require_inside(self.root, path)
        write_atomically(path, serialising.record_to_json(record))
        return path

    def read_predictions(self, settings: Settings, shift: str = "") -> Predictions | None:
        """Read the cell's predictions of test, or of a further test set; None if there are none.

        Raises `UserError` as `predictions.read_predictions` does, and for a folder that leads out
        of the results folder.
        """
        path = self.predictions_path(settings, shift)
        folders.require_inside(self.root, path)
        return predictions.read_predictions(path)

    def write_predictions(self, settings: Settings, found: Predictions, shift: str = "") -> Path:
        """Write the cell's predictions of test, or of a further test set, atomically."""
        path = self.predictions_path(settings, shift)
        self.require_there()
        folders.require_inside(self.root, path)
        write_atomically(path, found.to_bytes())
        return path

    def is_there(self) -> bool:
        """Return whether there is a folder of records."""
        return os.path.isdir(self.root / RECORDS_DIR)

    def make(self) -> None:
        """Make the folder of records; from now on it is to stay (see `pin`)."""
        self.require_writable()
        (self.root / RECORDS_DIR).mkdir(exist_ok=True)
        self.pin()

    def pin(self) -> None:
        """Write from now on only while the folder of records is there, if it is there now.

        A run whose folder somebody removes would make another, which looks whole.
        """
        self.is_pinned = self.is_there()

    def require_there(self) -> None:
        """Raise `OSError` if the folder was there when it was pinned, and is not any more."""
        if self.is_pinned and not self.is_there():
            gone = self.root / RECORDS_DIR if os.path.isdir(self.root) else self.root
            raise OSError(f"the folder {gone} is no longer there: it was removed or moved away")

    def files(self) -> list[Path]:
        """List all record files, in a fixed order; links to folders are not followed."""
        folders.require_inside(self.root, self.root / RECORDS_DIR / "any")
        return sorted((self.root / RECORDS_DIR).rglob("*.json"))

    def recorded_cells(self, suite: str) -> set[str]:
        """Return the cells of a suite that have a file, by its name: one walk for many cells."""
        walk = os.walk(self.root / RECORDS_DIR / _safe_path_part(suite))
        return {name[-21:-5] for _, _, names in walk for name in names if name.endswith(".json")}

    def read_all(self) -> Iterator[tuple[Path, Record | UserError]]:
        """Yield every file with its record, or with the error that says what is wrong with it."""
        for path in self.files():
            try:
                yield path, read_record(path)
            except UserError as error:
                yield path, error

    def require_existing(self, hint: str = "") -> None:
        """Raise `UserError` where there is no results folder of the current version."""
        if not self.root.is_dir():
            raise UserError(f"no results folder at {self.root}{hint}")
        self.require_current_schema()

    def require_current_schema(self) -> None:
        """Raise `UserError` if there are records of schema 1, whose cells a run would repeat.

        First, a merge that was cut short is undone. The files are searched as text, not parsed:
        10,000 take a fraction of a second.
        """
        transaction.undo_interrupted(self.root)
        every = [*self.files(), *Store(self.root / TRIALS_DIR).files()]
        old = [path for path in every if b'\n "schema": 1,' in _content(path)]
        if old:
            raise UserError(
                f"{len(old)} records in {self.root} are of schema 1; this version reads "
                f"{SCHEMA_VERSION}. `python -m bench migrate --results {self.root}` keeps their "
                "numbers"
            )

    def require_writable(self) -> None:
        """Raise `UserError` if records cannot be written, or would be written elsewhere."""
        folders.require_all_inside(self.root, OWN_DIRS)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
            self._require_own_dirs_writable()
        except OSError as error:
            raise UserError(
                f"the results folder {self.root} cannot be written to ({error.strerror}); "
                "choose another with --results"
            ) from None

    def _require_own_dirs_writable(self) -> None:
        """Raise `OSError` for a folder of this one that is there and takes no files."""
        for folder in (self.root / name for name in OWN_DIRS):
            if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, f"{folder.name}: {os.strerror(errno.EACCES)}")


MAX_RECORD_BYTES = 2**23  # losses and accuracies of `MAX_EPOCHS` take 5.4 MB


def read_record(path: Path) -> Record:
    """Read a record; raise `UserError` if the file is not a valid one.

    What is returned is within the bounds of the schema, consistent, and of the cell it names.
    """
    content = parsing.read_content(path, MAX_RECORD_BYTES, "a record")
    try:
        record = parse_record(content)
    except ValueError as error:
        raise UserError(f"{path} is not a record: {first_line(error)}") from None
    except UserError as error:
        raise UserError(f"{path} {error}") from None
    return record


def parse_record(content: bytes) -> Record:
    """Parse a record; raises `ValueError` if it is not one, `UserError` if it is not valid."""
    found = strict_json.parse(content)
    _require_schema(found.get("schema", SCHEMA_VERSION) if isinstance(found, dict) else None)
    record = parsing.validate_json(serialising.record_adapter, content)
    if record.cell != record.settings.digest():
        raise UserError(f"names cell {record.cell}, but its settings are another's")
    if odd := inconsistency(record):
        raise UserError(odd)
    return record


def _require_schema(given: object) -> None:
    """Raise `UserError` for a record of another schema version."""
    if type(given) is not int or given == SCHEMA_VERSION:
        return  # what is no number is left to the schema
    how = "`python -m bench migrate` brings a results folder over" if given == 1 else "update it"
    raise UserError(f"has schema {shorten(given)}; this version reads {SCHEMA_VERSION}: {how}")


def _content(path: Path) -> bytes:
    """Return the content of a record's file; empty if it cannot be read."""
    with suppress(OSError):
        return read_regular_file(path, MAX_RECORD_BYTES)
    return b""


@cache
def _safe_path_part(name: str) -> str:
    """Replace the characters of `name` that are not safe in a path, and a dot at its beginning."""
    safe = "".join(c if c.isalnum() or c in "._-" else "-" for c in name)
    return f"-{safe[1:]}" if safe.startswith(".") else safe


class FolderRecords(NamedTuple):
    """The records of a results folder."""

    records: list[Record]  # valid, and of known evidence: these rank
    stated: list[Record]  # valid, by the word of others alone: these never rank
    problems: list[str]  # a sentence for each file that is not a valid record


def read_valid(store: Store) -> tuple[list[Record], list[str]]:
    """Return the valid records that may rank, and a sentence for each file that is not valid."""
    found = read_folder(store)
    return found.records, found.problems


def read_folder(store: Store) -> FolderRecords:
    """Read all the records of a results folder."""
    found = FolderRecords([], [], [])
    for path, record in store.read_all():
        problem = (
            str(record) if isinstance(record, UserError) else _record_problem(path, record, store)
        )
        if problem:
            found.problems.append(problem)
        elif isinstance(record, Record):
            (found.stated if record.evidence == STATED else found.records).append(record)
    return found


def load_records(results: Path | str = "results") -> list[Record]:
    """Load the records of a results folder that can be trusted, as `read_valid` finds them."""
    return read_valid(Store(Path(results)))[0]


def _record_problem(path: Path, record: Record, store: Store) -> str:
    """Return what is wrong with the place of a valid record, or an empty string.

    A copy under another name is wrong: it would count as one more seed.
    """
    place = store.path(record.settings, record.cell)  # whose hash was checked in reading
    return "" if path == place else f"{path} is the record of a cell whose place is {place}"
