"""Checks of other people's records, and merging the accepted ones into a results folder."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.config import recipe, search_space, suite
from bench.config.overrides import is_recipe_field, override_recipe
from bench.config.recipe import Recipe
from bench.records import measurements, schema
from bench.records.measurements import MEASUREMENTS
from bench.records.predictions import read_predictions
from bench.records.schema import Record
from bench.records.store import Store, read_record
from bench.utils import files
from bench.utils.errors import UserError

RECORDS_DIR = "records"


@dataclass(frozen=True)
class CheckedRecord:
    """A file that should be a record."""

    path: Path
    record: Record | None
    problems: list[str]  # why it is refused; empty: it is accepted


def check_records(paths: Iterable[Path]) -> list[CheckedRecord]:
    """Check every record below `paths`, files or folders."""
    read = [_check_file(path) for path in _record_files(paths)]
    cells = Counter(found.record.cell for found in read if found.record)
    return [_note_duplicate(found, cells) for found in read]


def merge_records(
    found: Iterable[CheckedRecord], store: Store
) -> Iterator[tuple[str, CheckedRecord]]:
    """Merge accepted records; yields what was done with each: added, here already, or ours kept.

    The measurements of a cell come with its record; if the store has the same record, they are
    added.
    """
    for one in found:
        if one.record is None or one.problems:
            continue
        mine = store.find(one.record.settings)
        if mine is None or (one.record.ok and not mine.ok):
            _copy_record(one, store)
            yield "added", one
        elif mine.outcome != one.record.outcome:
            yield "differs, ours kept", one
            continue
        else:
            yield "here already", one
        yield from (("added", replace(one, path=path)) for path in _copy_measures(one, store))


def _copy_record(found: CheckedRecord, store: Store) -> None:
    assert found.record is not None
    kept = _predictions_path(found.path, found.record)
    if kept and kept.is_file():
        path = store.predictions_path(found.record.settings)
        files.write_atomically(path, kept.read_bytes())
    store.write(found.record)


def _copy_measures(found: CheckedRecord, store: Store) -> Iterator[Path]:
    """Copy the cell's measurements that the store lacks; yields the files copied from."""
    root = _results_root(found.path)
    assert found.record is not None
    cell = found.record.cell
    if root is None:
        return
    for name in measurements.missing_measurements(store.root, cell, MEASUREMENTS):
        if measured := measurements.read_measurement(root, cell, name):
            measurements.write_measurement(store.root, measured)
            yield measurements.measurement_path(root, cell, name)


def _record_files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            inside = path / RECORDS_DIR if (path / RECORDS_DIR).is_dir() else path
            yield from sorted(inside.rglob("*.json"))
        elif path.is_file():
            yield path
        else:
            raise UserError(f"no file or folder at {path}")


def _check_file(path: Path) -> CheckedRecord:
    try:
        record = read_record(path)
    except UserError as error:
        return CheckedRecord(path, None, [str(error)])
    found = [f"{path} {problem}" for check in CHECKS if (problem := check(record, path))]
    return CheckedRecord(path, record, found)


def _note_duplicate(found: CheckedRecord, cells: Mapping[str, int]) -> CheckedRecord:
    if found.record is None or cells[found.record.cell] == 1:
        return found
    problem = (
        f"{found.path} is one of {cells[found.record.cell]} records of cell {found.record.cell}"
    )
    return CheckedRecord(found.path, found.record, [*found.problems, problem])


def _check_outcome(record: Record, _: Path) -> str:
    trial = "is a trial, scored on validation data" if schema.is_trial(record.settings) else ""
    return schema.inconsistency(record) or trial


def _check_commit(record: Record, _: Path) -> str:
    if record.environment.get("dirty") is False:
        return ""
    return "was made by code with uncommitted changes, or does not say by which"


def _check_suite(record: Record, _: Path) -> str:
    s = record.settings
    try:
        card = suite.load_suite(s.suite)
        card.find(s.task)
    except UserError as error:
        return f"is of no suite or task of this checkout: {error}"
    return _version_mismatch("suite", s.suite, s.suite_version, card.version)


def _check_recipe(record: Record, _: Path) -> str:
    """Check that the recorded recipe is the card's, with the changes that the request names."""
    s = record.settings
    name, version = s.recipe.get("name", ""), s.recipe.get("version")
    try:
        card = recipe.load_recipe(name)
        asked = record.request.get("changes", {})
        changes = {k: v for k, v in asked.items() if is_recipe_field(k)}
        changed = override_recipe(card, changes) if changes else card
    except UserError as error:
        return f"is of no recipe of this checkout: {error}"
    tuned = schema.TUNING_KEY in s.recipe
    protocol = search_space.tuned_protocol if tuned else Recipe.protocol
    wanted = protocol(changed, s.suite, s.recipe.get("precision", ""))
    odd = [k for k in sorted({*wanted, *s.recipe}) if wanted.get(k) != s.recipe.get(k)]
    return _version_mismatch("recipe", name, version, card.version) or (
        f"has another {', '.join(odd)} than recipe {name!r}, and its request does not say so"
        if odd
        else search_space.tuning_inconsistency(record, changed)
    )


def _version_mismatch(kind: str, name: str, given: Any, known: int) -> str:
    if given == known:
        return ""
    return f"is of version {given} of {kind} {name!r}; this checkout has version {known}"


def _check_predictions(record: Record, path: Path) -> str:
    """Check that the stored predictions are those of the record, and score as it says."""
    kept = _predictions_path(path, record)
    if record.outcome is None or kept is None:
        return ""
    try:
        found = read_predictions(kept)
    except UserError as error:
        return f"has predictions that cannot be read: {error}"
    if found is None:
        return ""
    if found.sha256() != record.outcome.predictions:
        return f"has other predictions than those in {kept}"
    right = found.correct()
    if right is not None and abs(100 * right.mean() - record.outcome.accuracy) > 1e-6:
        return (
            f"says {record.outcome.accuracy:.2f} %, but its predictions score "
            f"{100 * right.mean():.2f} %"
        )
    return ""


def _check_measurements(record: Record, path: Path) -> str:
    """Check that the stored measurements of the cell can be read."""
    root = _results_root(path)
    if root is None:
        return ""
    try:
        for name in MEASUREMENTS:
            measurements.read_measurement(root, record.cell, name)
    except UserError as error:
        return f"has measures that cannot be used: {error}"
    return ""


def _predictions_path(path: Path, record: Record) -> Path | None:
    """Return the path of a record's predictions, if it is in a results folder."""
    root = _results_root(path)
    return Store(root).predictions_path(record.settings) if root else None


def _results_root(path: Path) -> Path | None:
    """Return the results folder that a record is in, if it is in one."""
    return next((parent.parent for parent in path.parents if parent.name == RECORDS_DIR), None)


CHECKS: tuple[Callable[[Record, Path], str], ...] = (
    _check_outcome,
    _check_commit,
    _check_suite,
    _check_recipe,
    _check_predictions,
    _check_measurements,
)
