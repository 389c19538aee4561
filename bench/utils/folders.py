"""The folders of a results folder; links that lead out of it are not followed."""

import os
from collections.abc import Iterable
from pathlib import Path

from bench.utils.errors import UserError


def require_inside(root: Path, path: Path) -> None:
    """Raise `UserError` where a folder below `root`, on the way to `path`, leads out of `root`.

    `root` itself may be a link. `path` need not exist; whether it is a link is for its reader.
    """
    folder = root
    for part in path.relative_to(root).parts[:-1]:
        folder = folder / part
        if os.path.islink(folder) and not _is_inside(root, folder):
            raise UserError(f"{folder} is a link that leads out of {root}; it is not followed")


def require_all_inside(root: Path, names: Iterable[str]) -> None:
    """Raise `UserError` where one of these folders of `root`, or one within, leads out of it."""
    for name in names:
        require_inside(root, root / name / "any")
        for folder, within, _ in os.walk(root / name):
            for one in within:
                require_inside(root, Path(folder, one, "any"))


def _is_inside(root: Path, folder: Path) -> bool:
    return Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root))
