"""Records of others: what is accepted, and why the rest is not; and how they are brought in."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import cards, predictions, records, search
from bench.cards import Recipe
from bench.changes import change_recipe, is_of_recipe
from bench.errors import UserError
from bench.records import Record, Store
from bench.studies import kept
from bench.studies.measurements import MEASUREMENTS

RECORDS = "records"


@dataclass(frozen=True)
class Found:
    """A file that should be a record."""

    path: Path
    record: Record | None
    problems: list[str]  # why it is refused; empty: it is accepted


def inspect(paths: Iterable[Path]) -> list[Found]:
    """Every record below `paths`, files or folders, with what keeps it from being accepted."""
    read = [_read(path) for path in _files(paths)]
    cells = Counter(found.record.cell for found in read if found.record)
    return [_twice(found, cells) for found in read]


def merge(found: Iterable[Found], store: Store) -> Iterator[tuple[str, Found]]:
    """Bring accepted records in; for each what became of it: added, here already, or ours kept.

    What was measured of a cell comes with its record, or after it where the record is ours alike.
    """
    for one in found:
        if one.record is None or one.problems:
            continue
        mine = store.find(one.record.settings)
        if mine is None or (one.record.ok and not mine.ok):
            _copy(one, store)
            yield "added", one
        elif mine.outcome != one.record.outcome:
            yield "differs, ours kept", one
            continue
        else:
            yield "here already", one
        yield from (("added", replace(one, path=path)) for path in _copy_measures(one, store))


def _copy(found: Found, store: Store) -> None:
    assert found.record is not None
    kept = _predictions_path(found.path, found.record)
    if kept and kept.is_file():
        path = store.predictions_path(found.record.settings)
        records.write_atomically(path, kept.read_bytes())
    store.write(found.record)


def _copy_measures(found: Found, store: Store) -> Iterator[Path]:
    """Keep what was measured of the cell and is not here; the files that it came from."""
    root = _root(found.path)
    assert found.record is not None
    cell = found.record.cell
    if root is None:
        return
    for name in kept.missing(store.root, cell, MEASUREMENTS):
        if measured := kept.read(root, cell, name):
            kept.write(store.root, measured)
            yield kept.path(root, cell, name)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            inside = path / RECORDS if (path / RECORDS).is_dir() else path
            yield from sorted(inside.rglob("*.json"))
        elif path.is_file():
            yield path
        else:
            raise UserError(f"no file or folder at {path}")


def _read(path: Path) -> Found:
    try:
        record = records.read(path)
    except UserError as error:
        return Found(path, None, [str(error)])
    found = [f"{path} {problem}" for check in CHECKS if (problem := check(record, path))]
    return Found(path, record, found)


def _twice(found: Found, cells: Mapping[str, int]) -> Found:
    if found.record is None or cells[found.record.cell] == 1:
        return found
    problem = (
        f"{found.path} is one of {cells[found.record.cell]} records of cell {found.record.cell}"
    )
    return Found(found.path, found.record, [*found.problems, problem])


def _ended(record: Record, _: Path) -> str:
    trial = "is a trial, scored on validation data" if search.is_trial(record.settings) else ""
    return records.oddity(record) or trial


def _clean(record: Record, _: Path) -> str:
    if record.environment.get("dirty") is False:
        return ""
    return "was made by code with uncommitted changes, or does not say by which"


def _suite(record: Record, _: Path) -> str:
    s = record.settings
    try:
        card = cards.load_suite(s.suite)
        card.find(s.task)
    except UserError as error:
        return f"is of no suite or task of this checkout: {error}"
    return _version("suite", s.suite, s.suite_version, card.version)


def _recipe(record: Record, _: Path) -> str:
    """Whether the recorded recipe is the card's, with the changes that the request names."""
    s = record.settings
    name, version = s.recipe.get("name", ""), s.recipe.get("version")
    try:
        card = cards.load_recipe(name)
        asked = record.request.get("changes", {})
        changes = {k: v for k, v in asked.items() if is_of_recipe(k)}
        changed = change_recipe(card, changes) if changes else card
    except UserError as error:
        return f"is of no recipe of this checkout: {error}"
    tuned = search.TUNING in s.recipe
    protocol = search.protocol if tuned else Recipe.protocol
    wanted = protocol(changed, s.suite, s.recipe.get("precision", ""))
    odd = [k for k in sorted({*wanted, *s.recipe}) if wanted.get(k) != s.recipe.get(k)]
    return _version("recipe", name, version, card.version) or (
        f"has another {', '.join(odd)} than recipe {name!r}, and its request does not say so"
        if odd
        else search.problem(record, changed)
    )


def _version(kind: str, name: str, given: Any, known: int) -> str:
    if given == known:
        return ""
    return f"is of version {given} of {kind} {name!r}; this checkout has version {known}"


def _scored(record: Record, path: Path) -> str:
    """Whether the predictions that lie beside are those of the record, and score as it says."""
    kept = _predictions_path(path, record)
    if record.outcome is None or kept is None or not kept.is_file():
        return ""
    found = predictions.read(kept)
    if found is None:
        return f"has predictions that cannot be read: {kept}"
    if found.sha256() != record.outcome.predictions:
        return f"has other predictions than those in {kept}"
    right = found.right()
    if right is not None and abs(100 * right.mean() - record.outcome.accuracy) > 1e-6:
        return (
            f"says {record.outcome.accuracy:.2f} %, but its predictions score "
            f"{100 * right.mean():.2f} %"
        )
    return ""


def _measured(record: Record, path: Path) -> str:
    """Whether what lies beside as measured of the cell can be read."""
    root = _root(path)
    if root is None:
        return ""
    try:
        for name in MEASUREMENTS:
            kept.read(root, record.cell, name)
    except UserError as error:
        return f"has measures that cannot be used: {error}"
    return ""


def _predictions_path(path: Path, record: Record) -> Path | None:
    """Where the predictions of a record lie, if it lies in a results folder."""
    root = _root(path)
    return Store(root).predictions_path(record.settings) if root else None


def _root(path: Path) -> Path | None:
    """The results folder in which a record lies, if it lies in one."""
    return next((parent.parent for parent in path.parents if parent.name == RECORDS), None)


CHECKS: tuple[Callable[[Record, Path], str], ...] = (
    _ended,
    _clean,
    _suite,
    _recipe,
    _scored,
    _measured,
)
