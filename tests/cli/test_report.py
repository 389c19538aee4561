"""`report`, and `verify` after it."""

from pathlib import Path

import pytest

from bench.cli import main
from support import tiny


def test_report_names_what_it_wrote_and_verify_agrees(cards, tmp_path, capsys):
    main.main(tiny.command("run", cards, tmp_path, "linear,bias"))
    (tmp_path / "leaderboard.md").unlink()
    assert main.main(["verify", "--results", str(tmp_path)]) == 1
    assert f"{tmp_path / 'leaderboard.md'} is not what the records give" in capsys.readouterr().err
    assert main.main(["report", "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert str(tmp_path / "leaderboard.md") in out
    assert all(Path(line).is_file() for line in out)
    assert main.main(["verify", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("2 records, 0 unsound; 0 tables out of date\n")


@pytest.mark.parametrize("act", ["report", "verify"])
def test_a_results_folder_that_is_not_there_is_named_not_made(tmp_path, capsys, act):
    assert main.main([act, "--results", str(tmp_path / "resluts")]) == 2
    assert f"no results folder at {tmp_path / 'resluts'}" in capsys.readouterr().err
    assert not (tmp_path / "resluts").exists()
