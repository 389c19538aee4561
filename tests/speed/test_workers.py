"""Training of a small backbone on a CPU: one worker whose threads share a cell, or one a core.

Run by ``tox -e speed``. The reference for `factory.workers_on_cpu`: steps a second of all workers
together, on a quiet machine and beside as many busy processes as there are cores.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.utils import parallel
from support import paths, tiny

SECONDS = 10.0  # of steps; a hundredth where nothing is measured, and only the code is tried
SCRIPT = paths.TESTS / "support" / "training_steps.py"
CORES = parallel.available_cores()
# workers, threads of each, and what a thread does while it waits for the others
LAYOUTS = {
    "one worker": (1, CORES, "ACTIVE"),
    "one worker, passive": (1, CORES, "PASSIVE"),
    "one a core": (CORES, 1, "PASSIVE"),
}


@contextmanager
def processes(argv: list[str], count: int, **variables: str) -> Iterator[list[subprocess.Popen]]:
    """Start `count` processes; kill them at the end."""
    env, pipe = {**os.environ, **variables}, subprocess.PIPE
    made: list[subprocess.Popen] = []
    try:
        for _ in range(count):
            made.append(subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, env=env))
        yield made
    finally:
        for one in made:
            one.kill()
            one.communicate()


def steps_a_second(layout: str, backbone: str, busy: int, seconds: float) -> float:
    """Return the training steps a second of all workers of a layout, beside `busy` loops."""
    workers, threads, policy = LAYOUTS[layout]
    argv = [sys.executable, str(SCRIPT), backbone, str(seconds)]
    env = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": policy}
    loop = [sys.executable, "-S", "-c", "while True: pass"]
    with processes(loop, busy), processes(argv, workers, **env) as trained:
        for one in trained:
            assert one.stdout.readline() == "ready\n"
        for one in trained:  # all begin together
            one.stdin.write("\n")
            one.stdin.flush()
        return sum(float(one.stdout.readline()) for one in trained)


@pytest.mark.long
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("busy", [0, CORES])
@pytest.mark.parametrize("backbone", ["vit_mini_sup", "vit_small_patch16_224"])
@pytest.mark.benchmark(group="steps of LoRA")
def test_the_steps_of_workers(
    benchmark: BenchmarkFixture,
    pytestconfig: pytest.Config,
    backbone: str,
    busy: int,
    layout: str,
    tmp_path: Path,
) -> None:
    seconds = SECONDS if pytestconfig.getoption("--benchmark-enable") else SECONDS / 100
    if seconds < SECONDS and (busy or backbone != "vit_mini_sup" or layout == "one worker"):
        pytest.skip("measured by tox -e speed")
    if backbone != "vit_mini_sup":
        about = {"timm": backbone, "input_size": 224, "architecture": {}}
        backbone = str(tiny.backbone_card(tmp_path / "card.toml", **about))
    rate = benchmark.pedantic(steps_a_second, (layout, backbone, busy, seconds), rounds=1)
    benchmark.extra_info["steps_a_second"] = round(rate, 3)
    assert rate > 0
