"""Results, boards and claims as data frames: one row each, plain columns, no torch."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import bench
from bench.report.data_frames import RESULT_COLUMNS
from bench.report.generate import read_boards
from bench.utils.errors import UserError
from support import made_up_records, paths


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    made_up_records.write(folder, made_up_records.forty())
    return folder


def test_a_row_is_a_record(results: Path) -> None:
    found, records = bench.load_results(results), bench.load_records(results)
    assert list(found.columns) == list(RESULT_COLUMNS)
    assert set(found["cell"]) == {record.cell for record in records}
    assert found["cell"].is_unique
    by_cell = found.set_index("cell")
    for record in records:
        row = by_cell.loc[record.cell]
        assert row["method"] == record.settings.method
        assert row["lr"] == record.settings.rates["lr"]
        if record.outcome:
            assert row["status"] == "ok"
            assert row["accuracy"] == record.outcome.accuracy
        else:
            assert row["status"] in ("failed", "unsupported")
            assert pd.isna(row["accuracy"])


def test_an_empty_folder_has_all_columns_and_no_row(tmp_path: Path) -> None:
    assert list(bench.load_results(tmp_path).columns) == list(RESULT_COLUMNS)
    assert bench.load_results(tmp_path).empty
    assert bench.leaderboard(tmp_path).empty


def test_the_leaderboard_has_each_row_of_each_board(results: Path) -> None:
    found, (boards, _) = bench.leaderboard(results), read_boards(results)
    labels = [(b.name, row.label) for b in boards for row in (*b.rows, *b.incomplete)]
    assert list(zip(found["board"], found["method"], strict=True)) == labels
    complete = found[found["mean"].notna()]
    assert (complete["rank"] <= complete["worst_rank"]).all()
    assert (complete["tasks"] == complete["tasks_done"]).all()
    assert found.loc[found["mean"].isna(), "rank"].isna().all()
    first = complete.iloc[0]
    tasks = [f"task: {task}" for task in boards[0].tasks]
    assert first[tasks].mean() == pytest.approx(first["mean"])


def test_every_claim_of_a_paper_is_a_row(results: Path) -> None:
    found = bench.claims(results, ["spt2024"])
    assert set(found["paper"]) == {"spt2024"}
    assert len(found) > 400
    assert found.loc[found["status"] == "not run", "measured"].isna().all()
    measured = found[found["measured"].notna()]
    pd.testing.assert_series_equal(
        measured["measured"] - measured["claimed"], measured["difference"], check_names=False
    )


@pytest.mark.parametrize("name", ["load_results", "leaderboard", "claims"])
def test_a_folder_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"no results folder at {tmp_path / 'none'}"):
        getattr(bench, name)(tmp_path / "none")


def test_an_unknown_paper_names_those_that_are_near(results: Path) -> None:
    with pytest.raises(UserError, match="no paper 'spt2042'; did you mean spt2024"):
        bench.claims(results, ["spt2042"])


def test_no_torch_is_needed(results: Path) -> None:
    code = (
        f"import sys, bench; p = {str(results)!r}; bench.load_results(p), bench.leaderboard(p), "
        "bench.claims(p, ['spt2024']); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=paths.REPO_ROOT, check=True)
