"""One source becomes the prepared folder of the tasks that it serves."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.config.source import Source, SourceFile
from bench.config.suite import Split, Suite, Task
from bench.data import prepared
from bench.data.prepared import SplitEntry
from bench.data.splits import certificate, from_prepared
from bench.prepare import jpeg_quality, validation, writer
from bench.prepare.readers import READERS
from bench.prepare.readers.base import Files, ImageData, RecordKey, SourceReader
from bench.prepare.splits import TaskSplits, select_all
from bench.prepare.writer import TarSpan, TaskRows
from bench.utils import environment
from bench.utils.errors import UserError, unknown_name

SplitRows = Mapping[Split, Sequence[SplitEntry]]
KeyedImages = Iterator[tuple[RecordKey, ImageData]]
ImageProgress = Callable[[str, int, int], None]  # of what, how many were done, of how many
RECORDED_PACKAGES = ("pillow", "numpy", "opencv-python-headless", "opencv-python", "h5py", "scipy")


@dataclass(frozen=True)
class PrepareJob:
    """A source and the tasks of a suite that are made from it."""

    suite: Suite
    source: Source
    tasks: tuple[Task, ...]
    root: Path  # of the data

    @property
    def folder(self) -> Path:
        """Where it is prepared."""
        return prepared.prepared_dir(
            self.root, self.suite.name, self.source.name, prepared.LOSSLESS
        )


def open_reader(source: Source, files: Files) -> SourceReader:
    """The reader of a source; raises `UserError` for a format or option that is not known."""
    if source.format not in READERS:
        raise unknown_name(f"format for the source {source.name!r}", source.format, READERS)
    try:
        return READERS[source.format](files, **source.options)
    except TypeError as error:
        raise UserError(f"the card of the source {source.name}: options: {error}") from None


def build_source(job: PrepareJob, files: Files, progress: ImageProgress) -> list[str]:
    """Prepare a job's folder; the warnings. Raises `UserError` for the first rule it breaks."""
    reader = open_reader(job.source, files)
    entries = list(reader.entries())
    chosen = select_all(job.tasks, entries, files)
    del entries  # of a large source they are many
    wanted = {name for one in chosen for names in one.splits.values() for name in names}
    with writer.atomic_dir(job.folder) as folder:
        pictures = with_progress(reader.images(wanted), job.source.title, len(wanted), progress)
        spans = writer.write_images(folder, pictures)
        _require_all_images(job.source, wanted, spans)
        rows = {one.task.name: _task_rows(one, spans) for one in chosen}
        said = [
            warning
            for task in job.tasks
            for warning in validate_written(
                task, job.source, prepared.LOSSLESS, folder, rows[task.name]
            )
        ]
        writer.write_lists(folder, rows)
        facts = {**provenance(job.source, files), "certificates": split_digests(folder, rows)}
        named = {"suite": job.suite.name, "variant": prepared.LOSSLESS, "warnings": said}
        writer.write_card(folder, {**facts, **named})
    return said


def with_progress(
    pictures: KeyedImages, title: str, total: int, progress: ImageProgress
) -> KeyedImages:
    """The images, while it is told how many have come."""
    progress(title, 0, total)
    for number, picture in enumerate(pictures, start=1):
        yield picture
        progress(title, number, total)


def _require_all_images(
    source: Source, wanted: set[RecordKey], spans: Mapping[RecordKey, TarSpan]
) -> None:
    missing = sorted(wanted - spans.keys())
    if missing:
        some = ", ".join("/".join(name) for name in missing[:3])
        raise UserError(
            f"E-MEMBERS {source.name}: {len(missing):,} of {len(wanted):,} images are not in its "
            f"archives: {some}"
        )


def _task_rows(
    chosen: TaskSplits, spans: Mapping[RecordKey, TarSpan]
) -> dict[Split, list[SplitEntry]]:
    return {
        split: [spans[name].row(chosen.classes[name], name) for name in names]
        for split, names in chosen.splits.items()
    }


def validate_written(
    task: Task,
    source: Source | None,
    variant: str,
    folder: Path,
    rows: SplitRows,
    copied: bool = False,
) -> list[str]:
    """Hold a task that was written to the rules; the warnings."""
    require_rules(task, source, rows, copied)
    jpeg_quality.require_variant(jpeg_quality.native_encoding(source), variant, folder, task, rows)
    return list(validation.data_warnings(task, rows))


def require_rules(
    task: Task, source: Source | None, rows: validation.SplitImages, copied: bool
) -> None:
    """Raise `UserError` for the first rule that a task's splits break."""
    repeats = source is not None and source.repeats
    for problem in validation.broken_rules(task, rows, repeats, copied):
        raise UserError(problem)


def split_digests(folder: Path, rows: TaskRows) -> dict[str, dict[str, str]]:
    """What stands for each split: its labels, its keys and the pixels of some of its images."""
    return {
        task: {split: certificate(from_prepared(folder, found)) for split, found in splits.items()}
        for task, splits in rows.items()
    }


def provenance(source: Source, files: Files) -> dict[str, Any]:
    """What a folder was made from, and with what."""
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
    """What a file was held to."""
    return "repacked: its files by name" if file.repacked else file.sha256 or file.md5


def recorded_versions() -> dict[str, Any]:
    """The versions that pixels can hang on, and the time."""
    found = {}
    for package in RECORDED_PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return {
        "versions": found,
        **environment.git_commit(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }
