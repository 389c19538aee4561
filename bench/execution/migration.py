"""Migration of records from an earlier schema: numbers stay as they are, cells get new digests.

Schema 1 did not record the number of classes. It is inferred: the one with which the method,
rebuilt from the record's own settings, has as many trainable parameters as the record counted. Only
where a cell has no outcome is it read from the suite's card.

A tuned record of schema 2 may name the grids of other methods, as all did once: they are left out.
"""

import csv
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import methods
from bench.execution import migrated_names
from bench.execution.inferred_classes import infer_classes
from bench.records import parsing, serialising
from bench.records.entries import OWN_GRIDS_KEY, TUNING_KEY
from bench.records.leases import CELL_NAME
from bench.records.measurements import MAX_FILE_BYTES, MEASURES_DIR, measurement_path
from bench.records.schema import SCHEMA_VERSION, TRIALS_DIR, Record, inconsistency
from bench.records.store import MAX_RECORD_BYTES, OWN_DIRS, Store
from bench.utils import folders, strict_json
from bench.utils.errors import UserError, first_line
from bench.utils.files import write_atomically
from bench.utils.names import shorten
from bench.utils.tables import csv_text
from bench.utils.text import longest_prefix_entry

OLD_SCHEMA = 1  # the schema that is migrated
MAP_FILE = "migration.csv"
MAX_MAP_BYTES = 2**26  # of a line of 100 bytes for each of 600,000 cells
MAP_HEADER = "before,cell,suite,backbone,task,method,seed,accuracy"
# Fields that methods have got since, with the value that computes what all computed before.
NEW_FIELDS: Mapping[str, Any] = {"replacement": False, "bias": True, "gathered": "concatenated"}
# Fields whose registered value is another now: a record's request names the one that it had.
CHANGED_DEFAULTS = {"fact_tk": {"form": "tucker"}}


@dataclass
class Migration:
    """Migration of one results folder."""

    results: Path
    new_names: dict[str, str]  # cells' digests by their old ones
    problems: list[str]

    def run(self) -> Iterator[str]:
        """Migrate all records, or those that an interrupted run left; yield a summary."""
        moved = 0
        for root in (self.results / TRIALS_DIR, self.results):  # finals name their trials
            store = Store(root)
            for path in store.files():
                try:
                    moved += self._migrate_file(path, store)
                except UserError as error:
                    self.problems.append(str(error))
        self._sort_map()
        migrated_names.rename_cells(self.results, self.new_names)
        yield f"{moved} records brought over to schema {SCHEMA_VERSION}, {len(self.problems)} left"

    def _migrate_file(self, path: Path, store: Store) -> bool:
        """Migrate a record and its files; return False where nothing is left to do."""
        old = _read_old_record(path)
        if old["schema"] == SCHEMA_VERSION and not _names_other_grids(path, old):
            return False
        record = self._migrate_record(path, old)
        self._append_to_map(old["cell"], record)
        store.write(record)
        self._move_sidecars(store, old["cell"], record)
        course = _tensorboard_dir(store, path)
        if course.is_dir():
            os.replace(course, _tensorboard_dir(store, store.path(record.settings)))
        path.unlink()
        return True

    def _migrate_record(self, path: Path, old: Mapping[str, Any]) -> Record:
        is_current = old["schema"] == SCHEMA_VERSION
        whole = dict(old) if is_current else self._from_schema_1(path, old)
        whole = {**whole, "settings": _with_own_grid(whole["settings"])}
        record = _validate(path, whole)
        return _validate(path, {**whole, "cell": record.settings.digest()})

    def _from_schema_1(self, path: Path, old: Mapping[str, Any]) -> dict[str, Any]:
        settings = dict(old["settings"])
        settings["fields"] = {**_new_fields(settings["method"]), **settings["fields"]}
        settings["classes"] = infer_classes(path, {**old, "settings": settings})
        about = {"request": _migrate_request(old), "tuned": self._migrate_tuning(old)}
        return {**old, **about, "settings": settings, "schema": SCHEMA_VERSION}

    def _migrate_tuning(self, old: Mapping[str, Any]) -> Any:
        """Return the trials of a final run with their new digests."""
        tuned = old.get("tuned")
        if not tuned:
            return tuned
        trials = [{**t, "cell": self.new_names.get(t["cell"], t["cell"])} for t in tuned["trials"]]
        return {**tuned, "trials": trials}

    def _move_sidecars(self, store: Store, before: str, record: Record) -> None:
        """Move predictions and measurements to their record's new digest."""
        predictions = store.root / "predictions" / f"{before}.npz"
        if predictions.is_file():
            os.replace(predictions, store.predictions_path(record.settings))
        measures = store.root / MEASURES_DIR / before
        for file in sorted(measures.glob("*.json")):
            try:
                content = parsing.read_content(file, MAX_FILE_BYTES, "a file of measures")
            except UserError as error:
                self.problems.append(str(error))
                continue
            old, new = (f'"cell": "{cell}"'.encode() for cell in (before, record.cell))
            place = measurement_path(store.root, record.cell, file.stem)
            write_atomically(place, content.replace(old, new, 1))
            file.unlink()
        with suppress(OSError):
            measures.rmdir()

    def _append_to_map(self, before: str, record: Record) -> None:
        """Append to the map file at once: final runs need it after an interruption."""
        self.new_names[before], s = record.cell, record.settings
        accuracy = record.outcome.accuracy if record.outcome else ""
        line = (before, record.cell, s.suite, s.backbone, s.task, s.method, s.seed, accuracy)
        path = self.results / MAP_FILE
        if not path.is_file():
            write_atomically(path, f"{MAP_HEADER}\n".encode())
        with path.open("a", newline="", encoding="utf-8") as file:
            file.write(csv_text([line]))

    def _sort_map(self) -> None:
        """Sort the map file under its header, each cell once."""
        path = self.results / MAP_FILE
        if path.is_file():
            heads, *lines = sorted(
                set(path.read_text(encoding="utf-8").splitlines()), key=_map_sort_key
            )
            write_atomically(path, "\n".join([heads, *lines, ""]).encode())


