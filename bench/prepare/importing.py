"""A copy of a suite that somebody already has becomes prepared folders, one a task.

It is a folder or a zip in a layout that the field shares: a folder a task, with list files beside
the images (the suite's card names both).
"""

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path, PurePosixPath

from bench import lists, stores
from bench.cards import Suite
from bench.errors import UserError
from bench.prepare import as_found, sequences, variants, writing
from bench.prepare.as_found import Image
from bench.prepare.building import (
    Progress,
    certificates,
    counted,
    made_with,
    require_rules,
    vouched,
)
from bench.prepare.containers import archives
from bench.prepare.containers.archives import Archive, Folder
from bench.prepare.formats.base import Name, Picture
from bench.prepare.writing import Span
from bench.sources import Source
from bench.stores import Row
from bench.tasks import APART, SPLITS, Split, Task

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
    held: frozenset[str]  # the list files that it holds

    @property
    def where(self) -> str:
        """The folder, for messages."""
        return f"{self.path}: {self.folder}".rstrip("/ :")

    @cached_property
    def splits(self) -> list[Split]:
        """Those whose lists are read: of train and val together, only a list of its own."""
        lists_ = self.suite.lists
        own = set(lists_.get("trainval", ())) <= self.held and not as_found.is_of_parts(self.suite)
        return [split for split in SPLITS if split in APART or own]

    @cached_property
    def contents(self) -> dict[str, bytes]:
        """The list files by name, read in one pass."""
        wanted = {self.folder + name for split in self.splits for name in self.suite.lists[split]}
        found = self.archive.read(wanted)
        return {name.removeprefix(self.folder): content for name, content in found}

    def read(self, name: str) -> bytes:
        """A list file; raises `UserError` for one that is not there."""
        if name not in self.contents:
            raise UserError(f"{self.where} has no list file {name}")
        return self.contents[name]

    def lines(self, split: Split) -> list[lists.Line]:
        """What the lists of a split say, with each path in its shortest form."""
        names = self.suite.lists[split]
        found = (line for name in names for line in lists.lines(self.where, name, self.read))
        return [(posixpath.normpath(path), raw, origin) for path, raw, origin in found]

    @cached_property
    def listed(self) -> Lines:
        """What all lists say; an image of a folder has its first name, however it is linked to."""
        found = {split: self.lines(split) for split in self.splits}
        if not isinstance(self.archive, Folder):
            return found
        top, paths = self.archive.path, (path for lines in found.values() for path, *_ in lines)
        files = {path: top / self.member(path) for path in paths}
        keys = as_found.keys(top, [file for file in files.values() if file.is_file()])
        first: dict[str, str] = {}
        for path, file in files.items():
            first.setdefault(keys.get(file, path), path)
        called = {path: first[keys.get(file, path)] for path, file in files.items()}
        return {
            split: [(called[path], raw, origin) for path, raw, origin in lines]
            for split, lines in found.items()
        }

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
    holding = _holding(suite, archive)
    copies = [
        Copy(suite, task, sources.get(task.source), archive, path, folder, frozenset(held))
        for task in suite.task
        for folder, held in holding.items()
        if _belongs(folder, task, path)
    ]
    if not copies:
        test = suite.lists["test"][0]
        wanted = ", ".join(f"{_folder(task)}/{test}" for task in suite.task[:3])
        raise UserError(f"{path} holds no task of {suite.name}: looked for {wanted} and so on")
    return copies


def only(copies: Sequence[Copy]) -> Copy:
    """The one copy of a task; raises `UserError` where there are several."""
    if copies[1:]:
        name, where = copies[0].task.name, " and ".join(copy.where for copy in copies)
        raise UserError(f"{name} is there {len(copies)} times, and may differ: {where}; leave one")
    return copies[0]


def absent(suite: Suite, path: Path, found: Iterable[str]) -> Iterator[str]:
    """A sentence that names the tasks of the suite that are not among those found."""
    lacking = [task for task in suite.task if task.name not in set(found)]
    if lacking:
        names = ", ".join(_folder(task) for task in lacking)
        yield f"W-ABSENT {path} lacks {len(lacking)} of {len(suite.task)} tasks: {names}"


def _holding(suite: Suite, archive: Archive) -> dict[str, set[str]]:
    """The folders of an archive that hold list files of the suite, and which."""
    known = {name for names in suite.lists.values() for name in names}
    found: dict[str, set[str]] = {}
    for name in archive.names():
        listed = PurePosixPath(name).name
        if listed in known:
            found.setdefault(name.removesuffix(listed), set()).add(listed)
    return found


