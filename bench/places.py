"""Where a task's data lie: prepared in a variant, or in a folder as found."""

from dataclasses import dataclass
from pathlib import Path

from bench import stores
from bench.cards import Suite
from bench.errors import UserError
from bench.tasks import Task


@dataclass(frozen=True)
class Place:
    """Where a task's data lie: as prepared in a variant, or in a folder as found."""

    folder: Path
    variant: str = ""  # empty: as found


def folders(suite: Suite, task: Task, root: Path) -> list[Path]:
    """Where a task's folder, as found, is looked for."""
    name = task.folder or task.name
    return list(dict.fromkeys([root / suite.folder / name, root / name]))


def is_present(suite: Suite, task: Task, root: Path, variant: str | None = None) -> bool:
    """Whether a task is embedded, or lies in one of its places."""
    return bool(task.embedded) or bool(there(suite, task, root, variant))


def find(suite: Suite, task: Task, root: Path, variant: str | None = None) -> Place:
    """Where a task lies; raises `UserError` with the places looked in."""
    for place in there(suite, task, root, variant):
        return place
    raise UserError(absence(suite, task, root, variant))


def absence(suite: Suite, task: Task, root: Path, variant: str | None) -> str:
    """Why a task's data cannot be read: what was looked for, or which variant there is."""
    others = stores.variants(root, suite.name, task)
    if others:
        wanted = variant or stores.LOSSLESS
        return f"{task.name} is prepared as {others[0]}, not as {wanted}: say --variant {others[0]}"
    if variant:
        return f"{task.name} is not prepared as {variant} in {root / 'prepared'}"
    if not suite.lists:
        return f"{task.name} is not prepared in {root / 'prepared'}"
    looked = " and ".join(map(str, folders(suite, task, root)))
    return f"no data for {task.name}: looked for {suite.lists['test'][0]} in {looked}"


def there(suite: Suite, task: Task, root: Path, variant: str | None) -> list[Place]:
    """Where a task lies: prepared in a variant, then as found, which no variant names."""
    wanted = variant or stores.LOSSLESS
    folder = stores.find(root, suite.name, task, wanted)
    prepared = [Place(folder, wanted)] if folder else []
    if variant or not suite.lists:
        return prepared
    test = suite.lists["test"][0]
    as_found = [place for place in folders(suite, task, root) if (place / test).is_file()]
    return prepared + [Place(place) for place in as_found]
