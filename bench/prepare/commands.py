"""What ``bench data`` does: prepare, bring in, check. Each gives lines, and notes what failed."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import cards, places, stores
from bench.cards import Suite
from bench.console import Transfer
from bench.errors import UserError, unknown
from bench.prepare import building, checking, importing
from bench.prepare.building import Job, Progress
from bench.prepare.downloads import fetching
from bench.prepare.importing import Copy
from bench.sources import Source, beside, load_source
from bench.tasks import APART, Task

Failures = list[str]


@dataclass(frozen=True)
class Wanted:
    """Which tasks of a suite, where, and in which variant."""

    name: str  # of the suite, or its card's path
    tasks: Sequence[str]  # empty: all
    root: Path  # of the data
    variant: str | None = None

    def suite(self) -> Suite:
        """The suite; raises `UserError` for a name that is not known."""
        return cards.load_suite(self.name)

    def sources(self) -> dict[str, Source]:
        """What the suite's tasks are made from, as they name it."""
        names = dict.fromkeys(task.source for task in self.suite().task if task.source)
        return {name: load_source(name, beside(self.name)) for name in names}


def jobs(wanted: Wanted) -> list[Job]:
    """A job for each source of the wanted tasks, with all the suite's tasks that it serves."""
    suite, sources = wanted.suite(), wanted.sources()
    known = {task.name: task.source for task in suite.task if task.source}
    if not known:
        raise UserError(f"no task of suite {suite.name!r} is made from a source")
    for name in wanted.tasks:
        if name not in known:
            raise unknown(f"task of suite {suite.name!r} with a source", name, known)
    found = []
    for source in dict.fromkeys(known[name] for name in wanted.tasks or known):
        tasks = tuple(task for task in suite.task if task.source == source)
        found.append(Job(suite, sources[source], tasks, wanted.root))
    return found


def prepare(
    wanted: Sequence[Job],
    accepted: Collection[str],
    force: bool,
    show: Transfer,
    failed: Failures,
) -> Iterator[str]:
    """Fetch and build each source; one that fails is noted, and the next goes on."""
    sources = [job.source.name for job in wanted]
    for name in accepted:
        if name not in sources:
            raise unknown("source whose terms could be accepted", name, sources)
    for job in wanted:
        try:
            yield from _prepared(job, accepted, force, show)
        except UserError as error:
            failed.append(str(error))


def _prepared(job: Job, accepted: Collection[str], force: bool, show: Transfer) -> Iterator[str]:
    if not force and _is_whole(job):
        yield f"{job.source.name}: prepared before, in {job.folder}"
        return
    files = fetching.fetch_all(job.source, job.root, accepted, show.bytes)
    fetching.require_free(job.source.prepared_bytes + job.source.scratch_bytes, job.root)
    yield from building.build(job, files, show.images)
    for task in job.tasks:
        yield f"{task.name}: {_sizes(job, task)} images, in {job.folder}"


def _is_whole(job: Job) -> bool:
    """Whether all the job's tasks are prepared already, and not from a copy."""
    try:
        if "imported" in stores.require_whole(job.folder):
            return False
    except UserError:
        return False
    lists = (stores.list_name(task.name, "test") for task in job.tasks)
    return all((job.folder / name).is_file() for name in lists)


def _sizes(job: Job, task: Task) -> str:
    written = [s for s in APART if (job.folder / stores.list_name(task.name, s)).is_file()]
    sizes = (len(stores.rows(job.folder, task.name, split)) for split in written)
    return " + ".join(f"{size:,}" for size in sizes)


def bring(path: Path, wanted: Wanted, progress: Progress, failed: Failures) -> Iterator[str]:
    """Prepare the tasks of a copy; one that fails is noted, and the next goes on."""
    suite = wanted.suite()
    copies: dict[str, list[Copy]] = {}
    for copy in importing.found(suite, path, wanted.sources()):
        copies.setdefault(copy.task.name, []).append(copy)
    for name in wanted.tasks:
        if name not in copies:
            raise unknown(f"task in {path}", name, copies)
    for name in wanted.tasks or copies:
        try:
            copy = importing.only(copies[name])
            told, said = importing.bring(copy, wanted.root, wanted.variant, progress)
            yield from said
            yield f"{name}: brought in, variant {told}"
        except UserError as error:
            failed.append(str(error))
    if not wanted.tasks:
        yield from importing.absent(suite, path, copies)


def check(wanted: Wanted, deep: bool, failed: Failures) -> Iterator[str]:
    """Hold what is there to the rules, and note what is broken."""
    suite, sources = wanted.suite(), wanted.sources()
    found = 0
    for task in [suite.find(name) for name in wanted.tasks] or suite.task:
        for place in _there(suite, task, wanted):
            found += 1
            said = list(checking.check(suite, task, sources.get(task.source), place, deep))
            broken = [line for line in said if not line.startswith("W-")]
            failed += broken
            yield from (line for line in said if line.startswith("W-"))
            state = f"{len(broken)} rules broken" if broken else "sound"
            yield f"{task.name} ({place.variant or 'as found'}): {state}"
    if not found:
        raise UserError(f"no task of {suite.name} lies in {wanted.root}")


def _there(suite: Suite, task: Task, wanted: Wanted) -> list[places.Place]:
    """Where a task lies: in each variant, and as found."""
    kinds = [wanted.variant] if wanted.variant else [*stores.VARIANTS, None]
    found = [place for kind in kinds for place in places.there(suite, task, wanted.root, kind)]
    return list(dict.fromkeys(found))
