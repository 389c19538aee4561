"""Jobs in a worker: rebuilt from JSON or, in the process that planned them, the cell itself."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from timm.models import VisionTransformer

from bench.execution import jobs, plan, worker
from bench.execution.jobs import Job
from bench.execution.request import Request
from bench.records.store import Store
from bench.training.cell import Cell
from methods import Method

CHANGES = {"epochs": 1, "warmup_epochs": 0, "test_evaluations": 1, "precision": "fp32"}


@pytest.fixture
def cell(cards: Path) -> Cell:
    names = {"tasks": ["light"], "seeds": [0], "root": cards / "data", "changes": CHANGES}
    return plan.plan_cells(Request(str(cards / "tiny.toml"), ["linear"], **names))[0]


@pytest.fixture
def rebuilt(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs whose cells are rebuilt from their names."""
    found, resolve = list[Job](), jobs.resolve_cell

    def noted(job: Job) -> Cell:
        found.append(job)
        return resolve(job)

    monkeypatch.setattr(jobs, "resolve_cell", noted)
    return found


def run(job: Job, results: Path, cell: Cell | None = None) -> None:
    assert worker.run_job(job, results, lambda *_: None, cell) is None


def test_a_planned_cell_is_not_rebuilt(cell: Cell, tmp_path: Path, rebuilt: list[Job]) -> None:
    run(jobs.job_for(cell, "cpu"), tmp_path, cell)
    record = Store(tmp_path).find(cell.settings)
    assert record
    assert record.ok
    assert not rebuilt


def test_a_rebuilt_cell_has_the_record_of_the_planned_one(
    cell: Cell, tmp_path: Path, rebuilt: list[Job]
) -> None:
    job = jobs.job_for(cell, "cpu")
    run(job, tmp_path / "planned", cell)
    run(job, tmp_path / "rebuilt")
    assert rebuilt == [job]
    planned, again = (Store(tmp_path / name).find(cell.settings) for name in ("planned", "rebuilt"))
    assert planned
    assert again
    assert planned.outcome
    assert again.outcome
    assert planned.outcome.losses == again.outcome.losses
    assert planned.outcome.predictions == again.outcome.predictions


@dataclass(frozen=True)
class Counting(Method):
    """A method that keeps state, as a plug-in's may."""

    def attach(self, model: VisionTransformer) -> None:
        object.__setattr__(self, "attached", getattr(self, "attached", 0) + 1)


def test_the_method_of_a_planned_cell_is_copied(cell: Cell, tmp_path: Path) -> None:
    stateful = replace(cell, method=Counting())
    run(jobs.job_for(stateful, "cpu"), tmp_path, stateful)
    assert not hasattr(stateful.method, "attached")
