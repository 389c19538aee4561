"""The functions that `import bench` offers."""

import subprocess
import sys
from pathlib import Path

import pytest

import bench
from bench.utils.errors import UserError
from support import paths

pytestmark = pytest.mark.usefixtures("no_figures")
HERE = bench.RunOptions(workers=0)


@pytest.fixture
def request_(cards: Path) -> bench.Request:
    """One cell that takes a moment."""
    return bench.Request(
        suite=str(cards / "tiny.toml"),
        methods=["linear"],
        tasks=["light"],
        changes={"epochs": 1, "warmup_epochs": 0, "precision": "fp32"},
        root=cards / "data",
    )


def test_a_cell_is_planned_run_and_its_record_read(request_, tmp_path):
    planned = bench.plan(request_, results=tmp_path)
    (cell,) = planned.finals.pending()
    assert planned.tuning is None
    assert not bench.load_records(tmp_path)
    result = bench.run(request_, results=str(tmp_path), options=HERE)
    assert (result.num_cells, result.num_failed) == (1, 0)
    (record,) = bench.load_records(str(tmp_path))
    assert record.cell == cell.settings.digest()
    assert record.outcome.accuracy >= 0
    assert not bench.plan(request_, results=tmp_path).finals.pending()


def test_a_session_prints_nothing_and_its_report_is_written_when_asked_for(
    request_, tmp_path, capfd
):
    bench.run(request_, results=tmp_path, options=HERE)
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "leaderboard.md").exists()
    assert tmp_path / "leaderboard.md" in bench.write_report(tmp_path).written


def test_trials_can_be_run_alone_and_the_final_cells_after_them(request_, tmp_path):
    tuned = bench.Request(**vars(request_) | {
        "changes": request_.changes | {"grid": {"lr": [1e-3, 1e-2]}}, "tune": True,
    })  # fmt: skip
    before = bench.plan(tuned, results=tmp_path)
    assert len(before.tuning.trials.pending()) == before.tuning.num_trials == 2
    assert (before.tuning.num_unfinished, before.finals.cells) == (1, [])
    ended = bench.tune(tuned, results=tmp_path, options=HERE)
    assert (ended.num_failed_trials, ended.has_run_finals) == (0, False)
    assert not bench.load_records(tmp_path)
    assert len(bench.plan(tuned, results=tmp_path).finals.pending()) == 1
    ended = bench.run(tuned, results=tmp_path, options=HERE)
    assert (ended.num_cells, ended.num_failed, ended.num_failed_trials) == (1, 0, 0)
    (record,) = bench.load_records(tmp_path)
    assert len(record.tuned.trials) == 2


def test_what_the_user_can_mend_is_raised_before_anything_runs(tmp_path):
    with pytest.raises(UserError, match="no method 'vtp_deep'; did you mean vpt_deep"):
        bench.run(bench.Request(suite="mini", methods=["vtp_deep"]), results=tmp_path)
    with pytest.raises(UserError, match="trials have the seed of their recipe's tuning"):
        bench.tune(bench.Request(suite="mini", seeds=[1]), results=tmp_path)


def test_importing_the_package_imports_neither_torch_nor_pandas():
    probe = (
        "import sys, bench; bench.RunOptions; bench.__all__; dir(bench);"
        "sys.exit(', '.join({'torch', 'pandas', 'timm'} & sys.modules.keys()) or None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe],
        env={"PYTHONPATH": str(paths.REPO_ROOT), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_every_name_of_the_api_is_there_and_no_other():
    assert all(getattr(bench, name) for name in bench.__all__)
    assert set(bench.__all__) == set(bench._SOURCES) <= set(dir(bench))
    with pytest.raises(AttributeError, match="no attribute 'leader_board'"):
        bench.__getattr__("leader_board")
