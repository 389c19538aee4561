"""Import of an existing copy of a suite: each of its tasks becomes a prepared folder.

A copy is a folder or an archive in a layout that is common in the field: a folder for each task,
with the images and the list files that the suite's card names.
"""

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path, PurePosixPath

from bench.config.suite import DISJOINT_SPLITS, SPLITS, Source, Split, Suite, Task
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

VARIANT_SAMPLE_SIZE = 64  # images from which a copy's variant is inferred
SplitLines = dict[Split, list[locations.ListEntry]]


@dataclass(frozen=True)
class TaskCopy:
    """One task of a copy: a folder of an archive, with list files."""

    suite: Suite
    task: Task
    source: Source | None  # the task's
    archive: Archive
    path: Path  # of the archive, for messages
    folder: str  # in the archive: empty, or ends with a slash
    list_files: frozenset[str]  # the names of those present

    @property
    def where(self) -> str:
        """Describe the location, for messages."""
        return f"{self.path}: {self.folder}".rstrip("/ :")

    @cached_property
    def splits(self) -> list[Split]:
        """List the splits to read; trainval only if it has a list of its own."""
        present = set(self.suite.lists.get("trainval", ())) <= self.list_files
        own = present and not folder_check.is_trainval_of_parts(self.suite)
        return [split for split in SPLITS if split in DISJOINT_SPLITS or own]

    @cached_property
    def contents(self) -> dict[str, bytes]:
        """Read all list files in one pass over the archive; return their contents by name."""
        wanted = {self.folder + name for split in self.splits for name in self.suite.lists[split]}
        members = self.archive.read(wanted)
        return {name.removeprefix(self.folder): content for name, content in members}

    def read(self, name: str) -> bytes:
        """Return the content of a list file; raise `UserError` if it is missing."""
        if name not in self.contents:
            raise UserError(f"{self.where} has no list file {name}")
        return self.contents[name]

    def split_lines(self, split: Split) -> list[locations.ListEntry]:
        """Return the entries of a split's lists, with normalised paths."""
        names = self.suite.lists[split]
        entries = (
            entry for name in names for entry in locations.read_list(self.where, name, self.read)
        )
        return [(posixpath.normpath(path), raw, origin) for path, raw, origin in entries]

    @cached_property
    def listed(self) -> SplitLines:
        """Return the entries of all lists; of several paths to one file, the first is used."""
        listed = {split: self.split_lines(split) for split in self.splits}
        if not isinstance(self.archive, FolderArchive):
            return listed
        top, paths = self.archive.path, (path for lines in listed.values() for path, *_ in lines)
        files = {path: top / self.member(path) for path in paths}
        keys = folder_check.file_keys(top, list(filter(os.path.isfile, files.values())))
        first: dict[str, str] = {}
        for path, file in files.items():
            first.setdefault(keys.get(file, path), path)
        names = {path: first[keys.get(file, path)] for path, file in files.items()}
        return {
            split: [(names[path], raw, origin) for path, raw, origin in lines]
            for split, lines in listed.items()
        }

    def member(self, path: str) -> str:
        """Return the name in the archive of an image, from its path in a list."""
        return self.folder + (PurePosixPath(self.task.images) / path).as_posix()

    def record_key(self, path: str) -> RecordKey:
        """Return an image's key: the task's folder and the path, as the source's is unknown."""
        return task_folder(self.task), path


def find_copies(suite: Suite, path: Path, sources: Mapping[str, Source]) -> list[TaskCopy]:
    """Find the tasks of a suite in a folder or an archive; raise `UserError` if there are none."""
    unlisted = [split for split in DISJOINT_SPLITS if not suite.lists.get(split)]
    if unlisted:
        raise UserError(
            f"no copy of {suite.name} can be read: its card lists no {unlisted[0]} file"
        )
    if not path.exists():
        raise UserError(f"no folder or zip of a copy at {path}")
    archive = archives.open_archive(path)
    folders = _folders_with_lists(suite, archive)
    copies = [
        TaskCopy(suite, task, sources.get(task.source), archive, path, folder, frozenset(names))
        for task in suite.task
        for folder, names in folders.items()
        if _is_task_folder(folder, task, path)
    ]
    if not copies:
        wanted = ", ".join(f"{task_folder(t)}/{suite.lists['test'][0]}" for t in suite.task[:3])
        raise UserError(f"{path} holds no task of {suite.name}: looked for {wanted} and so on")
    return copies


def _folders_with_lists(suite: Suite, archive: Archive) -> dict[str, set[str]]:
    """Return the folders of an archive with list files of the suite, and the names of these."""
    known = {name for names in suite.lists.values() for name in names}
    folders: dict[str, set[str]] = {}
    for name in archive.names():
        file = PurePosixPath(name).name
        if file in known:
            folders.setdefault(name.removesuffix(file), set()).add(file)
    return folders


def task_folder(task: Task) -> str:
    """Return the name of a task's folder in a copy."""
    return task.folder or task.name


def _is_task_folder(folder: str, task: Task, path: Path) -> bool:
    """Return whether a folder of the archive, or else the archive itself, has a task's name."""
    whole = path.resolve()
    names = {PurePosixPath(folder).name} if folder else {whole.name, whole.stem}
    return task_folder(task) in names


