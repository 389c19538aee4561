"""What ``bench data`` does: prepare, bring in, check. Each gives lines, and notes what failed."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.config.source import Source, card_folder, load_source
from bench.config.suite import DISJOINT_SPLITS, Suite, Task, load_suite
from bench.data import locations, prepared
from bench.prepare import build, check, downloads, import_copy
from bench.prepare.build import ImageProgress, PrepareJob
from bench.prepare.import_copy import TaskCopy
from bench.utils.errors import UserError, unknown_name
from bench.utils.progress_bars import TransferProgress

Failures = list[str]


@dataclass(frozen=True)
class PrepareRequest:
    """Which tasks of a suite, where, and in which variant."""

    name: str  # of the suite, or its card's path
    tasks: Sequence[str]  # empty: all
    root: Path  # of the data
    variant: str | None = None

    def suite(self) -> Suite:
        """The suite; raises `UserError` for a name that is not known."""
        return load_suite(self.name)

    def sources(self) -> dict[str, Source]:
        """What the suite's tasks are made from, as they name it."""
        names = dict.fromkeys(task.source for task in self.suite().task if task.source)
        return {name: load_source(name, card_folder(self.name)) for name in names}


def plan_jobs(wanted: PrepareRequest) -> list[PrepareJob]:
    """A job for each source of the wanted tasks, with all the suite's tasks that it serves."""
    suite, sources = wanted.suite(), wanted.sources()
    known = {task.name: task.source for task in suite.task if task.source}
    if not known:
        raise UserError(f"no task of suite {suite.name!r} is made from a source")
    for name in wanted.tasks:
        if name not in known:
            raise unknown_name(f"task of suite {suite.name!r} with a source", name, known)
    found = []
    for source in dict.fromkeys(known[name] for name in wanted.tasks or known):
        tasks = tuple(task for task in suite.task if task.source == source)
        found.append(PrepareJob(suite, sources[source], tasks, wanted.root))
    return found


def prepare_sources(
    wanted: Sequence[PrepareJob],
    accepted: Collection[str],
    force: bool,
    show: TransferProgress,
    failed: Failures,
) -> Iterator[str]:
    """Fetch and build each source; one that fails is noted, and the next goes on."""
    sources = [job.source.name for job in wanted]
    for name in accepted:
        if name not in sources:
            raise unknown_name("source whose terms could be accepted", name, sources)
    for job in wanted:
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
    """Whether all the job's tasks are prepared already, and not from a copy."""
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
    path: Path, wanted: PrepareRequest, progress: ImageProgress, failed: Failures
) -> Iterator[str]:
    """Prepare the tasks of a copy; one that fails is noted, and the next goes on."""
    suite = wanted.suite()
    copies: dict[str, list[TaskCopy]] = {}
    for copy in import_copy.find_copies(suite, path, wanted.sources()):
        copies.setdefault(copy.task.name, []).append(copy)
    for name in wanted.tasks:
        if name not in copies:
            raise unknown_name(f"task in {path}", name, copies)
    for name in wanted.tasks or copies:
        try:
            copy = import_copy.require_single(copies[name])
            told, said = import_copy.import_task(copy, wanted.root, wanted.variant, progress)
            yield from said
            yield f"{name}: brought in, variant {told}"
        except UserError as error:
            failed.append(str(error))
    if not wanted.tasks:
        yield from import_copy.missing_tasks(suite, path, copies)


def check_tasks(wanted: PrepareRequest, deep: bool, failed: Failures) -> Iterator[str]:
    """Hold what is there to the rules, and note what is broken."""
    suite, sources = wanted.suite(), wanted.sources()
    found = 0
    for task in [suite.find(name) for name in wanted.tasks] or suite.task:
        for place in _task_locations(suite, task, wanted):
            found += 1
            said = list(check.check_task(suite, task, sources.get(task.source), place, deep))
            broken = [line for line in said if not line.startswith("W-")]
            failed += broken
            yield from (line for line in said if line.startswith("W-"))
            state = f"{len(broken)} rules broken" if broken else "sound"
            yield f"{task.name} ({place.variant or 'as found'}): {state}"
    if not found:
        raise UserError(f"no task of {suite.name} lies in {wanted.root}")


def _task_locations(
    suite: Suite, task: Task, wanted: PrepareRequest
) -> list[locations.DataLocation]:
    """Where a task lies: in each variant, and as found."""
    kinds = [wanted.variant] if wanted.variant else [*prepared.VARIANTS, None]
    found = [
        place
        for kind in kinds
        for place in locations.available_locations(suite, task, wanted.root, kind)
    ]
    return list(dict.fromkeys(found))
