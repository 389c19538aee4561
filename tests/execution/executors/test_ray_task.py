"""A task of a Ray cluster, run without one: a job packed with all it needs."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.execution import jobs, plan
from bench.execution.executors import JobFinished, ray_task
from bench.execution.plan import Request
from bench.utils.errors import UserError
from support import executor_runs


@pytest.fixture
def job(cards: Path) -> jobs.Job:
    suite, changes = str(cards / "tiny.toml"), {"epochs": 1, "warmup_epochs": 0}
    asked = Request(suite, ["linear"], tasks=["light"], changes=changes, root=cards / "data")
    return jobs.job_for(plan.plan_cells(asked)[0], "cpu")


def test_a_node_whose_code_is_another_refuses_the_job(job: jobs.Job) -> None:
    assert jobs.resolve_cell(job).settings.digest() == job.cell
    with pytest.raises(UserError, match="asked for by commit 000000000000, and the code of"):
        jobs.resolve_cell(replace(job, commit="0" * 40))


def test_a_node_s_own_data_serve_where_the_asker_s_folder_is_not(
    job: jobs.Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", "own")
    assert ray_task._with_local_data(job).root == job.root
    assert ray_task._with_local_data(replace(job, root="nowhere")).root == "own"


@pytest.mark.long
def test_a_packed_job_needs_nothing_but_itself(job: jobs.Job, tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(executor_runs.FAULTY.read_text(encoding="utf-8"), encoding="utf-8")
    parcel = ray_task.pack_job(job, [plugin], {"OMP_NUM_THREADS": "1"}, None)
    plugin.unlink()
    *epochs, last = ray_task.run_remote_job(replace(parcel, working_dir="/nowhere"))
    assert [message["epoch"] for message in epochs] == [1]
    ended = ray_task.apply_message(last, job, tmp_path / "results")
    assert ended == JobFinished(job)
    assert list(executor_runs.records(tmp_path / "results")) == ["linear"]


def test_nothing_is_written_outside_the_results(job: jobs.Job, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no path of results"):
        ray_task.apply_message(
            {"failure": None, "files": {"../out": b""}}, job, tmp_path / "results"
        )
