"""The command that writes the page of tricks."""

from pathlib import Path

import pytest

from bench.cli.main import main
from support.made_up_records import forty, write


def test_the_page_is_written_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, forty())
    assert main(["tricks", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "tricks.md")
    assert (tmp_path / "tricks.md").read_text(encoding="utf-8").startswith("<!-- made by `python")


def test_without_a_results_folder_it_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tricks", "--results", str(tmp_path / "none")]) == 2
    assert "no results folder at" in capsys.readouterr().err
