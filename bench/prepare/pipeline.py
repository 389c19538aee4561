"""The commands of ``bench data``: prepare, import and check.

Each is a generator of the lines to print, and appends failures to a list.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.config.suite import (
    DISJOINT_SPLITS,
    Source,
    Suite,
    Task,
    card_folder,
    load_source,
    load_suite,
)
from bench.data import locations, prepared, published_lists
from bench.prepare import build, check, downloads, import_copy
from bench.prepare.build import ImageProgress, PrepareJob
from bench.prepare.import_copy import TaskCopy
from bench.utils.errors import UserError, unknown_name
from bench.utils.progress_bars import TransferProgress

Failures = list[str]


@dataclass(frozen=True)
class PrepareRequest:
    """The tasks of a suite to prepare, import or check, and their variant."""

    name: str  # the suite's, or the path of its card
    tasks: Sequence[str]  # empty: all
    root: Path  # the data root
    variant: str | None = None

    def suite(self) -> Suite:
        """Load the suite; raise `UserError` for an unknown name."""
        return load_suite(self.name)

    def sources(self) -> dict[str, Source]:
        """Load the sources of the suite's tasks, by the names that the tasks give them."""
        every = self.suite().prepared_tasks()
        names = dict.fromkeys(task.source for task in every if task.source)
        return {name: load_source(name, card_folder(self.name)) for name in names}


def plan_jobs(request: PrepareRequest) -> list[PrepareJob]:
    """Plan a job for each source of the requested tasks, with all tasks made from that source."""
    suite, sources = request.suite(), request.sources()
    every = suite.prepared_tasks()
    known = {task.name: task.source for task in every if task.source}
    if not known:
        raise UserError(f"no task of suite {suite.name!r} is made from a source")
    asked = [task.name for name in request.tasks for task in suite.find_prepared(name)]
    for name in asked:
        if name not in known:
            raise unknown_name(f"task of suite {suite.name!r} with a source", name, known)
    published_lists.require_sound(task for task in every if not asked or task.name in asked)
    by_source: dict[str, list[Task]] = {}
    for task in every:
        by_source.setdefault(task.source, []).append(task)
    jobs = []
    for source in dict.fromkeys(known[name] for name in asked or known):
        tasks = tuple(by_source[source])
        jobs.append(PrepareJob(suite, sources[source], tasks, request.root))
    return jobs


def prepare_sources(
    jobs: Sequence[PrepareJob],
    accepted: Collection[str],
    force: bool,
    show: TransferProgress,
    failed: Failures,
) -> Iterator[str]:
    """Download and build each source; continue after failures."""
    sources = [job.source.name for job in jobs]
    for name in accepted:
        if name not in sources:
            raise unknown_name("source whose terms could be accepted", name, sources)
    for job in jobs:
        try:
            yield from _prepare_source(job, accepted, force, show)
        except UserError as error:
            failed.append(str(error))


def _prepare_source(
    job: PrepareJob, accepted: Collection[str], force: bool, show: TransferProgress
) -> Iterator[str]:
    if not force and _is_prepared(job):
        yield f"{job.source.name}: prepared before, in {job.folder}"
        return
    files = downloads.fetch_all(job.source, job.root, accepted, show.on_bytes)
    downloads.require_free_space(job.source.prepared_bytes + job.source.scratch_bytes, job.root)
    yield from build.build_source(job, files, show.on_images)
    for task in job.tasks:
        yield f"{task.name}: {_split_sizes(job, task)} images, in {job.folder}"


def _is_prepared(job: PrepareJob) -> bool:
    """Return whether all tasks of a job are prepared, from the source and not from a copy."""
    try:
        if "imported" in prepared.require_complete(job.folder):
            return False
    except UserError:
        return False
    lists = (prepared.list_name(task.name, "test") for task in job.tasks)
    return all((job.folder / name).is_file() for name in lists)


def _split_sizes(job: PrepareJob, task: Task) -> str:
    written = [
        s for s in DISJOINT_SPLITS if (job.folder / prepared.list_name(task.name, s)).is_file()
    ]
    sizes = (len(prepared.read_entries(job.folder, task.name, split)) for split in written)
    return " + ".join(f"{size:,}" for size in sizes)


def import_tasks(
    path: Path, request: PrepareRequest, progress: ImageProgress, failed: Failures
) -> Iterator[str]:
    """Prepare the tasks of a copy; continue after failures."""
    suite = request.suite()
    copies: dict[str, list[TaskCopy]] = {}
    for copy in import_copy.find_copies(suite, path, request.sources()):
        copies.setdefault(copy.task.name, []).append(copy)
    for name in request.tasks:
        if name not in copies:
            raise unknown_name(f"task in {path}", name, copies)
    for name in request.tasks or copies:
        try:
            copy = _require_single(copies[name])
            variant, warnings = import_copy.import_task(
                copy, request.root, request.variant, progress
            )
            yield from warnings
            yield f"{name}: brought in, variant {variant}"
        except UserError as error:
            failed.append(str(error))
    if not request.tasks:
        yield from _missing_tasks(suite, path, copies)


def _require_single(copies: Sequence[TaskCopy]) -> TaskCopy:
    """Return the only copy of a task; raise `UserError` if there are several."""
    if copies[1:]:
        name, where = copies[0].task.name, " and ".join(copy.where for copy in copies)
        raise UserError(
            f"{name} exists {len(copies)} times, perhaps with differences: {where}; keep one"
        )
    return copies[0]


def _missing_tasks(suite: Suite, path: Path, found: Collection[str]) -> Iterator[str]:
    """Yield a warning about the tasks of the suite that a copy lacks."""
    lacking = [task for task in suite.task if task.name not in found]
    if lacking:
        names = ", ".join(map(import_copy.task_folder, lacking))
        yield f"W-ABSENT {path} lacks {len(lacking)} of {len(suite.task)} tasks: {names}"


def check_tasks(request: PrepareRequest, deep: bool, failed: Failures) -> Iterator[str]:
    """Check the data at hand; yield warnings and a summary of each location."""
    suite, sources = request.suite(), request.sources()
    found = 0
    asked = [task for name in request.tasks for task in suite.find_prepared(name)]
    for task in asked or suite.prepared_tasks():
        for place in _task_locations(suite, task, request):
            found += 1
            lines = list(check.check_task(suite, task, sources.get(task.source), place, deep))
            broken = [line for line in lines if not line.startswith("W-")]
            failed += broken
            yield from (line for line in lines if line.startswith("W-"))
            state = f"{len(broken)} rules broken" if broken else "sound"
            yield f"{task.name} ({place.variant or 'as found'}): {state}"
    if not found:
        raise UserError(f"no task of {suite.name} lies in {request.root}")


def _task_locations(
    suite: Suite, task: Task, request: PrepareRequest
) -> list[locations.DataLocation]:
    """List the locations of a task's data: each variant, and folders as found."""
    variants = [request.variant] if request.variant else [*prepared.VARIANTS, None]
    places = [
        place
        for variant in variants
        for place in locations.available_locations(suite, task, request.root, variant)
    ]
    return list(dict.fromkeys(places))
