"""`new-method`: files that keep the contract as they are written, and names that are refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import main
from methods.shared import registry
from support import paths


@pytest.mark.long
def test_what_is_written_keeps_the_contract_and_passes_its_own_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["new-method", "scaled_adapter", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out.splitlines()
    method, test = tmp_path / "scaled_adapter.py", tmp_path / "test_scaled_adapter.py"
    assert out[:2] == [str(method), str(test)]
    words = next(line for line in out if "check-method" in line).split()[3:]
    assert f"  pip install pytest pytest-benchmark && python -m pytest {test}" in out
    assert main.main(words) == 0
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(paths.REPO_ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert "2 passed" in done.stdout, done.stdout


def test_a_row_of_the_leaderboard_is_one_command_away(
    run, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_figures: None
) -> None:
    assert main.main(["new-method", "other_adapter", "--out", str(tmp_path)]) == 0
    assert run("linear,other_adapter", "--plugin", str(tmp_path / "other_adapter.py")) == 0
    assert "other_adapter" in capsys.readouterr().out


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test_mine.py").write_text("mine", encoding="utf-8")
    assert main.main(["new-method", "mine", "--out", str(tmp_path)]) == 2
    assert "test_mine.py exists" in capsys.readouterr().err
    assert not (tmp_path / "mine.py").exists()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Mine", "cannot be a method's name"),
        ("a__b", "cannot be a method's name"),
        ("../evil", "cannot be a method's name"),
        ("-", "cannot be a method's name"),
        ("lambda", "a name of Python or of a package"),
        ("torch", "a name of Python or of a package"),
        ("lora", "a method lora is registered already"),
    ],
)
def test_a_name_that_would_not_do_is_refused(
    name: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["new-method", name, "--out", str(tmp_path)]) == 2
    assert why in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_templates_name_no_registered_method() -> None:
    assert not {"scaled_adapter", "other_adapter", "mine"} & registry._methods.keys()
