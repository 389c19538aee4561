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

from bench.config.source import Source
from bench.config.suite import DISJOINT_SPLITS, SPLITS, Split, Suite, Task
from bench.data import locations, prepared
from bench.data.prepared import SplitEntry
from bench.prepare import archives, folder_check, jpeg_quality, sampling, writer
from bench.prepare.archives import Archive, FolderArchive
from bench.prepare.build import (
    ImageProgress,
    recorded_versions,
    require_rules,
    split_digests,
    validate_written,
    with_progress,
)
from bench.prepare.folder_check import FolderImage
from bench.prepare.readers.base import ImageData, RecordKey
from bench.prepare.writer import TarSpan
from bench.utils.errors import UserError

VARIANT_SAMPLE = 64  # images by which a copy's variant is told
SplitLines = dict[Split, list[locations.ListEntry]]


@dataclass(frozen=True)
class TaskCopy:
    """One task of a copy: its archive, and the folder in it that holds the lists."""

    suite: Suite
    task: Task
    source: Source | None  # that the task is made from
    archive: Archive
    path: Path  # of the archive, for messages
    folder: str  # in the archive; empty, or ends with a slash
    list_files: frozenset[str]  # the list files that it holds

    @property
    def where(self) -> str:
        """The folder, for messages."""
        return f"{self.path}: {self.folder}".rstrip("/ :")

    @cached_property
    def splits(self) -> list[Split]:
        """Those whose lists are read: of train and val together, only a list of its own."""
        lists_ = self.suite.lists
        own = set(
            lists_.get("trainval", ())
        ) <= self.list_files and not folder_check.is_trainval_of_parts(self.suite)
        return [split for split in SPLITS if split in DISJOINT_SPLITS or own]

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

    def split_lines(self, split: Split) -> list[locations.ListEntry]:
        """What the lists of a split say, with each path in its shortest form."""
        names = self.suite.lists[split]
        found = (
            line for name in names for line in locations.read_list(self.where, name, self.read)
        )
        return [(posixpath.normpath(path), raw, origin) for path, raw, origin in found]

    @cached_property
    def listed(self) -> SplitLines:
        """What all lists say; an image of a folder has its first name, however it is linked to."""
        found = {split: self.split_lines(split) for split in self.splits}
        if not isinstance(self.archive, FolderArchive):
            return found
        top, paths = self.archive.path, (path for lines in found.values() for path, *_ in lines)
        files = {path: top / self.member(path) for path in paths}
        keys = folder_check.file_keys(top, [file for file in files.values() if file.is_file()])
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

    def record_key(self, path: str) -> RecordKey:
        """What an image of the copy is called: no split of the source, whose names are lost."""
        return _task_folder(self.task), path


def find_copies(suite: Suite, path: Path, sources: Mapping[str, Source]) -> list[TaskCopy]:
    """The tasks of the suite that a folder or zip holds; raises `UserError` where it holds none."""
    unlisted = [split for split in DISJOINT_SPLITS if not suite.lists.get(split)]
    if unlisted:
        raise UserError(
            f"no copy of {suite.name} can be read: its card lists no {unlisted[0]} file"
        )
    if not path.exists():
        raise UserError(f"no folder or zip of a copy at {path}")
    archive = archives.open_archive(path)
    holding = _folders_with_lists(suite, archive)
    copies = [
        TaskCopy(suite, task, sources.get(task.source), archive, path, folder, frozenset(held))
        for task in suite.task
        for folder, held in holding.items()
        if _is_task_folder(folder, task, path)
    ]
    if not copies:
        test = suite.lists["test"][0]
        wanted = ", ".join(f"{_task_folder(task)}/{test}" for task in suite.task[:3])
        raise UserError(f"{path} holds no task of {suite.name}: looked for {wanted} and so on")
    return copies


def require_single(copies: Sequence[TaskCopy]) -> TaskCopy:
    """The one copy of a task; raises `UserError` where there are several."""
    if copies[1:]:
        name, where = copies[0].task.name, " and ".join(copy.where for copy in copies)
        raise UserError(f"{name} is there {len(copies)} times, and may differ: {where}; leave one")
    return copies[0]


def missing_tasks(suite: Suite, path: Path, found: Iterable[str]) -> Iterator[str]:
    """A sentence that names the tasks of the suite that are not among those found."""
    lacking = [task for task in suite.task if task.name not in set(found)]
    if lacking:
        names = ", ".join(_task_folder(task) for task in lacking)
        yield f"W-ABSENT {path} lacks {len(lacking)} of {len(suite.task)} tasks: {names}"


def _folders_with_lists(suite: Suite, archive: Archive) -> dict[str, set[str]]:
    """The folders of an archive that hold list files of the suite, and which."""
    known = {name for names in suite.lists.values() for name in names}
    found: dict[str, set[str]] = {}
    for name in archive.names():
        listed = PurePosixPath(name).name
        if listed in known:
            found.setdefault(name.removesuffix(listed), set()).add(listed)
    return found


def _task_folder(task: Task) -> str:
    return task.folder or task.name


def _is_task_folder(folder: str, task: Task, path: Path) -> bool:
    """Whether a folder of the archive, or the archive itself, is called as the task's is."""
    itself = path.resolve()
    called = {PurePosixPath(folder).name} if folder else {itself.name, itself.stem}
    return _task_folder(task) in called


