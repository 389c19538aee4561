"""One source becomes the prepared folder of the tasks that it serves."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench import data, environment, stores
from bench.cards import Suite
from bench.errors import UserError, unknown
from bench.prepare import rules, variants, writing
from bench.prepare.choosing import Chosen, choose_all
from bench.prepare.formats import FORMATS
from bench.prepare.formats.base import Files, Format, Name, Picture
from bench.prepare.writing import Span, TaskRows
from bench.sources import File, Source
from bench.stores import Row
from bench.tasks import Split, Task

Rows = Mapping[Split, Sequence[Row]]
Pictures = Iterator[tuple[Name, Picture]]
Progress = Callable[[str, int, int], None]  # of what, how many were done, of how many
TOOLS = ("pillow", "numpy", "opencv-python-headless", "opencv-python", "h5py", "scipy")


@dataclass(frozen=True)
class Job:
    """A source and the tasks of a suite that are made from it."""

    suite: Suite
    source: Source
    tasks: tuple[Task, ...]
    root: Path  # of the data

    @property
    def folder(self) -> Path:
        """Where it is prepared."""
        return stores.home(self.root, self.suite.name, self.source.name, stores.LOSSLESS)


def opened(source: Source, files: Files) -> Format:
    """The reader of a source; raises `UserError` for a format or option that is not known."""
    if source.format not in FORMATS:
        raise unknown(f"format for the source {source.name!r}", source.format, FORMATS)
    try:
        return FORMATS[source.format](files, **source.options)
    except TypeError as error:
        raise UserError(f"the card of the source {source.name}: options: {error}") from None


def build(job: Job, files: Files, progress: Progress) -> list[str]:
    """Prepare a job's folder; the warnings. Raises `UserError` for the first rule it breaks."""
    reader = opened(job.source, files)
    entries = list(reader.entries())
    chosen = choose_all(job.tasks, entries, files)
    del entries  # of a large source they are many
    wanted = {name for one in chosen for names in one.splits.values() for name in names}
    with writing.published(job.folder) as folder:
        pictures = counted(reader.images(wanted), job.source.title, len(wanted), progress)
        spans = writing.write_images(folder, pictures)
        _require_all(job.source, wanted, spans)
        rows = {one.task.name: _rows(one, spans) for one in chosen}
        said = [
            warning
            for task in job.tasks
            for warning in vouched(task, job.source, stores.LOSSLESS, folder, rows[task.name])
        ]
        writing.write_lists(folder, rows)
        facts = {**provenance(job.source, files), "certificates": certificates(folder, rows)}
        named = {"suite": job.suite.name, "variant": stores.LOSSLESS, "warnings": said}
        writing.write_card(folder, {**facts, **named})
    return said


def counted(pictures: Pictures, title: str, total: int, progress: Progress) -> Pictures:
    """The images, while it is told how many have come."""
    progress(title, 0, total)
    for number, picture in enumerate(pictures, start=1):
        yield picture
        progress(title, number, total)


def _require_all(source: Source, wanted: set[Name], spans: Mapping[Name, Span]) -> None:
    missing = sorted(wanted - spans.keys())
    if missing:
        some = ", ".join("/".join(name) for name in missing[:3])
        raise UserError(
            f"E-MEMBERS {source.name}: {len(missing):,} of {len(wanted):,} images are not in its "
            f"archives: {some}"
        )


def _rows(chosen: Chosen, spans: Mapping[Name, Span]) -> dict[Split, list[Row]]:
    return {
        split: [spans[name].row(chosen.classes[name], name) for name in names]
        for split, names in chosen.splits.items()
    }


def vouched(
    task: Task, source: Source | None, variant: str, folder: Path, rows: Rows, copied: bool = False
) -> list[str]:
    """Hold a task that was written to the rules; the warnings."""
    require_rules(task, source, rows, copied)
    variants.require(variants.native(source), variant, folder, task, rows)
    return list(rules.warnings(task, rows))


def require_rules(task: Task, source: Source | None, rows: rules.Rows, copied: bool) -> None:
    """Raise `UserError` for the first rule that a task's splits break."""
    repeats = source is not None and source.repeats
    for problem in rules.problems(task, rows, repeats, copied):
        raise UserError(problem)


def certificates(folder: Path, rows: TaskRows) -> dict[str, dict[str, str]]:
    """What stands for each split: its labels, its keys and the pixels of some of its images."""
    return {
        task: {
            split: data.certificate(data.in_store(folder, found)) for split, found in splits.items()
        }
        for task, splits in rows.items()
    }


def provenance(source: Source, files: Files) -> dict[str, Any]:
    """What a folder was made from, and with what."""
    published = {file.name: _proof(file) for file in source.file if file.name in files}
    return {
        "source": source.name,
        "title": source.title,
        "licence": source.licence,
        "home": source.home,
        "archives": published,
        **made_with(),
    }


def _proof(file: File) -> str:
    """What a file was held to."""
    return "repacked: its files by name" if file.repacked else file.sha256 or file.md5


def made_with() -> dict[str, Any]:
    """The versions that pixels can hang on, and the time."""
    found = {}
    for package in TOOLS:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return {
        "versions": found,
        **environment.commit(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }
