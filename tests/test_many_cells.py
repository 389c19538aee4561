"""Many cells in one process: what one leaves behind, no other feels."""

import json
import subprocess
import sys
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
import tiny

ROOT = Path(__file__).parent.parent
ROOM = 60  # MiB in 40 cells; 10 left behind by each would be 400
RISES = 4  # of the most held so far, in 40 cells; what one method of five leaves would be 8
MANY = """
import sys
from pathlib import Path

import torch

from bench import plan, runner
from bench.plan import Request
from bench.records import Store

torch.set_num_threads(1)
folder, methods = Path(sys.argv[1]), sys.argv[2].split(",")
changes = dict(word.split("=") for word in sys.argv[3:])


def cells(names, seeds):
    request = Request(
        suite=str(folder / "tiny.toml"), methods=names, backbones=[], tasks=["light"],
        seeds=seeds, recipe=None, changes=changes, root=folder / "data", variant=None, device="cpu",
    )
    return plan.make(request, Store(folder / "results")).cells


def resident():
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024


first = cells(methods[:1], [0])
some = [cell for seed in range(1, 11) for cell in cells(methods, [seed])]  # each method in turn
for number, cell in enumerate((first + some)[:50] + first, start=1):
    record = runner.run(cell, Store(folder / "results"), torch.device("cpu"), lambda *_: None)
    assert record.outcome, record.failure
    o = record.outcome
    print(number, resident(), o.losses, o.test_accuracies, o.predictions, sep=";", flush=True)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Of each of 51 cells the resident memory after it, and what it measured."""
    if not Path("/proc/self/status").exists():
        pytest.skip("resident memory is read where Linux tells it")
    folder = tiny.write_all(tmp_path_factory.mktemp("cards"))
    words = [sys.executable, "-c", MANY, str(folder), "linear,vpt_deep,mlp3,partial1,sidetune"]
    changes = ["epochs=2", "warmup_epochs=0", "test_evaluations=2", "precision=fp32"]
    done = subprocess.run([*words, *changes], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line.split(";") for line in done.stdout.splitlines()]


def test_memory_after_fifty_cells_is_what_it_was_after_ten(told: list[list[str]]) -> None:
    resident = [int(line[1]) for line in told]
    assert len(resident) == 51
    most = list(accumulate(resident[10:], max, initial=max(resident[:10])))
    rises = sum(late > early for early, late in pairwise(most))
    assert rises <= RISES, json.dumps(resident)  # the heap may grow in a step, not with each cell
    assert most[-1] - most[0] <= ROOM, json.dumps(resident)


def test_a_cell_gives_the_same_first_and_last(told: list[list[str]]) -> None:
    assert told[0][2:] == told[50][2:]
