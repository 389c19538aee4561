"""Preparation of the tasks that are made from one source, in one folder."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.config.suite import Source, SourceFile, Split, Suite, Task
from bench.data import prepared
from bench.data.prepared import SplitEntry
from bench.data.splits import certificate, from_prepared
from bench.prepare import integrity, jpeg_quality, writer
from bench.prepare.archives import member_warnings, open_archive
from bench.prepare.downloads import ARCHIVE_SUFFIXES
from bench.prepare.readers import READERS
from bench.prepare.readers.base import Files, ImageData, RecordKey, SourceReader
from bench.prepare.splits import TaskSplits, select_all
from bench.prepare.writer import TarSpan, TaskRows
from bench.utils import environment
from bench.utils.errors import UserError, unknown_name

SplitRows = Mapping[Split, Sequence[SplitEntry]]
KeyedImages = Iterator[tuple[RecordKey, ImageData]]
ImageProgress = Callable[[str, int, int], None]  # title, images done, images in all
RECORDED_PACKAGES = ("pillow", "numpy", "opencv-python-headless", "opencv-python", "h5py", "scipy")


@dataclass(frozen=True)
class PrepareJob:
    """A source, and the tasks of a suite that are made from it."""

    suite: Suite
    source: Source
    tasks: tuple[Task, ...]
    root: Path  # the data root

    @property
    def folder(self) -> Path:
        """The folder of the prepared data."""
        return prepared.prepared_dir(
            self.root, self.suite.name, self.source.name, prepared.LOSSLESS
        )


def open_reader(source: Source, files: Files) -> SourceReader:
    """Return the reader of a source; raise `UserError` for an unknown format or option."""
    if source.format not in READERS:
        raise unknown_name(f"format for the source {source.name!r}", source.format, READERS)
    try:
        return READERS[source.format](files, **source.options)
    except TypeError as error:
        raise UserError(f"the card of the source {source.name}: options: {error}") from None


def build_source(job: PrepareJob, files: Files, progress: ImageProgress) -> list[str]:
    """Prepare a job's folder; return warnings. Raises `UserError` for the first broken rule."""
    reader = open_reader(job.source, files)
    entries = list(reader.entries())
    for entry in entries:
        writer.require_plain_key((entry.split, entry.key))
    selected = select_all(job.tasks, entries, files)
    del entries  # to free memory: large sources have many
    wanted = {
        key for task_splits in selected for keys in task_splits.splits.values() for key in keys
    }
    with writer.atomic_dir(job.folder) as folder:
        images = with_progress(reader.images(wanted), job.source.title, len(wanted), progress)
        spans = writer.write_images(folder, images)
        _require_all_images(job.source, wanted, spans)
        rows = {one.task.name: _task_rows(one, spans) for one in selected}
        warnings = [
            warning
            for task in job.tasks
            for warning in (
                *validate_written(task, job.source, prepared.LOSSLESS, folder, rows[task.name]),
                *_archive_warnings(task, files),
            )
        ]
        writer.write_lists(folder, rows)
        facts = {**provenance(job.source, files), "certificates": split_digests(folder, rows)}
        named = {"suite": job.suite.name, "variant": prepared.LOSSLESS, "warnings": warnings}
        writer.write_card(folder, {**facts, **named})
    return warnings


def _archive_warnings(task: Task, files: Files) -> list[str]:
    """Return warnings about the archives of a source, whose contents were read already."""
    found = (path for path in files.values() if path.name.endswith(ARCHIVE_SUFFIXES))
    return [line for path in found for line in member_warnings(task.name, open_archive(path))]


def with_progress(
    images: KeyedImages, title: str, total: int, progress: ImageProgress
) -> KeyedImages:
    """Yield the images and report progress after each."""
    progress(title, 0, total)
    for number, image in enumerate(images, start=1):
        yield image
        progress(title, number, total)


def _require_all_images(
    source: Source, wanted: set[RecordKey], spans: Mapping[RecordKey, TarSpan]
) -> None:
    missing = sorted(wanted - spans.keys())
    if missing:
        some = ", ".join(map("/".join, missing[:3]))
        raise UserError(
            f"E-MEMBERS {source.name}: {len(missing):,} of {len(wanted):,} images are not in its "
            f"archives: {some}"
        )


def _task_rows(
    selected: TaskSplits, spans: Mapping[RecordKey, TarSpan]
) -> dict[Split, list[SplitEntry]]:
    return {
        split: [spans[key].row(selected.classes[key], key) for key in keys]
        for split, keys in selected.splits.items()
    }


def validate_written(
    task: Task,
    source: Source | None,
    variant: str,
    folder: Path,
    rows: SplitRows,
    copied: bool = False,
) -> list[str]:
    """Check a task's written data; return warnings. Raises `UserError` for a broken rule."""
    require_rules(task, source, rows, copied)
    jpeg_quality.require_variant(jpeg_quality.native_encoding(source), variant, folder, task, rows)
    return list(integrity.data_warnings(task, rows))


def require_rules(
    task: Task, source: Source | None, rows: integrity.SplitImages, copied: bool
) -> None:
    """Raise `UserError` for the first broken rule."""
    repeats = source is not None and source.repeats
    for problem in integrity.broken_rules(task, rows, repeats, copied):
        raise UserError(problem)


def split_digests(folder: Path, rows: TaskRows) -> dict[str, dict[str, str]]:
    """Return each split's certificate: a digest of its labels, its keys and a sample of pixels."""
    return {
        task: {
            split: certificate(from_prepared(folder, listed)) for split, listed in splits.items()
        }
        for task, splits in rows.items()
    }


def provenance(source: Source, files: Files) -> dict[str, Any]:
    """Return the provenance of a folder, for its card: source, archives, versions and time."""
    published = {file.name: _published_hash(file) for file in source.file if file.name in files}
    return {
        "source": source.name,
        "title": source.title,
        "licence": source.licence,
        "home": source.home,
        "archives": published,
        **recorded_versions(),
    }


def _published_hash(file: SourceFile) -> str:
    """Return the hash by which a file was checked."""
    return "repacked: its files by name" if file.repacked else file.sha256 or file.md5


def recorded_versions() -> dict[str, Any]:
    """Return the versions of the packages that can affect pixels, the commit, and the time."""
    versions = {}
    for package in RECORDED_PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "versions": versions,
        **environment.git_commit(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }
