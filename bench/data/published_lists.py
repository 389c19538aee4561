"""Published lists of images that come with the project, in packages: ``datasets/lists/*.tar.xz``.

A card names one as ``PACKAGE:PATH``: ``noah:few-shot/food101/annotations/val_meta.list``.
"""

import tarfile
from collections.abc import Iterable
from functools import lru_cache

from bench.config.loading import SUITES_DIR
from bench.config.shots import shot_problem
from bench.config.suite import Task
from bench.data.locations import ListEntry, parse_classes, read_list
from bench.utils.errors import UserError, unknown_name

LISTS_DIR = SUITES_DIR / "lists"
MAX_LISTS = 256  # whose labels are kept
SUFFIX, TOP = ".tar.xz", "data/"  # of a package's file, and the folder in it


def require_sound(tasks: Iterable[Task]) -> None:
    """Raise `UserError` where a published list of a task is not there, or not of its classes.

    Also where the training list of a few-shot task has more or fewer images of a class.
    """
    for task in tasks:
        for split, name in task.members.items():
            if is_published(name):
                labels = _labels_by_path(name, task.classes)
                odd = shot_problem(task, labels.values()) if split == "train" else ""
                if odd:
                    raise UserError(f"{name.replace(':', '/')}: {odd}")


@lru_cache(maxsize=MAX_LISTS)
def _labels_by_path(name: str, classes: int) -> dict[str, int]:
    """Return the label of each image of a list; most lists are those of several tasks."""
    entries = read_published_list(name)
    labels = parse_classes(classes, entries)
    return {path: label for (path, _, _), label in zip(entries, labels, strict=True)}


def forget() -> None:
    """Have packages read again: those of another folder, say."""
    read_package.cache_clear()
    _labels_by_path.cache_clear()


def is_published(name: str) -> bool:
    """Return whether a card's name of a list means one in a package."""
    return ":" in name


def package_names() -> list[str]:
    """List the packages."""
    return sorted(path.name.removesuffix(SUFFIX) for path in LISTS_DIR.glob(f"*{SUFFIX}"))


@lru_cache(maxsize=1)
def read_package(package: str) -> dict[str, bytes]:
    """Return the lists of a package by their paths in it; raises `UserError` for an unknown one."""
    if package not in package_names():
        raise unknown_name("package of lists", package, package_names())
    path = LISTS_DIR / f"{package}{SUFFIX}"
    try:
        with tarfile.open(path) as archive:
            files = [member for member in archive if member.isfile()]
            return {m.name.removeprefix(TOP): _content(archive, m) for m in files}
    except (OSError, EOFError, tarfile.TarError) as error:
        raise UserError(f"the package of lists {path} cannot be read: {error}") from None


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    assert stream is not None  # it is a file
    return stream.read()


def read_published_list(name: str) -> list[ListEntry]:
    """Read the lines of the list called ``PACKAGE:PATH``: path, label as written, and where.

    Raises `UserError` for an unknown package or list, and for a malformed line.
    """
    package, _, path = name.partition(":")
    return read_list(package, path, lambda _: _content_of(name))


def _content_of(name: str) -> bytes:
    package, _, path = name.partition(":")
    lists = read_package(package)
    if path not in lists:
        some = f"it has {len(lists)}, such as {min(lists)}"
        raise unknown_name(f"list of {package}", path, lists, some)
    return lists[path]
