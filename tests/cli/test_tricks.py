"""The command that writes the page of tricks."""

from pathlib import Path

import pytest

from bench.cli.main import main
from support.made_up_records import forty, row, write


def test_the_page_is_written_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, forty())
    assert main(["tricks", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "tricks.md")
    assert (tmp_path / "tricks.md").read_text(encoding="utf-8").startswith("<!-- made by `python")


def test_folders_of_records_inside_the_folder_are_shown_too_but_not_its_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, forty())
    assert main(["tricks", "--results", str(tmp_path)]) == 0
    alone = (tmp_path / "tricks.md").read_text(encoding="utf-8")
    elsewhere = {"backbone": "another"}
    inside = [*row("lora", [60.0] * 5, **elsewhere), *row("bias", [50.0] * 5, **elsewhere)]
    write(tmp_path / "trials", inside)
    assert main(["tricks", "--results", str(tmp_path)]) == 0
    assert (tmp_path / "tricks.md").read_text(encoding="utf-8") == alone
    write(tmp_path / "grid", inside)
    assert main(["tricks", "--results", str(tmp_path)]) == 0
    assert "another" in (tmp_path / "tricks.md").read_text(encoding="utf-8")


def test_without_a_results_folder_it_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tricks", "--results", str(tmp_path / "none")]) == 2
    assert "no results folder at" in capsys.readouterr().err