def import_task(
    copy: TaskCopy, root: Path, variant: str | None, progress: ImageProgress
) -> tuple[str, list[str]]:
    """Prepare one task of a copy; return its variant and warnings.

    Without a `variant`, it is inferred from the images. Raises `UserError` for the first broken
    rule.
    """
    variant = _check_before_reading(copy, root, variant)
    paths = {path: None for split in DISJOINT_SPLITS for path, *_ in copy.listed[split]}
    title = copy.task.title or copy.task.name
    final = prepared.prepared_dir(root, copy.suite.name, copy.task.name, variant)
    with writer.atomic_dir(final) as folder:
        images = with_progress(_read_copy_images(copy, paths), title, len(paths), progress)
        spans = writer.write_images(folder, images)
        hashes = {path: span.sha256 for (_, path), span in spans.items()}
        _require_rules(copy, root, hashes | _hash_other_trainval(copy, hashes))
        rows = _split_rows(copy, spans)
        warnings = validate_written(copy.task, copy.source, variant, folder, rows, copied=True)
        warnings += archives.member_warnings(copy.task.name, copy.archive, copy.folder)
        writer.write_lists(folder, {copy.task.name: rows})
        facts = {
            "suite": copy.suite.name,
            "variant": variant,
            "warnings": warnings,
            "certificates": split_digests(folder, {copy.task.name: rows}),
            "imported": copy.path.name,
            "source": copy.task.source,
            **recorded_versions(),
        }
        writer.write_card(folder, facts)
    return variant, warnings


def _check_before_reading(copy: TaskCopy, root: Path, variant: str | None) -> str:
    """Return a copy's variant; raise `UserError` for faults that show without all its images."""
    _require_rules(copy, root, {})
    variant = _detect_variant(copy, variant)
    _require_not_from_source(copy, root, variant)
    return variant


def _require_rules(copy: TaskCopy, root: Path, hashes: Mapping[str, str]) -> None:
    """Raise `UserError` for the first broken rule; `hashes` has those of the images read so far.

    Until any are, trainval is only compared with its parts if its names are theirs.
    """
    rows = {split: _split_images(copy, split, hashes) for split in copy.splits}
    parted = {row.key for split in DISJOINT_SPLITS for row in rows[split]}
    if not hashes and not parted.issuperset(row.key for row in rows.get("trainval", ())):
        del rows["trainval"]
    task = sampling.with_known_labels(copy.task, _labels_from_source(copy, root))
    require_rules(task, copy.source, rows, copied=True)


def _split_images(copy: TaskCopy, split: Split, hashes: Mapping[str, str]) -> list[FolderImage]:
    """Return the images of a split, as the rules expect them."""
    lines, folder = copy.listed[split], task_folder(copy.task)
    return [
        FolderImage(number, folder, path, hashes.get(path, ""), origin)
        for (path, _, origin), number in zip(lines, _class_numbers(copy, split), strict=True)
    ]


def _class_numbers(copy: TaskCopy, split: Split) -> list[int]:
    """Return the class of each image of a split."""
    return locations.class_numbers(copy.suite, copy.task, copy.where, copy.read, copy.listed[split])


def _hash_other_trainval(copy: TaskCopy, hashes: Mapping[str, str]) -> dict[str, str]:
    """Hash the images that only trainval lists, under names that train and val do not have."""
    paths = {path for path, *_ in copy.listed.get("trainval", ())} - hashes.keys()
    path_of = {copy.member(path): path for path in paths}
    members = copy.archive.read(path_of) if paths else ()
    return {path_of[member]: sha256(content).hexdigest() for member, content in members}


def _labels_from_source(copy: TaskCopy, root: Path) -> dict[Split, list[int]]:
    """Return the labels of the data prepared from the task's source, if there are any."""
    folder = prepared.find_prepared(root, copy.suite.name, copy.task, prepared.LOSSLESS)
    if folder is None:
        return {}
    with suppress(UserError):  # damaged data are no reference
        if "imported" not in prepared.read_card(folder):
            rows = {
                split: prepared.read_entries(folder, copy.task.name, split)
                for split in DISJOINT_SPLITS
            }
            return {split: [row.label for row in listed] for split, listed in rows.items()}
    return {}


def _split_rows(
    copy: TaskCopy, spans: Mapping[RecordKey, TarSpan]
) -> dict[Split, list[SplitEntry]]:
    def row(path: str, number: int) -> SplitEntry:
        key = copy.record_key(path)
        return spans[key].row(number, key)

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
    path_of = {copy.member(path): path for path in paths}
    for member, content in copy.archive.read(path_of):
        yield copy.record_key(path_of[member]), content


def _detect_variant(copy: TaskCopy, claimed: str | None) -> str:
    """Return the variant claimed or inferred; raise `UserError` if images refute the claim."""
    sample = [copy.member(path) for path, _, _ in copy.listed["train"][:VARIANT_SAMPLE_SIZE]]
    inferred = jpeg_quality.guess_variant(
        (content for _, content in copy.archive.read(sample)),
        jpeg_quality.native_encoding(copy.source),
    )
    if claimed == prepared.LOSSLESS and inferred != claimed:
        raise UserError(
            f"E-VARIANT {copy.task.name}: the images of {copy.where} were recompressed as JPEG, "
            f"so they are not {claimed}: leave --variant out"
        )
    return claimed or inferred


def _require_not_from_source(copy: TaskCopy, root: Path, variant: str) -> None:
    """Raise `UserError` if a copy would replace data prepared from the source."""
    folder = prepared.find_prepared(root, copy.suite.name, copy.task, variant)
    built = False
    with suppress(UserError):  # damaged data may be replaced
        built = folder is not None and "imported" not in prepared.read_card(folder)
    if built:
        raise UserError(
            f"{copy.task.name} was prepared from its source, in {folder}: move that folder away to "
            "bring in a copy instead"
        )
