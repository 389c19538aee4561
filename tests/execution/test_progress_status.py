"""`status` on a run in another process."""

from pathlib import Path

import pytest

from bench.cli import main
from bench.execution import progress
from bench.execution.plan import Request, plan_cells
from bench.records.leases import LEASES_DIR, Leases
from bench.records.store import Store
from bench.training.cell import Cell
from support import tiny

SEEDS = [0, 1, 2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_all(tmp_path_factory.mktemp("cards"))


@pytest.fixture
def planned(folder: Path) -> list[Cell]:
    changes = dict(change.split("=") for change in tiny.QUICK)
    numbers = {k: int(v) for k, v in changes.items() if v.isdecimal()} | {"precision": "fp32"}
    return plan_cells(
        Request(
            suite=str(folder / "tiny.toml"),
            methods=["linear"],
            tasks=["light"],
            seeds=SEEDS,
            changes=numbers,
            root=folder / "data",
        )
    )


@pytest.fixture
def results(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One of three cells is done."""
    monkeypatch.setattr("bench.report.figures._figure_specs", list)
    assert main.main(tiny.command("run", folder, tmp_path / "results", "linear")) == 0
    return tmp_path / "results"


def test_cells_are_counted_by_what_has_become_of_them(planned: list[Cell], results: Path) -> None:
    claims = Leases(results)
    claims.acquire(
        planned[1].settings.digest(), {"cell": "linear on small", "epoch": 3, "epochs": 9}
    )
    seen = progress.snapshot(planned, Store(results))
    assert (seen.done, len(seen.running), seen.failed, len(seen.pending)) == (1, 1, 0, 1)
    lines = list(seen.lines(90, 1))
    assert lines[0] == "1 done, 1 running, 0 failed, 1 left"
    assert lines[1].startswith("  linear on small, epoch 3 of 9 (")
    assert lines[2] == "about 1.5 min, as 1 earlier ones went"


def write_odd_leases(planned: list[Cell], results: Path) -> list[Path]:
    """Files in the places of the cells' leases, which say nothing."""
    folder = results / LEASES_DIR
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{cell.settings.digest()}.json" for cell in planned]
    for path in paths:
        path.write_text('{"host": "elsewhere", "pid": -1}', encoding="utf-8")
    return paths


def test_a_cell_whose_lease_cannot_be_read_does_not_run_and_the_file_is_named(
    planned: list[Cell], results: Path
) -> None:
    odd = write_odd_leases(planned[1:2], results)
    seen = progress.snapshot(planned, Store(results))
    assert (seen.done, len(seen.running), len(seen.pending)) == (1, 0, 2)
    assert list(seen.lines(90, 1))[1].startswith(f"{odd[0]} is taken for an expired lease: pid ")


def test_a_run_takes_over_cells_whose_leases_cannot_be_read_and_says_so_once(
    planned: list[Cell], folder: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = write_odd_leases(planned[1:], results)
    assert main.main(tiny.command("run", folder, results, "linear", "--seeds", "1,2")) == 0
    said = "".join(capsys.readouterr())
    assert [said.count(f"{path} is taken for an expired lease") for path in odd] == [1, 1]
    assert not any(path.exists() for path in odd)


def test_more_workers_take_less_time(planned: list[Cell], tmp_path: Path) -> None:
    claims = Leases(tmp_path)
    for cell in planned[:2]:
        claims.acquire(cell.settings.digest(), {"cell": "linear"})
    *_, last = progress.snapshot(planned, Store(tmp_path)).lines(100, 4)
    assert last == "about 50 s, 2 at a time, as 4 earlier ones went"


def test_watching_says_what_changes_and_ends_when_all_is_over(
    planned: list[Cell], folder: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acts = iter(
        [
            lambda: None,  # nothing new: nothing is said
            lambda: main.main(tiny.command("run", folder, results, "linear", "--seeds", "1,2")),
        ]
    )
    monkeypatch.setattr(progress, "sleep", lambda _: next(acts)())
    said = [lines[0] for lines in progress.watch(planned, Store(results))]
    assert said == ["1 done, 0 running, 0 failed, 2 left", "3 done, 0 running, 0 failed, 0 left"]


def test_a_cell_is_estimated_by_those_that_are_most_like_it(
    planned: list[Cell], results: Path
) -> None:
    known = progress.estimate_durations(Store(results), "tiny")
    linear = known.cell_seconds(planned[1].settings)
    assert known.count == 1
    assert linear
    assert known.total_seconds(cell.settings for cell in planned) == pytest.approx(3 * linear)
    assert (
        progress.estimate_durations(Store(results), "vtab1k").cell_seconds(planned[1].settings)
        is None
    )
