"""A cell of several processes goes on from its checkpoint: each has its own random numbers."""

import shutil
from pathlib import Path

import pytest

from bench.execution import jobs, plan, process_group
from bench.execution.plan import Request
from bench.execution.request import RunOptions
from bench.records.store import Store
from bench.training.results import RunResult

CHANGES = {"epochs": 6, "warmup_epochs": 1, "test_evaluations": 3, "precision": "fp32"}


def measured(result: RunResult) -> tuple:
    """The values that a result shares with that of a whole run."""
    assert result.outcome, result.failure
    found = result.outcome
    return found.losses, found.test_accuracies, found.predictions, found.init_images


@pytest.mark.long
def test_processes_that_go_on_give_the_numbers_of_those_that_were_not_killed(
    cards: Path, tmp_path: Path
) -> None:
    changes = CHANGES | {"dropout": 0.5}  # each process draws its own
    about = {"tasks": ["light"], "root": cards / "data", "changes": changes}
    (cell,) = plan.plan_cells(Request(str(cards / "tiny.toml"), ["lora"], **about))
    job = jobs.job_for(cell, "cpu", options=RunOptions(processes=2, checkpoint_every=0.0))
    path, kept = Store(tmp_path).checkpoint_path(cell.settings), tmp_path / "kept"
    told: list[int] = []

    def keep(epoch: int, *_: object) -> None:
        told.append(epoch)
        if epoch == 3:  # a rank tells of an epoch, and then writes its checkpoint
            shutil.copy(path, kept)

    whole = process_group.run_distributed(job, tmp_path, keep)
    kept.replace(path)
    again = process_group.run_distributed(job, tmp_path, lambda *_: None)
    assert measured(again) == measured(whole)
    assert "resumed_after_epochs" not in whole.notes
    (after,) = again.notes["resumed_after_epochs"]
    assert 2 <= after < 6
    assert told == [1, 2, 3, 4, 5, 6]
