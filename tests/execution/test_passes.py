"""Trials in one pass: the same choices and tables, and no trial lost or run twice."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.cli import main
from bench.execution import passes, plan, tuning
from bench.execution.request import Request, RunOptions
from bench.training.cell import Cell
from bench.training.stacking import ModelStack
from support import paths, run_records, tiny

pytestmark = pytest.mark.usefixtures("no_figures")

GRID = ("--set", "grid={ lr = [1e-3, 5e-3, 2e-2, 1e-1] }")
TOGETHER = ("--trials-per-pass", "3")  # 3 of the 4 points, and one left over
ONE_PASS = "in one pass with 2 other trials"


def words(act: str, cards: Path, results: Path, methods: str, *more: str) -> list[str]:
    tune = ("--tune",) if act == "run" else ()
    return tiny.command(act, cards, results, methods, *tune, *GRID, *more)


def trials(results: Path) -> dict[float, dict[str, Any]]:
    """The records of the trials by learning rate."""
    found = run_records.records(results / "trials").values()
    return {record["settings"]["rates"]["lr"]: record for record in found}


def ways(results: Path) -> list[str]:
    """How the trials were trained, by learning rate."""
    return [r["environment"].get("trained", "") for _, r in sorted(trials(results).items())]


def choices(results: Path) -> list[dict[str, Any]]:
    records = run_records.records(results).values()
    return [{**r["settings"], "accuracy": r["outcome"]["accuracy"]} for r in records]


def table(results: Path) -> list[list[str]]:
    """The rows of the leaderboard without the seconds of initialisation."""
    lines = (results / "leaderboard.md").read_text(encoding="utf-8").splitlines()
    return [line.split("|")[:-2] for line in lines if line.startswith("|")]


def test_choices_and_tables_are_those_of_trials_one_by_one(cards: Path, tmp_path: Path) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    more = ("--set", "epochs=2", "--set", "batch=12")
    for results, how in ((one, ()), (many, TOGETHER)):
        assert main.main(words("run", cards, results, "linear,bi_lora", *more, *how)) == 0
    assert choices(one) == choices(many)
    assert table(one) == table(many)
    together, alone = run_records.records(many / "trials"), run_records.records(one / "trials")
    assert together.keys() == alone.keys()
    for name, record in together.items():
        expected = alone[name]["outcome"]
        assert record["outcome"]["losses"] == pytest.approx(expected["losses"], rel=1e-4)
        for number in ("predictions", "method_params", "head_params", "stored_bytes"):
            assert record["outcome"][number] == expected[number]
        read = [one[name]["environment"]["read_in_training"] for one in (together, alone)]
        assert read[0] == read[1]
        assert read[0].startswith("features") == name.startswith("linear")


def test_a_record_says_which_way_its_trial_was_trained(cards: Path, tmp_path: Path) -> None:
    assert main.main(words("tune", cards, tmp_path, "linear", *TOGETHER)) == 0
    assert ways(tmp_path) == [*[ONE_PASS] * 3, ""]


def test_a_method_that_cannot_is_trained_one_by_one(cards: Path, tmp_path: Path) -> None:
    assert main.main(words("tune", cards, tmp_path, "snell", *TOGETHER)) == 0
    assert all(way.startswith("alone: torch.func refuses") for way in ways(tmp_path)[:3])
    assert all(record["outcome"] for record in trials(tmp_path).values())


def test_a_trial_that_diverges_is_recorded_and_not_run_again(cards: Path, tmp_path: Path) -> None:
    grid = ("--set", "grid={ lr = [1e-3, 1e18, 5e-3] }", "--set", "epochs=3")
    argv = words("tune", cards, tmp_path, "lora", *TOGETHER, *grid, "--set", "batch=12")
    assert main.main(argv) == 0
    found = trials(tmp_path)
    assert found[1e18]["failure"]["error"] == "Diverged"
    assert found[1e18]["environment"]["trained"] == ONE_PASS
    assert all(found[lr]["outcome"] for lr in (1e-3, 5e-3))
    before = run_records.write_times(tmp_path / "trials")
    assert main.main(argv) == 0
    assert run_records.write_times(tmp_path / "trials") == before


def test_without_the_memory_for_a_pass_trials_are_trained_one_by_one(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhaust(*_: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(ModelStack, "gradients", exhaust)
    assert main.main(words("tune", cards, tmp_path, "linear", *TOGETHER)) == 0
    assert ways(tmp_path)[:3] == ["alone: memory ran out in one pass with others"] * 3
    assert all(record["outcome"] for record in trials(tmp_path).values())


FRAGILE = """
import os, signal
from dataclasses import dataclass
from pathlib import Path
from methods import register
from methods.linear import Linear

@dataclass(frozen=True)
class Fragile(Linear):
    def prepare(self, model, batches):
        self.attach(model)
        marker = Path(os.environ["MARKER"])
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

