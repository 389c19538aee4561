"""Jobs: serialisable descriptions of cells, from which workers rebuild them.

Planning is imported only where a cell is rebuilt: jobs also pass through processes that compute
nothing.
"""

import json
import platform
import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from bench.execution.request import RunOptions, request_from_json
from bench.records.schema import Failure, TuningResult
from bench.utils import environment
from bench.utils.errors import UserError

if TYPE_CHECKING:
    from bench.training.cell import Cell

DEFAULT_OPTIONS = RunOptions()
_tuning_adapter: TypeAdapter[TuningResult | None] = TypeAdapter(TuningResult | None)


@dataclass(frozen=True)
class Job:
    """One cell to run on a device, by names alone: it travels as a line of JSON.

    With `partners`, it is a pass of trials, of which the cell is the first.
    """

    cell: str  # digest; the cell that a worker rebuilds from the names must have it
    request: dict[str, Any]  # the names
    root: str  # of the data
    device: str
    attempt: int = 1
    tuned: dict[str, Any] | None = None  # the trials behind the cell's rates, for its record
    processes: int = 1  # that train it together
    deterministic: bool = False  # use deterministic algorithms alone
    tensorboard: bool = False  # write training curves for TensorBoard
    observed: list[str] = field(default_factory=list)  # measurements to take
    checkpoint_every: float | None = None  # seconds; None: no checkpoints
    partners: list[dict[str, Any]] = field(default_factory=list)  # `cell` and `request` of each
    commit: str = ""  # of the requesting checkout; empty: the worker shares it, or none is known

    def describe(self) -> str:
        """Describe the cell in words."""
        names = self.request
        return f"{names['method']} on {names['backbone']}, {names['task']}, seed {names['seed']}"

    def single_jobs(self) -> list["Job"]:
        """Return the jobs of the single cells."""
        alone = replace(self, partners=[])
        return [alone, *(replace(alone, **partner) for partner in self.partners)]

    def to_json(self) -> str:
        """Return the job as one line of JSON."""
        return json.dumps(asdict(self))


def job_for(
    cell: "Cell", device: str, attempt: int = 1, options: RunOptions = DEFAULT_OPTIONS
) -> Job:
    """Return the job that runs a cell."""
    return Job(
        cell=cell.settings.digest(),
        request=cell.request,
        root=str(cell.root),
        device=device,
        attempt=attempt,
        tuned=asdict(cell.tuned) if cell.tuned else None,
        processes=options.processes,
        deterministic=options.deterministic,
        tensorboard=options.tensorboard,
        observed=list(cell.measurements),
        checkpoint_every=options.checkpoint_every,
    )


def job_for_pass(cells: Sequence["Cell"], device: str, attempt: int, options: RunOptions) -> Job:
    """Return the job that trains cells in one pass, or the only one alone."""
    first, *others = (job_for(cell, device, attempt, options) for cell in cells)
    return replace(first, partners=[{"cell": o.cell, "request": o.request} for o in others])


def parse_job(text: str) -> Job:
    """Parse a job's line of JSON."""
    return Job(**json.loads(text))


def resolve_cell(job: Job) -> "Cell":
    """Rebuild the cell of a job by planning its names again.

    Raises `UserError` where that gives another cell here, or the code is of another commit.
    """
    from bench.execution import plan

    _require_same_commit(job)
    cells = plan.plan_cells(request_from_json(job.request, Path(job.root), job.device))
    for cell in cells:
        if cell.settings.digest() == job.cell:
            tuned = _tuning_adapter.validate_python(job.tuned)
            return replace(cell, tuned=tuned, measurements=tuple(job.observed))
    names = ", ".join(cell.settings.digest() for cell in cells)
    raise UserError(
        f"cell {job.cell} was asked for, and is {names} here: data, weights, cards or plug-ins "
        "differ from those of the machine that asked"
    )


def _require_same_commit(job: Job) -> None:
    """Raise `UserError` where this checkout is not at the commit of the job."""
    here = environment.git_commit()["commit"]
    if job.commit and here != job.commit:
        raise UserError(
            f"cell {job.cell} was asked for by commit {job.commit[:12]}, and the code of "
            f"{platform.node()} is at {here[:12] or 'none that is known'}: bring both to the same"
        )


def failure_from_exit_status(process: str, status: int, stderr: str = "") -> Failure:
    """Turn a process's exit status (below 0: the signal that killed it) into its cell's failure.

    `process` names it in the message; `stderr` is the end of what it printed.
    """
    if status >= 0:
        return Failure("failed", "Exited", f"{process} ended with status {status}", stderr)
    name = _signal_name(-status)
    hint = ", as when memory runs out" if name == "SIGKILL" else ""
    return Failure("failed", "Killed", f"{process} was killed by {name}{hint}", stderr)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals, most of which have no name
        return f"signal {number}"


def describe_failed_start(failure: Failure) -> str:
    """Describe why a process did not start, with its last line of output if it ended by itself."""
    lines = failure.traceback.strip().splitlines()
    said = f" ({lines[-1].strip()})" if lines and failure.error == "Exited" else ""
    return f"{failure.message}{said}"
