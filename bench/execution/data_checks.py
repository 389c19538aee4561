"""Checks of a request's data before anything trains: presence, split lists, content, warnings."""

from dataclasses import dataclass
from pathlib import Path

from bench.config.suite import Split, Suite, Task
from bench.data import locations, prepared
from bench.data.splits import Examples, fingerprint, load_split, require_images
from bench.execution.request import Request
from bench.prepare import folder_check
from bench.utils import files
from bench.utils.errors import UserError

SplitPair = tuple[Split, Split]  # trained on, evaluated on


@dataclass(frozen=True)
class CheckedData:
    """Digest of a task's data, and warnings about them."""

    digest: str  # "<variant>:<training split's>-<evaluation split's>", as recorded
    warnings: tuple[str, ...]

    @property
    def train_digest(self) -> str:
        """The digest without the evaluation split's part."""
        return self.digest.rpartition("-")[0]


def require_present(suite: Suite, tasks: list[Task], request: Request) -> None:
    """Raise `UserError` naming all tasks whose data are absent, and where they were looked for."""
    root, variant = request.root, request.variant
    absent = [task for task in tasks if not locations.is_present(suite, task, root, variant)]
    if absent:
        names = ", ".join(task.name for task in absent)
        why = locations.explain_missing(suite, absent[0], root, variant)
        if prepared.available_variants(root, suite.name, absent[0]):
            raise UserError(f"{len(absent)} of {len(tasks)} tasks ({names}) cannot be read: {why}")
        raise UserError(
            f"no data for {len(absent)} of {len(tasks)} tasks ({names}): {why}, and so on; name "
            f"their folder with --data-root or $BENCH_DATA. {suite.home}".strip()
        )


def check_data(suite: Suite, task: Task, pair: SplitPair, request: Request) -> CheckedData:
    """Read and check both splits of a task; no other split is opened.

    Raises `UserError` where a split is not listed, or breaks the rules for data.
    """
    root, variant = request.root, request.variant
    place = None if task.embedded else locations.find(suite, task, root, variant)
    if place and not place.variant:
        _require_split_lists(suite, pair)
    train, evaluation = (load_split(suite, task, split, root, variant) for split in pair)
    both = dict(zip(pair, (train, evaluation), strict=True))
    warnings = folder_check.run_warnings(suite, task, place, both, request.suite)
    mark = f"{place.variant}:" if place and place.variant else ""
    folder = place.folder if place else None
    digest = f"{mark}{_split_digest(train, folder)}-{_split_digest(evaluation, folder)}"
    return CheckedData(digest, tuple(warnings))


def _require_split_lists(suite: Suite, pair: SplitPair) -> None:
    """Raise `UserError` where a suite, read from folders as found, has no list for a split."""
    absent = [split for split in pair if not suite.lists.get(split)]
    if absent:
        raise UserError(
            f"suite {suite.name!r} has no list of {absent[0]}, which trials need: add it to "
            "the lists of its card, or say --no-tune"
        )


def _split_digest(examples: Examples, folder: Path | None) -> str:
    """Return a split's fingerprint; its images are looked into once per fingerprint."""
    found = fingerprint(examples, folder)
    files.run_once("images", found, lambda: require_images(examples))
    return found
