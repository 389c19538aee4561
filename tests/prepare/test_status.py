"""``bench data status``: which tasks are prepared, and what is to be done for the others."""

from pathlib import Path

import pytest

from bench.cli.main import main
from bench.config.suite import load_source, load_suite
from support import small_suite, suite_copies, tiny

Capture = pytest.CaptureFixture[str]


def status(folder: Path, *suites: str) -> int:
    chosen = ("--suite", ",".join(suites)) if suites else ()
    return main(["data", "status", *chosen, "--data-root", str(folder / "data")])


def lines(capsys: Capture) -> list[str]:
    """The lines printed, with single spaces."""
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def line_of(capsys: Capture, task: str) -> str:
    (found,) = [line for line in lines(capsys) if line.split()[1:2] == [task]]
    return found


def test_all_tasks_of_both_suites_are_told_of_where_nothing_is(
    tmp_path: Path, capsys: Capture
) -> None:
    assert status(tmp_path) == 0
    said = lines(capsys)
    tasks = [(name, task.name) for name in ("vtab1k", "fgvc") for task in load_suite(name).task]
    told = [tuple(line.split()[:3]) for line in said[2 : 2 + len(tasks)]]
    assert told == [(*names, "absent") for names in tasks]
    assert not (tmp_path / "data").exists()


def test_a_task_to_be_downloaded_has_its_size_its_need_and_its_licence(
    tmp_path: Path, capsys: Capture
) -> None:
    assert status(tmp_path, "vtab1k") == 0
    cifar = load_source("cifar100")
    wanted = "vtab1k cifar absent cifar100 0 of 1 download 168.5 MB, prepare 30.0 MB "
    assert line_of(capsys, "cifar") == wanted + cifar.licence


def test_terms_and_files_by_hand_are_steps(tmp_path: Path, capsys: Capture) -> None:
    assert status(tmp_path, "vtab1k") == 0
    assert "accept its terms, download 12.6 GB, prepare" in line_of(capsys, "kitti")
    assert status(tmp_path, "fgvc") == 0
    said = lines(capsys)
    (birds,) = [line for line in said if line.startswith("fgvc nabirds")]
    assert "put nabirds.tar.gz there, accept its terms, download " in birds
    where = tmp_path / "data" / "archives" / "nabirds" / "nabirds.tar.gz"
    by_hand = said[said.index("To be fetched by hand:") :]
    assert any(line.startswith(f"{where}: Accept the terms") for line in by_hand)


def test_a_size_that_is_not_published_is_not_said_to_be_none(
    tmp_path: Path, capsys: Capture
) -> None:
    suite_copies.suite(tmp_path)
    card = tmp_path / "light.toml"
    hand, urls = 'how = "put it there"', 'urls = ["http://127.0.0.1/a"]'
    card.write_text(card.read_text(encoding="utf-8").replace(hand, urls), encoding="utf-8")
    assert status(tmp_path, str(tmp_path / "suite.toml")) == 0
    assert "download (its size is not published), prepare" in line_of(capsys, "light")
    more = f'[[file]]\nname = "more.tar"\nbytes = 5000000\n{urls}\n'
    card.write_text(card.read_text(encoding="utf-8") + more, encoding="utf-8")
    assert status(tmp_path, str(tmp_path / "suite.toml")) == 0
    assert "0 of 2 download 5.0 MB or more, prepare" in line_of(capsys, "light")


def test_archives_that_are_there_are_counted_and_no_longer_asked_for(
    tmp_path: Path, capsys: Capture
) -> None:
    suite = str(small_suite.write(tmp_path, "cifar100", make=False))
    assert status(tmp_path, suite) == 0
    said = lines(capsys)
    archive = tmp_path / "data" / "archives" / "cifar100" / "cifar-100-binary.tar.gz"
    assert f"{archive}: put it there" in said
    small_suite.write(tmp_path, "cifar100")
    assert status(tmp_path, suite) == 0
    said = lines(capsys)
    assert "small cifar absent cifar100 1 of 1 prepare 1 bytes" in said[2]
    assert "To be fetched by hand:" not in said


def test_a_prepared_task_needs_nothing_more(tmp_path: Path, capsys: Capture) -> None:
    suite = str(small_suite.write(tmp_path, "cifar100"))
    assert main(["data", "prepare", "--suite", suite, "--data-root", str(tmp_path / "data")]) == 0
    (tmp_path / "data" / "archives" / "cifar100" / "cifar-100-binary.tar.gz").unlink()
    capsys.readouterr()
    assert status(tmp_path, suite) == 0
    said = lines(capsys)
    assert "small cifar prepared: lossless cifar100 0 of 1 1 bytes" in said[2]
    assert "To be fetched by hand:" not in said


def test_copies_and_folders_as_found_are_told_apart(tmp_path: Path, capsys: Capture) -> None:
    suite = str(suite_copies.suite(tmp_path))
    suite_copies.write_noah(tmp_path / "data" / "copies", ["light"])
    assert status(tmp_path, suite) == 0
    assert "copied light folder as found" in line_of(capsys, "light")
    for saved, state in (({}, "jpeg75"), ({"format": "PNG"}, "lossless, jpeg75")):
        copy = suite_copies.write_noah(tmp_path / state.split(",")[0], ["light"], **saved)
        assert suite_copies.bring(tmp_path, copy) == 0
        capsys.readouterr()
        assert status(tmp_path, suite) == 0
        said = line_of(capsys, "light")
        assert f"copied light prepared: {state} light 0 of 1" in said
        assert ("put archive.tar there" in said) == (state == "jpeg75")


def test_a_task_without_a_source_has_a_state_alone(tmp_path: Path, capsys: Capture) -> None:
    tiny.write_all(tmp_path)
    assert status(tmp_path, str(tmp_path / "tiny.toml")) == 0
    assert line_of(capsys, "dark") == "tiny dark folder as found"


def test_a_suite_that_comes_with_the_program_needs_nothing(tmp_path: Path, capsys: Capture) -> None:
    assert status(tmp_path, "mini") == 0
    assert lines(capsys) == ["mini: its tasks come with the program; there is nothing to prepare"]


def test_an_unknown_suite_is_refused_with_near_names_before_anything_is_said(
    tmp_path: Path, capsys: Capture
) -> None:
    assert status(tmp_path, "vtab1k", "fvgc") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "bench: no suite 'fvgc'; did you mean fgvc?\n"
    assert status(tmp_path, str(tmp_path / "none.toml")) == 2
    assert capsys.readouterr().err == f"bench: no suite card at {tmp_path / 'none.toml'}\n"