register("fragile", Fragile())
"""


@pytest.mark.long
def test_a_pass_whose_process_is_killed_is_tried_one_by_one(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = tmp_path / "fragile.py"
    plugin.write_text(FRAGILE, encoding="utf-8")
    monkeypatch.setenv("MARKER", str(tmp_path / "marker"))
    more = ("--plugin", str(plugin), "--workers", "1")
    assert main.main(words("tune", cards, tmp_path / "r", "fragile", *TOGETHER, *more)) == 0
    assert "they are trained one by one" in capsys.readouterr().err
    found = trials(tmp_path / "r")
    assert len(found) == 4
    assert all(r["outcome"] and r["environment"]["attempt"] == 1 for r in found.values())
    assert ways(tmp_path / "r") == [""] * 4


@pytest.mark.long
def test_a_pass_may_take_the_time_of_its_trials(cards: Path, tmp_path: Path) -> None:
    plugin = ("--plugin", str(paths.FAULTY_METHODS), "--workers", "1", "--timeout", "3")
    slow = ("--set", "seconds=4")  # more than one trial may take, and less than three
    assert main.main(words("tune", cards, tmp_path, "slow", *TOGETHER, *plugin, *slow)) == 1
    failed = {lr for lr, record in trials(tmp_path).items() if record["failure"]}
    assert failed == {1e-1}  # which was left over
    assert trials(tmp_path)[1e-1]["failure"]["error"] == "Timeout"


@pytest.mark.long
def test_a_killed_run_loses_no_trial_and_runs_none_twice(cards: Path, tmp_path: Path) -> None:
    results = tmp_path / "killed"
    more = ("--workers", "1", "--plugin", str(paths.FAULTY_METHODS), "--set", "seconds=0.4")
    argv = words("tune", cards, results, "slow,linear", *TOGETHER, *more)
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", *argv],
        cwd=paths.REPO_ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 240
    while not run_records.write_times(results / "trials") and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = run_records.write_times(results / "trials")
    assert before
    assert main.main(argv) == 0
    after = run_records.write_times(results / "trials")
    assert len(after) == 8
    assert {name: after[name] for name in before} == before


def trial_cells(cards: Path, methods: list[str], **changes: Any) -> list[Cell]:
    asked = {"grid": {"lr": [1e-3, 1e-2]}, "epochs": 1, "warmup_epochs": 0, **changes}
    request = Request(
        str(cards / "tiny.toml"), methods, tasks=["light"], root=cards / "data", changes=asked
    )
    searches = tuning.plan_searches(request)
    return [one.trial_cell(point, 1) for one in searches for point in one.points]


def sizes(cells: list[Cell], options: RunOptions, alone: tuple[str, ...] = ()) -> list[int]:
    """How many cells each pass has, until none waits."""
    waiting, found = deque(cells), list[int]()
    while waiting:
        found.append(len(passes.take_pass(waiting, options, alone)))
    return found


WITH_FIELDS = {"grid_of": {"vpt_deep": {"prompts": [1, 2]}}, "tuning.trials": 4}
FOUR = RunOptions(trials_per_pass=4)


def test_a_pass_has_trials_of_one_search(cards: Path) -> None:
    assert sizes(trial_cells(cards, ["linear", "lora"]), FOUR) == [2, 2]


def test_trials_of_fields_of_their_own_are_in_no_pass_together(cards: Path) -> None:
    cells = trial_cells(cards, ["vpt_deep"], **WITH_FIELDS)
    cells.sort(key=lambda cell: cell.settings.fields["prompts"])
    assert sizes(cells, FOUR) == [2, 2]


def test_a_pass_has_no_more_trials_than_asked(cards: Path) -> None:
    cells = trial_cells(cards, ["linear"], grid={"lr": [1e-4, 1e-3, 1e-2]})
    assert sizes(cells, RunOptions(trials_per_pass=2)) == [2, 1]
    assert sizes(cells, RunOptions()) == [1, 1, 1]


def test_what_cannot_share_a_pass_runs_alone(cards: Path) -> None:
    cells = trial_cells(cards, ["linear"])
    assert sizes(cells, replace(FOUR, processes=2)) == [1, 1]
    assert sizes([replace(cell, measurements=("cka",)) for cell in cells], FOUR) == [1, 1]
    assert sizes(cells, FOUR, (cells[1].digest,)) == [1, 1]
    assert sizes(trial_cells(cards, ["linear"], compile=True), FOUR) == [1, 1]


def test_final_runs_share_no_pass(cards: Path) -> None:
    request = Request(
        str(cards / "tiny.toml"), ["linear"], tasks=["light"], root=cards / "data", seeds=[0, 1]
    )
    assert sizes(plan.plan_cells(request), FOUR) == [1, 1]


@pytest.mark.parametrize("executor", ["ray", "slurm-local"])
def test_passes_are_for_workers_of_this_machine(
    executor: str, cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = (*TOGETHER, "--executor", executor, "--workers", "1")
    assert main.main(words("tune", cards, tmp_path, "linear", *more)) == 2
    assert capsys.readouterr().err.endswith(f"--executor local, not {executor}\n")
    assert not trials(tmp_path)
