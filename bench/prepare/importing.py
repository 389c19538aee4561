"""A copy of a suite that somebody already has becomes prepared folders, one a task.

It is a folder or a zip in a layout that the field shares: a folder a task, with list files beside
the images (the suite's card names both).
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from bench import lists, stores
from bench.cards import Suite
from bench.errors import UserError
from bench.prepare import variants, writing
from bench.prepare.building import (
    Progress,
    certificates,
    counted,
    made_with,
    require_rules,
    vouched,
)
from bench.prepare.containers import archives
from bench.prepare.containers.archives import Archive
from bench.prepare.formats.base import Name, Picture
from bench.prepare.writing import Span
from bench.sources import Source
from bench.stores import Row
from bench.tasks import APART, Split, Task

SAMPLE = 64  # images by which a copy's variant is told
Lines = dict[Split, list[lists.Line]]


@dataclass(frozen=True)
class Copy:
    """One task of a copy: its archive, and the folder in it that holds the lists."""

    suite: Suite
    task: Task
    source: Source | None  # that the task is made from
    archive: Archive
    path: Path  # of the archive, for messages
    folder: str  # in the archive; empty, or ends with a slash

    @property
    def where(self) -> str:
        """The folder, for messages."""
        return f"{self.path}: {self.folder}".rstrip("/ :")

    @cached_property
    def contents(self) -> dict[str, bytes]:
        """The list files by name, read in one pass."""
        wanted = [self.folder + name for split in APART for name in self.suite.lists[split]]
        found = self.archive.read(wanted)
        return {name.removeprefix(self.folder): content for name, content in found}

    def lines(self, split: Split) -> list[lists.Line]:
        """What the lists of a split say."""
        names = self.suite.lists[split]
        return [
            line for n in names for line in lists.lines(self.where, n, self.contents.__getitem__)
        ]

    def member(self, path: str) -> str:
        """An image in the archive, by its path in a list."""
        return self.folder + (PurePosixPath(self.task.images) / path).as_posix()

    def name(self, path: str) -> Name:
        """What an image of the copy is called: no split of the source, whose names are lost."""
        return _folder(self.task), path


def found(suite: Suite, path: Path, sources: Mapping[str, Source]) -> list[Copy]:
    """The tasks of the suite that a folder or zip holds; raises `UserError` where it holds none."""
    unlisted = [split for split in APART if not suite.lists.get(split)]
    if unlisted:
        raise UserError(
            f"no copy of {suite.name} can be read: its card lists no {unlisted[0]} file"
        )
    if not path.exists():
        raise UserError(f"no folder or zip of a copy at {path}")
    archive = archives.opened(path)
    test = suite.lists["test"][0]
    holding = [name.removesuffix(test) for name in archive.names() if _is_called(name, test)]
    copies = [
        Copy(suite, task, sources.get(task.source), archive, path, folder)
        for task in suite.task
        for folder in holding
        if _belongs(folder, task, path)
    ]
    if not copies:
        wanted = ", ".join(f"{_folder(task)}/{test}" for task in suite.task[:3])
        raise UserError(f"{path} holds no task of {suite.name}: looked for {wanted} and so on")
    return copies


def _folder(task: Task) -> str:
    return task.folder or task.name


def _is_called(name: str, test: str) -> bool:
    return PurePosixPath(name).name == test


def _belongs(folder: str, task: Task, path: Path) -> bool:
    """Whether a folder of the archive, or the archive itself, is called as the task's is."""
    itself = path.resolve()
    called = {PurePosixPath(folder).name} if folder else {itself.name, itself.stem}
    return _folder(task) in called


def bring(copy: Copy, root: Path, variant: str | None, progress: Progress) -> tuple[str, list[str]]:
    """Prepare one task of a copy; its variant, and the warnings.

    Without a `variant`, the images themselves tell it. Raises `UserError` for the first rule that
    the copy breaks.
    """
    listed = {split: copy.lines(split) for split in APART}
    classes = _classes(copy, listed)
    hollow = {copy.name(path): Span("", 0, 0, path) for path in classes}
    unwritten = _rows(copy, listed, classes, hollow)
    require_rules(copy.task, copy.source, unwritten, copied=True)  # before anything is written
    told = _variant(copy, listed, variant)
    _require_unbuilt(copy, root, told)
    with writing.published(stores.home(root, copy.suite.name, copy.task.name, told)) as folder:
        pictures = counted(
            _images(copy, classes), copy.task.title or copy.task.name, len(classes), progress
        )
        spans = writing.write_images(folder, pictures)
        rows = _rows(copy, listed, classes, spans)
        said = vouched(copy.task, copy.source, told, folder, rows, copied=True)
        named = {copy.task.name: rows}
        writing.write_lists(folder, named)
        facts = {"suite": copy.suite.name, "variant": told, "warnings": said, **made_with()}
        proof = {"certificates": certificates(folder, named), "imported": copy.path.name}
        writing.write_card(folder, {**facts, **proof, "source": copy.task.source})
    return told, said


def _classes(copy: Copy, listed: Lines) -> dict[str, int]:
    """The class of each image, by its path."""
    classes: dict[str, int] = {}
    for split, lines in listed.items():
        read = copy.contents.__getitem__
        numbers = lists.class_numbers(copy.suite, copy.task, copy.where, read, lines)
        seen: set[str] = set()
        for (path, _, origin), number in zip(lines, numbers, strict=True):
            if path in seen:
                raise UserError(f"E-OVERLAP {origin}: {path} stands twice in the {split} list")
            seen.add(path)
            classes[path] = number
    return classes


def _rows(
    copy: Copy, listed: Lines, classes: Mapping[str, int], spans: Mapping[Name, Span]
) -> dict[Split, list[Row]]:
    def row(path: str) -> Row:
        name = copy.name(path)
        return spans[name].row(classes[path], name)

    return {split: [row(path) for path, _, _ in lines] for split, lines in listed.items()}


def _images(copy: Copy, paths: Mapping[str, int]) -> Iterator[tuple[Name, Picture]]:
    of_member = {copy.member(path): path for path in paths}
    for member, content in copy.archive.read(of_member):
        yield copy.name(of_member[member]), content


def _variant(copy: Copy, listed: Lines, wanted: str | None) -> str:
    """The variant that the images show; raises `UserError` where they belie what was claimed."""
    some = [copy.member(path) for path, _, _ in listed["train"][:SAMPLE]]
    told = variants.guessed(
        (content for _, content in copy.archive.read(some)), variants.native(copy.source)
    )
    if wanted == stores.LOSSLESS and told != wanted:
        raise UserError(
            f"E-VARIANT {copy.task.name}: the images of {copy.where} were compressed anew as JPEG, "
            f"so they are not {wanted}: leave --variant out"
        )
    return wanted or told


def _require_unbuilt(copy: Copy, root: Path, variant: str) -> None:
    """Raise `UserError` where a copy would take the place of what was made from the source."""
    folder = stores.find(root, copy.suite.name, copy.task, variant)
    built = False
    with suppress(UserError):  # what is damaged may be replaced
        built = folder is not None and "imported" not in stores.card(folder)
    if built:
        raise UserError(
            f"{copy.task.name} was prepared from its source, in {folder}: move that folder away to "
            "bring in a copy instead"
        )
