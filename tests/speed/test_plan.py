"""Time of a dry run of 1,000, 10,000 and 100,000 tasks or cells; run by ``tox -e speed``."""

import gc
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.cli import run as run_command
from bench.config import loading
from bench.execution import session
from bench.execution.request import Request, RunOptions
from bench.records.store import Store
from support import large_suites

FEW = 20  # where nothing is measured, and only the code is tried
METHODS = ["linear", "bias", "ln", "lora", "ssf", "adapter", "fact_tt", "vpt_deep", "mp", "full"]
SHAPES = {"tasks": (1, 1), "cells, 100 a task": (10, 10)}  # methods and seeds


@pytest.mark.sample(2)
@pytest.mark.parametrize("count", [1_000, 10_000, 100_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_dry_run_of_many_cells(
    benchmark: BenchmarkFixture,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    shape: str,
    count: int,
) -> None:
    methods, seeds = SHAPES[shape]
    cells = count if pytestconfig.getoption("--benchmark-enable") else FEW * methods * seeds
    card = large_suites.write(
        tmp_path / "large.toml", cells // (methods * seeds), METHODS[:methods], seeds
    )
    store = Store(tmp_path / "results")

    def dry_run() -> int:
        loading._parse_card.cache_clear()
        planned = session.plan(Request(card), store.root).finals
        return sum(1 for _ in run_command._untuned_lines(planned, store, RunOptions()))

    benchmark.group = f"a dry run of many {shape}"
    dry_run()  # imports, and the built-in images
    gc.collect()
    assert benchmark.pedantic(dry_run, rounds=2, iterations=1) == cells + 2
