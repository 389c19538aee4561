"""Time of `report` on a store of 20,000 records; run by ``tox -e speed``."""

import json
import subprocess
import sys
from dataclasses import asdict
from itertools import product
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.records.store import Store
from bench.utils.files import REPO_ROOT
from support.synthetic_records import MAE, MOCO, SUITES, SUP, record

RECORDS, FEW = 20_000, 200  # few where nothing is measured, and only the code is tried
REPORT = (
    "import resource, sys; from pathlib import Path; from bench.report import generate; "
    "generate.regenerate(Path(sys.argv[1])); "
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """A grid of 20,000 cells: 2 suites, 3 backbones, 24 tasks, 28 methods, 10 seeds."""
    count = RECORDS if pytestconfig.getoption("--benchmark-enable") else FEW
    store = Store(tmp_path_factory.mktemp("many"))
    methods = [f"method_{i}" for i in range(28)]
    tasks = [(suite, task) for suite in SUITES.values() for task in suite.task]
    cells = product(methods, (MAE, MOCO, SUP), tasks, range(10))
    for number, (method, backbone, (suite, task), seed) in enumerate(cells):
        if number == count:
            break
        made = record(method, backbone, suite, task, seed)
        path = store.path(made.settings)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(made), indent=1, sort_keys=True), encoding="utf-8")
    return store.root


@pytest.mark.long
@pytest.mark.benchmark(group="report on 20,000 records, in a process of its own")
def test_report_on_many_records(benchmark: BenchmarkFixture, results: Path) -> None:
    def report() -> int:
        words = [sys.executable, "-c", REPORT, str(results)]
        done = subprocess.run(words, cwd=REPO_ROOT, capture_output=True, text=True, check=True)
        return int(done.stdout)

    peak = benchmark.pedantic(report, rounds=2, iterations=1)
    benchmark.extra_info["peak_memory_mb"] = peak
