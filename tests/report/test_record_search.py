"""The search for record files: each is found once, whatever else lies in the folder."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.report.record_search import MAX_DEPTH, find_record_files
from bench.utils.errors import UserError


def touched(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def found(*paths: Path) -> list[tuple[str, str]]:
    return [(str(one.path), one.problem) for one in find_record_files(paths)]


def test_files_come_in_a_fixed_order_and_other_files_are_left_out(tmp_path: Path) -> None:
    b, a, c = touched(tmp_path, "b.json", "x/a.json", "y/z/c.json")
    touched(tmp_path, "leaderboard.md", "x/a.json.part")
    assert found(tmp_path) == [(str(path), "") for path in (b, a, c)]


def test_of_a_results_folder_only_the_records_are_searched(tmp_path: Path) -> None:
    [record, _] = touched(tmp_path, "records/mini/a.json", "measures/b.json")
    assert found(tmp_path) == [(str(record), "")]


def test_a_file_counts_once_however_often_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [path] = touched(tmp_path / "theirs", "records/a.json")
    (tmp_path / "link").symlink_to("theirs")
    monkeypatch.chdir(tmp_path)
    named = [tmp_path / "theirs", Path("theirs"), path, path.parent, tmp_path / "link"]
    assert found(*named) == [(str(path), "")]


def test_a_loop_of_links_is_not_followed_and_named(tmp_path: Path) -> None:
    [path] = touched(tmp_path, "a.json")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    assert found(tmp_path) == [
        (str(path), ""),
        (str(tmp_path / "loop"), "is a link to a folder, which is not followed"),
    ]


def test_records_that_are_a_link_are_not_followed(tmp_path: Path) -> None:
    touched(tmp_path, "elsewhere/a.json")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/records").symlink_to(tmp_path / "elsewhere")
    [(where, why)] = found(tmp_path / "theirs")
    assert where.endswith("theirs/records")
    assert why == "is a link, which is not followed"


def test_a_tree_deeper_than_records_lie_is_named_and_not_searched(tmp_path: Path) -> None:
    touched(tmp_path, "a.json")
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(5_000):  # a path as long as that is no path to open
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    try:
        first, (deep, why) = found(tmp_path)
        assert first == (str(tmp_path / "a.json"), "")
        assert Path(deep).relative_to(tmp_path).parts == ("d",) * (MAX_DEPTH + 1)
        assert "records are not searched for there" in why
    finally:
        remove_deep(tmp_path)


def remove_deep(top: Path) -> None:
    """Remove a tree that is too deep for recursion, from the top down, by moving it up."""
    while (top / "d").exists():
        if (top / "d/d").exists():
            (top / "d/d").rename(top / "e")
        (top / "d").rmdir()
        if (top / "e").exists():
            (top / "e").rename(top / "d")


def test_a_folder_that_cannot_be_read_is_named_and_the_others_are_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As user root, every folder can be read: the refusal is made up."""
    [path, _] = touched(tmp_path, "b/a.json", "locked/c.json")
    plain = os.scandir

    def scandir(folder: Path) -> Iterator[os.DirEntry[str]]:
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied")
        return plain(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert found(tmp_path) == [
        (str(path), ""),
        (str(tmp_path / "locked"), "cannot be searched: Permission denied"),
    ]


def test_names_that_are_not_utf_8_are_found(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.json")
    (tmp_path / name).touch()
    assert found(tmp_path) == [(str(tmp_path / name), "")]


@pytest.mark.parametrize("kind", ["fifo", "device", "link"])
def test_what_is_no_regular_file_is_a_sentence_and_nothing_waits(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.json"
    [target] = touched(tmp_path, "target")
    make = {
        "fifo": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "link": lambda: path.symlink_to(target),
    }
    make[kind]()
    assert main(["verify", str(path), "--results", str(tmp_path / "no")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("bench: refused: ")
    assert "is not a record" in said


def test_a_path_that_does_not_exist_ends_the_search_before_it_begins(tmp_path: Path) -> None:
    touched(tmp_path, "a.json")
    for absent in ("absent", "x" * 5_000):
        search = find_record_files([tmp_path, tmp_path / absent])
        with pytest.raises(UserError, match="no file or folder at"):
            next(search)


def test_twenty_thousand_files_are_found(tmp_path: Path) -> None:
    [path] = touched(tmp_path, "0.json")
    for number in range(1, 20_000):
        os.link(path, tmp_path / f"{number}.json")
    assert sum(1 for _ in find_record_files([tmp_path])) == 20_000
