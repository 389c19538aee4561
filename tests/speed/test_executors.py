"""Overhead of a cell on each executor, and the gain from a second worker.

Run by ``tox -e speed``. The overhead is the wall-clock of a whole run less what its cells took by
their own records, a cell: start, imports, planning, travel and tables.
"""

import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from support import executor_runs, tiny

MANY, FEW = 8, 1  # cells; few where nothing is measured, and only the code is tried
TIMES = ("init_seconds", "train_seconds", "test_seconds")


@pytest.fixture
def cells(pytestconfig: pytest.Config) -> int:
    return MANY if pytestconfig.getoption("--benchmark-enable") else FEW


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("executor", ["local", "ray", "slurm-local"])
@pytest.mark.benchmark(group=f"{MANY} cells of little training")
def test_the_overhead_of_a_cell(
    benchmark: BenchmarkFixture, cells: int, executor: str, workers: int, tmp_path: Path
) -> None:
    if cells == FEW and (executor, workers) != ("local", 1):
        pytest.skip("tried by the tests of the executors")
    pytest.importorskip({"ray": "ray", "slurm-local": "submitit"}.get(executor, "sys"))
    folder, results = tiny.write_all(tmp_path / "cards"), tmp_path / "results"
    seeds = ",".join(map(str, range(cells)))
    more = ("--seeds", seeds, "--executor", executor, "--workers", str(workers))
    begun = time.perf_counter()
    done = benchmark.pedantic(executor_runs.run, (folder, results, "linear", *more), rounds=1)
    wall = time.perf_counter() - begun
    assert done.returncode == 0, done.stderr
    outcomes = [record["outcome"] for record in executor_runs.records(results)["linear"]]
    training = sum(outcome[name] for outcome in outcomes for name in TIMES)
    benchmark.extra_info["overhead_seconds_a_cell"] = round((wall - training) / cells, 3)
    benchmark.extra_info["cells_a_minute"] = round(60 * cells / wall, 1)
