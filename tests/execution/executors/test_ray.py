"""The Ray executor, on a cluster of two local nodes and on one that it starts itself."""

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bench.cli import main
from bench.execution import jobs, plan
from bench.execution.executors import factory, ray
from bench.execution.executors.ray import JobResources, failure_from_error, job_resources
from bench.execution.plan import Request
from bench.utils.errors import UserError
from support import executor_runs, tiny

pytestmark = pytest.mark.xdist_group("ray")  # one cluster for them all, and in this order


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    pytest.importorskip("ray", reason="needs the extra ray")
    with executor_runs.two_nodes() as (address, process):
        assert address, "the cluster did not start"
        yield address, process


@pytest.fixture(scope="module")
def grid(
    cards: Path, cluster: tuple[str, object], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The results of the grid, run on both nodes."""
    results = tmp_path_factory.mktemp("grid") / "results"
    done = executor_runs.run_grid(cards, results, "--executor", "ray", "--address", cluster[0])
    assert done.returncode == 1, done.stderr
    return results


@pytest.fixture
def job(cards: Path) -> jobs.Job:
    suite, changes = str(cards / "tiny.toml"), {"epochs": 1, "warmup_epochs": 0}
    asked = Request(suite, ["linear"], tasks=["light"], changes=changes, root=cards / "data")
    return jobs.job_for(plan.plan_cells(asked)[0], "cpu")


def test_the_leaderboard_is_that_of_one_process(grid: Path, cards: Path, tmp_path: Path) -> None:
    assert main.main(tiny.command("run", cards, tmp_path / "here", executor_runs.HEALTHY)) == 0
    here = executor_runs.tables(tmp_path / "here", tmp_path / "a")
    assert executor_runs.tables(grid, tmp_path / "b") == here


def test_failures_are_recorded_with_their_cause(grid: Path) -> None:
    assert executor_runs.causes(grid) == executor_runs.CAUSES


def test_predictions_come_back_with_the_records(grid: Path) -> None:
    assert len(list((grid / "predictions").glob("*.npz"))) == len(executor_runs.HEALTHY.split(","))


def test_what_no_node_offers_is_refused_and_not_waited_for(
    cards: Path, cluster: tuple[str, object], tmp_path: Path
) -> None:
    more = ("--device", "cuda", "--executor", "ray", "--address", cluster[0])
    done = executor_runs.run(cards, tmp_path / "results", "linear", *more)
    assert done.returncode == 2
    assert "no node of the Ray cluster offers one: they have CPU 1, GPU 0" in done.stderr


def test_a_cell_of_a_node_that_is_lost_runs_once_more_elsewhere(
    cards: Path, cluster: tuple[str, subprocess.Popen[str]], tmp_path: Path
) -> None:
    address, process = cluster
    more = _traced(tmp_path, "--seeds", "0,1", "--executor", "ray", "--address", address)
    given = executor_runs.words(cards, tmp_path / "results", "traced", *more)
    with subprocess.Popen(given, env=executor_runs.environment(), stdout=-1, stderr=-1) as running:
        _wait_for_traces(tmp_path, 2)
        print(file=process.stdin, flush=True)
        assert process.stdout
        assert process.stdout.readline() == "killed\n"
        _, said = running.communicate(timeout=executor_runs.PATIENCE)
    assert running.returncode == 0, said
    assert len(executor_runs.records(tmp_path / "results")["traced"]) == 2
    assert len(list((tmp_path / "traces").iterdir())) == 3


def test_a_cluster_of_the_run_s_own_listens_to_this_machine_alone(
    cards: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    given = executor_runs.words(
        cards, tmp_path / "results", "traced", *_traced(tmp_path, "--executor", "ray")
    )
    quiet = executor_runs.environment()
    quiet.pop("RAY_ADDRESS", None)
    with subprocess.Popen(given, env=quiet, stdout=-1, stderr=-1) as running:
        _wait_for_traces(tmp_path, 1)
        found = _listening(psutil.Process(running.pid))
        _, said = running.communicate(timeout=executor_runs.PATIENCE)
    assert running.returncode == 0, said
    assert found
    assert all(ip.removeprefix("::ffff:").startswith("127.") or ip == "::1" for ip in found), found


def test_nobody_at_the_address_is_said_at_once(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    more = ("--workers", "1", "--executor", "ray", "--address", "127.0.0.1:9")
    assert main.main(tiny.command("run", cards, tmp_path, "linear", *more)) == 2
    assert "no Ray cluster at 127.0.0.1:9" in capsys.readouterr().err


def test_what_is_not_installed_is_named_with_its_extra(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(factory, "find_spec", lambda name: None)
    assert main.main(tiny.command("run", cards, tmp_path, "linear", "--executor", "ray")) == 2
    assert "pip install -e '.[ray]'" in capsys.readouterr().err


def test_a_node_whose_code_is_another_refuses_the_job(job: jobs.Job) -> None:
    assert jobs.resolve_cell(job).settings.digest() == job.cell
    with pytest.raises(UserError, match="asked for by commit 000000000000, and the code of"):
        jobs.resolve_cell(replace(job, commit="0" * 40))


def test_a_node_s_own_data_serve_where_the_asker_s_folder_is_not(
    job: jobs.Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", "own")
    assert ray._with_local_data(job).root == job.root
    assert ray._with_local_data(replace(job, root="nowhere")).root == "own"


def test_a_packed_job_needs_nothing_but_itself(job: jobs.Job, tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(executor_runs.FAULTY.read_text(encoding="utf-8"), encoding="utf-8")
    parcel = ray.pack_job(job, [plugin], {"OMP_NUM_THREADS": "1"}, None)
    plugin.unlink()
    *epochs, last = ray.run_remote_job(replace(parcel, working_dir="/nowhere"))
    assert [message["epoch"] for message in epochs] == [1]
    ended = ray.apply_message(last, job, tmp_path / "results")
    assert ended == ray.JobFinished(job)
    assert list(executor_runs.records(tmp_path / "results")) == ["linear"]


def test_nothing_is_written_outside_the_results(job: jobs.Job, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no path of results"):
        ray.apply_message({"failure": None, "files": {"../out": b""}}, job, tmp_path / "results")


@pytest.mark.parametrize(
    ("nodes", "gpu", "expected"),
    [
        ([{"CPU": 4}, {"CPU": 2, "GPU": 1}], False, JobResources(1, 0, 6)),
        (
            [{"CPU": 16}, {"CPU": 8, "GPU": 2}, {"CPU": 32, "GPU": 4}],
            True,
            JobResources(2, 0.5, 12),
        ),
        ([{"CPU": 1, "GPU": 1}], True, JobResources(0.5, 0.5, 2)),
        ([{"CPU": 8}], True, JobResources(0, 0.5, 0)),
    ],
)
def test_a_job_has_a_core_or_its_share_of_a_gpu(
    nodes: list[dict[str, float]], gpu: bool, expected: JobResources
) -> None:
    assert job_resources(nodes, gpu, per_gpu=2) == expected


def test_memory_that_ray_ends_a_cell_for_has_its_usual_name() -> None:
    class OutOfMemoryError(Exception):
        pass

    assert failure_from_error(OutOfMemoryError("too much")).error == "OutOfMemory"


def _traced(folder: Path, *more: str) -> list[str]:
    """Options for cells that leave traces in a folder."""
    (folder / "traces").mkdir()
    (folder / "traced.py").write_text(executor_runs.TRACED, encoding="utf-8")
    return ["--plugin", str(folder / "traced.py"), "--set", f"traces={folder / 'traces'}", *more]


def _wait_for_traces(folder: Path, count: int) -> None:
    """Wait until so many cells have begun."""
    until = time.monotonic() + executor_runs.PATIENCE
    while len(os.listdir(folder / "traces")) < count:
        assert time.monotonic() < until, "no cell has begun"
        time.sleep(0.1)


def _listening(process: psutil.Process) -> set[str]:
    """The addresses at which a process, or what it started, waits for others."""
    found = set()
    for one in [process, *process.children(recursive=True)]:
        connections = one.net_connections(kind="inet")
        found |= {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
    return found