def _folder(task: Task) -> str:
    return task.folder or task.name


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
    told = _checked(copy, root, variant)
    paths = {path: None for split in APART for path, *_ in copy.listed[split]}
    with writing.published(stores.home(root, copy.suite.name, copy.task.name, told)) as folder:
        pictures = counted(
            _images(copy, paths), copy.task.title or copy.task.name, len(paths), progress
        )
        spans = writing.write_images(folder, pictures)
        hashes = {path: span.sha256 for (_, path), span in spans.items()}
        _require_rules(copy, root, hashes | _of_others(copy, hashes))
        rows = _rows(copy, spans)
        said = vouched(copy.task, copy.source, told, folder, rows, copied=True)
        named = {copy.task.name: rows}
        writing.write_lists(folder, named)
        facts = {"suite": copy.suite.name, "variant": told, "warnings": said, **made_with()}
        proof = {"certificates": certificates(folder, named), "imported": copy.path.name}
        writing.write_card(folder, {**facts, **proof, "source": copy.task.source})
    return told, said


def _checked(copy: Copy, root: Path, variant: str | None) -> str:
    """The copy's variant; raises `UserError` for what can be told before its images are read."""
    _require_rules(copy, root, {})
    told = _variant(copy, variant)
    _require_unbuilt(copy, root, told)
    return told


def _require_rules(copy: Copy, root: Path, hashes: Mapping[str, str]) -> None:
    """Raise `UserError` for the first rule that the lists break; `hashes` are those known so far.

    Before they are, train and val together are held to their parts where the names allow it.
    """
    rows = {split: _seen(copy, split, hashes) for split in copy.splits}
    parted = {row.key for split in APART for row in rows[split]}
    if not hashes and not parted.issuperset(row.key for row in rows.get("trainval", ())):
        del rows["trainval"]
    task = sequences.informed(copy.task, _built(copy, root))
    require_rules(task, copy.source, rows, copied=True)


def _seen(copy: Copy, split: Split, hashes: Mapping[str, str]) -> list[Image]:
    """A split as the rules see it."""
    lines, folder = copy.listed[split], _folder(copy.task)
    return [
        Image(number, folder, path, hashes.get(path, ""), origin)
        for (path, _, origin), number in zip(lines, _classes(copy, split), strict=True)
    ]


def _classes(copy: Copy, split: Split) -> list[int]:
    """The class of each image of a split."""
    return lists.class_numbers(copy.suite, copy.task, copy.where, copy.read, copy.listed[split])


def _of_others(copy: Copy, hashes: Mapping[str, str]) -> dict[str, str]:
    """The sha256 of the images that train and val together have under names of their own."""
    paths = {path for path, *_ in copy.listed.get("trainval", ())} - hashes.keys()
    of_member = {copy.member(path): path for path in paths}
    found = copy.archive.read(of_member) if paths else ()
    return {of_member[member]: sha256(content).hexdigest() for member, content in found}


def _built(copy: Copy, root: Path) -> dict[Split, list[int]]:
    """The labels of what was prepared from the task's source, where that was done."""
    folder = stores.find(root, copy.suite.name, copy.task, stores.LOSSLESS)
    if folder is None:
        return {}
    with suppress(UserError):  # what is damaged proves nothing
        if "imported" not in stores.card(folder):
            rows = {split: stores.rows(folder, copy.task.name, split) for split in APART}
            return {split: [row.label for row in found] for split, found in rows.items()}
    return {}


def _rows(copy: Copy, spans: Mapping[Name, Span]) -> dict[Split, list[Row]]:
    def row(path: str, number: int) -> Row:
        name = copy.name(path)
        return spans[name].row(number, name)

    return {
        split: [
            row(path, number)
            for (path, *_), number in zip(copy.listed[split], _classes(copy, split), strict=True)
        ]
        for split in APART
    }


def _images(copy: Copy, paths: Iterable[str]) -> Iterator[tuple[Name, Picture]]:
    of_member = {copy.member(path): path for path in paths}
    for member, content in copy.archive.read(of_member):
        yield copy.name(of_member[member]), content


def _variant(copy: Copy, wanted: str | None) -> str:
    """The variant that the images show; raises `UserError` where they belie what was claimed."""
    some = [copy.member(path) for path, _, _ in copy.listed["train"][:SAMPLE]]
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