def _tensorboard_dir(store: Store, path: Path) -> Path:
    """Return the folder of a record's training curves for TensorBoard."""
    return store.root / "tensorboard" / path.relative_to(store.root / "records").with_suffix("")


def _map_sort_key(line: str) -> tuple[bool, list[str], str]:
    """Sort the header first, then by the cell's settings, then by its old digest."""
    before, _, *about = line.split(",")
    return line != MAP_HEADER, about[:-1], before


def migrate(results: Path, problems: list[str]) -> Iterator[str]:
    """Migrate a results folder; records that cannot be are left, and noted in `problems`."""
    folders.require_all_inside(results, OWN_DIRS)
    yield from Migration(results, _read_map(results), problems).run()


def _new_fields(name: str) -> dict[str, Any]:
    """Return the fields that a method did not have in the old schema."""
    known = fields(methods.create(name)) if name in methods.names() else ()
    return {field.name: NEW_FIELDS[field.name] for field in known if field.name in NEW_FIELDS}


def _with_own_grid(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings whose search, if any, names the grid of their own method and of no other."""
    recipe = settings["recipe"]
    if TUNING_KEY not in recipe:
        return dict(settings)
    search = recipe[TUNING_KEY]
    own = longest_prefix_entry(settings["method"], search.get(OWN_GRIDS_KEY, {}))
    search = {**search, OWN_GRIDS_KEY: own}
    return {**settings, "recipe": {**recipe, TUNING_KEY: search}}


def _migrate_request(old: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's request, with defaults that have changed since set explicitly."""
    request = old.get("request") or {}
    named = CHANGED_DEFAULTS.get(old["settings"]["method"])
    return {**request, "changes": {**named, **request["changes"]}} if named and request else request


def _read_map(results: Path) -> dict[str, str]:
    """Read the new digests that an interrupted migration has noted."""
    path = results / MAP_FILE
    if not path.is_file():
        return {}
    content = parsing.read_content(path, MAX_MAP_BYTES, "the map of a migration")
    try:
        heads, *lines = csv.reader(content.decode("utf-8").splitlines())
        if heads != MAP_HEADER.split(",") or not all(map(_is_map_line, lines)):
            raise ValueError(f"lines of {MAP_HEADER} were expected")
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} is not the map of a migration: {first_line(error)}") from None
    return {before: cell for before, cell, *_ in lines}


def _is_map_line(line: Sequence[str]) -> bool:
    return len(line) == len(MAP_HEADER.split(",")) and all(map(CELL_NAME.fullmatch, line[:2]))


def _read_old_record(path: Path) -> dict[str, Any]:
    """Read a record's JSON; raises `UserError` where it is not a record of the old schema.

    Its entries are of the types and within the bounds of the present schema's.
    """
    content = parsing.read_content(path, MAX_RECORD_BYTES, "a record")
    try:
        found = strict_json.parse(content)
        schema = found["schema"]
        if schema == SCHEMA_VERSION:
            return dict(found)
        as_now = {**found, "settings": {**found["settings"], "classes": 1}}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a record: {first_line(error)}") from None
    if schema != OLD_SCHEMA:
        raise UserError(
            f"{path} has schema {shorten(schema)}; {OLD_SCHEMA} can be brought over to "
            f"{SCHEMA_VERSION}"
        )
    _validate(path, {**as_now, "schema": SCHEMA_VERSION})
    cell = found.get("cell", "none")
    if settings_digest(found["settings"]) != cell:
        raise UserError(f"{path} names cell {cell}, but its settings are another's")
    return dict(found)


def _names_other_grids(path: Path, found: Mapping[str, Any]) -> bool:
    """Return whether a record of the present schema names grids that are not its method's.

    What is no sound record names none: whatever reads it says what is wrong.
    """
    try:
        _validate(path, found)
    except UserError:
        return False
    return _with_own_grid(found["settings"]) != found["settings"]


def settings_digest(settings: Mapping[str, Any]) -> str:
    """Return the digest of settings as a record's file has them."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _validate(path: Path, table: Mapping[str, Any]) -> Record:
    try:
        record = parsing.validate_json(serialising.record_adapter, json.dumps(table).encode())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a record: {first_line(error)}") from None
    if odd := inconsistency(record):
        raise UserError(f"{path} {odd}")
    return record
