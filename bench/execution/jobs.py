"""What the end of a process that ran a cell means, as the cell's failure."""

# MERGED bench.execution.jobs: """A cell as data that can travel: the names from which a worker makes it again.
#
# What a cell is made with is imported only where one is: jobs pass through processes that compute
# nothing.
# """
import json
import platform
import signal
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from bench.records.schema import Failure, TuningResult
from bench.utils.errors import UserError


def failure_from_exit_status(process: str, status: int, said: str = "") -> Failure:
    """Of a process, named so, that ended with this status; below 0: the signal that killed it.

    `said` is the last of what it printed.
    """
    if status >= 0:
        return Failure("failed", "Exited", f"{process} ended with status {status}", said)
    name = signal.Signals(-status).name
    hint = ", as when memory runs out" if name == "SIGKILL" else ""
    return Failure("failed", "Killed", f"{process} was killed by {name}{hint}", said)


if TYPE_CHECKING:
    from bench.training.cell import Cell

_tuning_adapter: TypeAdapter[TuningResult | None] = TypeAdapter(TuningResult | None)


@dataclass(frozen=True)
class RunOptions:
    """How the cells of a run are to be run, which changes none of their numbers."""

    processes: int = 1  # that train a cell together
    tensorboard: bool = False  # whether its course is written for TensorBoard


DEFAULT_OPTIONS = RunOptions()


@dataclass(frozen=True)
class Job:
    """One cell to be run on a device; JSON says all of it."""

    cell: str  # its digest: what the worker makes of the names must be this very cell
    request: dict[str, Any]
    root: str  # of the data
    device: str
    attempt: int = 1
    tuned: dict[str, Any] | None = None  # the trials that chose the cell's rates, for its record
    processes: int = 1  # that train it together
    tensorboard: bool = False  # whether its course is written for TensorBoard
    observed: list[str] = field(default_factory=list)  # measurements to take
    commit: str = ""  # of the code that asked; empty: that of the worker is the same, or not known

    def describe(self) -> str:
        """The cell in words."""
        asked = self.request
        return f"{asked['method']} on {asked['backbone']}, {asked['task']}, seed {asked['seed']}"

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


def job_for(cell: "Cell", device: str, attempt: int = 1, how: RunOptions = DEFAULT_OPTIONS) -> Job:
    """The job that runs a cell."""
    tuned = asdict(cell.tuned) if cell.tuned else None
    digest, root, observed = cell.settings.digest(), str(cell.root), list(cell.measurements)
    more = {**asdict(how), "observed": observed}
    return Job(digest, cell.request, root, device, attempt, tuned, **more)


def parse_job(text: str) -> Job:
    """The job that a line says."""
    return Job(**json.loads(text))


def resolve_cell(job: Job) -> "Cell":
    """The cell of a job, planned anew.

    Raises `UserError` where it is another one here, or the code is another.
    """
    from bench.execution import plan, request

    _require_same_commit(job)
    found = plan.plan_cells(request.request_from_json(job.request, Path(job.root), job.device))
    for one in found:
        if one.settings.digest() == job.cell:
            tuned = _tuning_adapter.validate_python(job.tuned)
            return replace(one, tuned=tuned, measurements=tuple(job.observed))
    names = ", ".join(one.settings.digest() for one in found)
    raise UserError(
        f"cell {job.cell} was asked for, and is {names} here: data, weights, cards or plug-ins "
        "differ from those of the machine that asked"
    )


def _require_same_commit(job: Job) -> None:
    """Raise `UserError` where this checkout is not at the commit that asked."""
    from bench.utils import environment

    here = environment.git_commit()["commit"]
    if job.commit and here != job.commit:
        raise UserError(
            f"cell {job.cell} was asked for by commit {job.commit[:12]}, and the code of "
            f"{platform.node()} is at {here[:12] or 'none that is known'}: bring both to the same"
        )
