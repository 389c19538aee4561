"""The Ray executor, on a cluster of two local nodes and on one that it starts itself."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import psutil
import pytest

from bench.cli import main
from bench.execution.executors import factory, ray, ray_process
from bench.execution.executors.ray_driver import failure_from_error
from bench.execution.request import RunOptions
from bench.records.leases import Leases
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


@pytest.mark.long
def test_the_leaderboard_is_that_of_one_process(grid: Path, cards: Path, tmp_path: Path) -> None:
    assert main.main(tiny.command("run", cards, tmp_path / "here", executor_runs.HEALTHY)) == 0
    here = executor_runs.tables(tmp_path / "here", tmp_path / "a")
    assert executor_runs.tables(grid, tmp_path / "b") == here


@pytest.mark.long
def test_failures_are_recorded_with_their_cause(grid: Path) -> None:
    assert executor_runs.causes(grid) == executor_runs.CAUSES


@pytest.mark.long
def test_predictions_come_back_with_the_records(grid: Path) -> None:
    assert len(list((grid / "predictions").glob("*.npz"))) == len(executor_runs.HEALTHY.split(","))


@pytest.mark.long
def test_what_no_node_offers_is_refused_and_not_waited_for(
    cards: Path, cluster: tuple[str, object], tmp_path: Path
) -> None:
    more = ("--device", "cuda", "--executor", "ray", "--address", cluster[0])
    done = executor_runs.run(cards, tmp_path / "results", "linear", *more)
    assert done.returncode == 2
    assert "no node of the Ray cluster offers one: they have CPU 1, GPU 0" in done.stderr


@pytest.mark.long
def test_a_cell_of_a_node_that_is_lost_runs_once_more_elsewhere(
    cards: Path, cluster: tuple[str, subprocess.Popen[str]], tmp_path: Path
) -> None:
    address, process = cluster
    more = _traced(tmp_path, "--seeds", "0,1", "--executor", "ray", "--address", address)
    given = executor_runs.words(cards, tmp_path / "results", "traced", *more)
    with subprocess.Popen(given, env=executor_runs.environment(), stdout=-1, stderr=-1) as running:
        _wait_for_traces(tmp_path, 2)
        print("node", file=process.stdin, flush=True)
        assert process.stdout
        assert process.stdout.readline() == "killed\n"
        _, said = running.communicate(timeout=executor_runs.PATIENCE)
    assert running.returncode == 0, said
    assert len(executor_runs.records(tmp_path / "results")["traced"]) == 2
    assert len(list((tmp_path / "traces").iterdir())) == 3


@pytest.mark.long
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


@pytest.mark.long
@pytest.mark.parametrize(
    ("lost", "why"),
    [
        ("head", r"its head has not answered for 4 s|the process connected to it ended with sta"),
        ("node", r"for 3 s it has had no node to run a cell on"),
    ],
)
def test_a_cluster_that_is_lost_ends_the_run_with_tables_and_without_leases(
    lost: str,
    why: str,
    cards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    monkeypatch.setattr(ray, "SILENT_SECONDS", 4.0)
    monkeypatch.setattr(ray, "EMPTY_SECONDS", 3.0)
    more = _traced(tmp_path, "--set", "seconds=3600", "--executor", "ray", "--workers", "1")
    with executor_runs.two_nodes("alone") as (address, process):
        argv = executor_runs.words(
            cards, tmp_path / "results", "linear,traced", *more, "--address", address
        )
        killer = Thread(target=_kill_later, args=(tmp_path, process, lost), daemon=True)
        killer.start()
        assert main.main(argv[3:]) == 1
    said = capsys.readouterr().err
    assert re.search(f"bench: the Ray cluster at {address} was lost: ({why})", said)
    assert "Traceback" not in said
    assert list(executor_runs.records(tmp_path / "results")) == ["linear"]
    assert "linear" in (tmp_path / "results" / "leaderboard.md").read_text(encoding="utf-8")
    assert not list(Leases(tmp_path / "results").folder.glob("*.json"))


def _kill_later(folder: Path, cluster: subprocess.Popen[str], what: str) -> None:
    """Kill a part of the cluster when a cell has begun."""
    _wait_for_traces(folder, 1)
    print(what, file=cluster.stdin, flush=True)


@pytest.mark.long
def test_the_process_that_talks_to_a_cluster_is_started_again_where_it_is_killed(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    started, connect = [], ray_process.DriverProcess.connect

    def kill_first(driver: ray_process.DriverProcess, seconds: float) -> None:
        started.append(driver)
        if len(started) < 3:
            driver.process.kill()
        connect(driver, seconds)

    monkeypatch.setattr(ray_process.DriverProcess, "connect", kill_first)
    executor = ray.RayExecutor(tmp_path, "cpu", RunOptions(executor="ray"))
    try:
        assert executor.capacity() >= 1
        executor.driver.process.kill()
        with pytest.raises(OSError, match=r"this machine was lost: the process .* killed by SIGK"):
            executor.poll(executor_runs.PATIENCE)
    finally:
        executor.close()
    assert len(started) == 3


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


@pytest.mark.long
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
