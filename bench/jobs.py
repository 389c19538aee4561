"""A cell as data that can travel: the names from which a worker makes it again."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import plan
from bench.errors import UserError
from bench.plan import Request
from bench.runner import Cell


@dataclass(frozen=True)
class Job:
    """One cell to be run on a device; JSON says all of it."""

    cell: str  # its digest: what the worker makes of the names must be this very cell
    request: dict[str, Any]
    root: str  # of the data
    device: str
    attempt: int = 1
    observed: list[str] = field(default_factory=list)  # measurements to take

    def text(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


def of(cell: Cell, device: str, attempt: int = 1) -> Job:
    """The job that runs a cell."""
    places = str(cell.root), device
    return Job(cell.settings.digest(), cell.request, *places, attempt, list(cell.observed))


def read(text: str) -> Job:
    """The job that a line says."""
    return Job(**json.loads(text))


def cell(job: Job) -> Cell:
    """The cell of a job, planned anew; raises `UserError` where it is another one here."""
    found = plan.cells(_request(job))
    for one in found:
        if one.settings.digest() == job.cell:
            return replace(one, observed=tuple(job.observed))
    names = ", ".join(one.settings.digest() for one in found)
    raise UserError(
        f"cell {job.cell} was asked for, and is {names} here: data, weights, cards or plug-ins "
        "differ from those of the machine that asked"
    )


def _request(job: Job) -> Request:
    asked = job.request
    return Request(
        suite=asked["suite"],
        methods=[asked["method"]],
        backbones=[asked["backbone"]],
        tasks=[asked["task"]],
        seeds=[asked["seed"]],
        recipe=asked["recipe"],
        changes=asked["changes"],
        root=Path(job.root),
        variant=asked["variant"],
        device=job.device,
    )