def import_task(
    copy: TaskCopy, root: Path, variant: str | None, progress: ImageProgress
) -> tuple[str, list[str]]:
    """Prepare one task of a copy; its variant, and the warnings.

    Without a `variant`, the images themselves tell it. Raises `UserError` for the first rule that
    the copy breaks.
    """
    told = _check_before_reading(copy, root, variant)
    paths = {path: None for split in DISJOINT_SPLITS for path, *_ in copy.listed[split]}
    with writer.atomic_dir(
        prepared.prepared_dir(root, copy.suite.name, copy.task.name, told)
    ) as folder:
        pictures = with_progress(
            _read_copy_images(copy, paths), copy.task.title or copy.task.name, len(paths), progress
        )
        spans = writer.write_images(folder, pictures)
        hashes = {path: span.sha256 for (_, path), span in spans.items()}
        _require_rules(copy, root, hashes | _hash_other_trainval(copy, hashes))
        rows = _split_rows(copy, spans)
        said = validate_written(copy.task, copy.source, told, folder, rows, copied=True)
        named = {copy.task.name: rows}
        writer.write_lists(folder, named)
        facts = {"suite": copy.suite.name, "variant": told, "warnings": said, **recorded_versions()}
        proof = {"certificates": split_digests(folder, named), "imported": copy.path.name}
        writer.write_card(folder, {**facts, **proof, "source": copy.task.source})
    return told, said


def _check_before_reading(copy: TaskCopy, root: Path, variant: str | None) -> str:
    """The copy's variant; raises `UserError` for what can be told before its images are read."""
    _require_rules(copy, root, {})
    told = _detect_variant(copy, variant)
    _require_not_from_source(copy, root, told)
    return told


def _require_rules(copy: TaskCopy, root: Path, hashes: Mapping[str, str]) -> None:
    """Raise `UserError` for the first rule that the lists break; `hashes` are those known so far.

    Before they are, train and val together are held to their parts where the names allow it.
    """
    rows = {split: _split_images(copy, split, hashes) for split in copy.splits}
    parted = {row.key for split in DISJOINT_SPLITS for row in rows[split]}
    if not hashes and not parted.issuperset(row.key for row in rows.get("trainval", ())):
        del rows["trainval"]
    task = sampling.with_known_labels(copy.task, _labels_from_source(copy, root))
    require_rules(task, copy.source, rows, copied=True)


def _split_images(copy: TaskCopy, split: Split, hashes: Mapping[str, str]) -> list[FolderImage]:
    """A split as the rules see it."""
    lines, folder = copy.listed[split], _task_folder(copy.task)
    return [
        FolderImage(number, folder, path, hashes.get(path, ""), origin)
        for (path, _, origin), number in zip(lines, _class_numbers(copy, split), strict=True)
    ]


def _class_numbers(copy: TaskCopy, split: Split) -> list[int]:
    """The class of each image of a split."""
    return locations.class_numbers(copy.suite, copy.task, copy.where, copy.read, copy.listed[split])


def _hash_other_trainval(copy: TaskCopy, hashes: Mapping[str, str]) -> dict[str, str]:
    """The sha256 of the images that train and val together have under names of their own."""
    paths = {path for path, *_ in copy.listed.get("trainval", ())} - hashes.keys()
    of_member = {copy.member(path): path for path in paths}
    found = copy.archive.read(of_member) if paths else ()
    return {of_member[member]: sha256(content).hexdigest() for member, content in found}


def _labels_from_source(copy: TaskCopy, root: Path) -> dict[Split, list[int]]:
    """The labels of what was prepared from the task's source, where that was done."""
    folder = prepared.find_prepared(root, copy.suite.name, copy.task, prepared.LOSSLESS)
    if folder is None:
        return {}
    with suppress(UserError):  # what is damaged proves nothing
        if "imported" not in prepared.read_card(folder):
            rows = {
                split: prepared.read_entries(folder, copy.task.name, split)
                for split in DISJOINT_SPLITS
            }
            return {split: [row.label for row in found] for split, found in rows.items()}
    return {}


def _split_rows(
    copy: TaskCopy, spans: Mapping[RecordKey, TarSpan]
) -> dict[Split, list[SplitEntry]]:
    def row(path: str, number: int) -> SplitEntry:
        name = copy.record_key(path)
        return spans[name].row(number, name)

    return {
        split: [
            row(path, number)
            for (path, *_), number in zip(
                copy.listed[split], _class_numbers(copy, split), strict=True
            )
        ]
        for split in DISJOINT_SPLITS
    }


def _read_copy_images(
    copy: TaskCopy, paths: Iterable[str]
) -> Iterator[tuple[RecordKey, ImageData]]:
    of_member = {copy.member(path): path for path in paths}
    for member, content in copy.archive.read(of_member):
        yield copy.record_key(of_member[member]), content


def _detect_variant(copy: TaskCopy, wanted: str | None) -> str:
    """The variant that the images show; raises `UserError` where they belie what was claimed."""
    some = [copy.member(path) for path, _, _ in copy.listed["train"][:VARIANT_SAMPLE]]
    told = jpeg_quality.guess_variant(
        (content for _, content in copy.archive.read(some)),
        jpeg_quality.native_encoding(copy.source),
    )
    if wanted == prepared.LOSSLESS and told != wanted:
        raise UserError(
            f"E-VARIANT {copy.task.name}: the images of {copy.where} were compressed anew as JPEG, "
            f"so they are not {wanted}: leave --variant out"
        )
    return wanted or told


def _require_not_from_source(copy: TaskCopy, root: Path, variant: str) -> None:
    """Raise `UserError` where a copy would take the place of what was made from the source."""
    folder = prepared.find_prepared(root, copy.suite.name, copy.task, variant)
    built = False
    with suppress(UserError):  # what is damaged may be replaced
        built = folder is not None and "imported" not in prepared.read_card(folder)
    if built:
        raise UserError(
            f"{copy.task.name} was prepared from its source, in {folder}: move that folder away to "
            "bring in a copy instead"
        )
