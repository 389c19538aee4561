"""Faulty copies are refused in one sentence, task by task, and leave nothing behind."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli.main import main
from support import suite_copies
from support.suite_copies import bring, brought_in

Change = Callable[[Path], object]


@pytest.fixture
def noah(tmp_path: Path) -> Path:
    """A copy of quality 75 in NOAH's layout, in the folder of its suite's card."""
    suite_copies.suite(tmp_path)
    return suite_copies.write_noah(tmp_path / "vtab-1k")


def edited(name: str, old: str, new: str) -> Change:
    """Replace `old` in a list, once."""

    def edit(copy: Path) -> None:
        path = copy / "cifar" / name
        assert old in path.read_text(encoding="utf-8")
        path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")

    return edit


FIRST = "images/test/000000.jpg 0\n"
FAULTS: dict[str, tuple[Change, str]] = {
    "a missing image": (
        lambda copy: (copy / "cifar/images/test/000003.jpg").unlink(),
        "images/test/000003.jpg",
    ),
    "a missing list": (lambda copy: (copy / "cifar/val200.txt").unlink(), "cifar/val200.txt"),
    "a label beyond the classes": (
        edited("test.txt", FIRST, FIRST.replace(" 0", " 2")),
        "test.txt:1: label 2; expected 0 to 1",
    ),
    "a label that is a word": (
        edited("test.txt", FIRST, FIRST.replace(" 0", " cat")),
        "test.txt:1: label 'cat'; expected a whole number",
    ),
    "a line twice": (
        edited("test.txt", FIRST, FIRST * 2),
        "test.txt:2: images/test/000000.jpg is listed twice in the test list",
    ),
    "a line too few": (
        edited("test.txt", FIRST, ""),
        "E-COUNT light/test: 7 images; there must be 8",
    ),
    "an image of train in test": (
        edited("test.txt", FIRST, "images/train800/000000.jpg 0\n"),
        "E-OVERLAP light: 1 train keys are in test, too",
    ),
    "train's images copied into test": (
        lambda copy: shutil.copytree(
            copy / "cifar/images/train800", copy / "cifar/images/test", dirs_exist_ok=True
        ),
        "E-DUP light: 8 images of test are those of train or val, byte for byte",
    ),
    "a page instead of an image": (
        lambda copy: (copy / "cifar/images/test/000003.jpg").write_text(
            "<html>quota</html>", encoding="utf-8"
        ),
        "E-DECODE cifar/images/test/000003.jpg",
    ),
    "a page instead of a training image": (
        lambda copy: (copy / "cifar/images/train800/000003.jpg").write_text(
            "<html>quota</html>", encoding="utf-8"
        ),
        "E-DECODE cifar/images/train800/000003.jpg",
    ),
    "a JPEG that is only its first bytes": (
        lambda copy: (copy / "cifar/images/train800/000003.jpg").write_bytes(b"\xff\xd8\xff\xe0"),
        "E-DECODE cifar/images/train800/000003.jpg",
    ),
    "half an image": (
        lambda copy: (copy / "cifar/images/test/000003.jpg").write_bytes(
            suite_copies.saved()[:-300]
        ),
        "E-DECODE cifar/images/test/000003.jpg",
    ),
    "a path that leads out": (
        edited("test.txt", FIRST, "../../../secret.jpg 0\n"),
        "cifar/../../../secret.jpg",
    ),
    "a list that is not text": (
        lambda copy: (copy / "cifar/test.txt").write_bytes(b"\xff\xfe\x00"),
        "test.txt cannot be read",
    ),
}


@pytest.mark.sample(8)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_task_is_refused_by_name_and_the_others_come_in(
    noah: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str, packed: bool
) -> None:
    change, says = FAULTS[fault]
    change(noah)
    path = suite_copies.zipped(noah, tmp_path / "vtab-1k.zip") if packed else noah
    assert bring(tmp_path, path) == 1
    said = capsys.readouterr().err
    assert says in said
    assert said.count("bench: ") == 1
    assert "Traceback" not in said
    assert brought_in(tmp_path) == ["dark/jpeg75"]


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (3000, "3 classes in its lists; there must be 2"),
        ("cat", "val.json: val/000000.jpg: label 'cat'; expected a whole number"),
    ],
)
def test_class_ids_that_are_not_the_tasks_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: object, says: str
) -> None:
    suite_copies.suite(tmp_path, suite_copies.FGVC)
    copy = suite_copies.write_fgvc(tmp_path / "fgvc", ["dark"])
    val = copy / "pets" / "val.json"
    val.write_text(
        json.dumps(json.loads(val.read_text(encoding="utf-8")) | {"val/000000.jpg": number}),
        encoding="utf-8",
    )
    assert bring(tmp_path, copy) == 1
    assert says in capsys.readouterr().err
    assert not brought_in(tmp_path)


def test_a_copy_that_is_not_there_is_named(
    noah: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bring(tmp_path, tmp_path / "vtab.zip") == 2
    assert f"bench: no folder or zip of a copy at {tmp_path / 'vtab.zip'}\n" == (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_copy_without_a_task_says_what_was_looked_for(
    noah: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], packed: bool
) -> None:
    other = noah / "cifar" / "images"
    path = suite_copies.zipped(other, tmp_path / "a.zip") if packed else other
    assert bring(tmp_path, path) == 2
    said = f"{path} holds no task of copied: looked for cifar/test.txt, pets/test.txt and so on"
    assert said in capsys.readouterr().err


def test_a_zip_that_was_cut_short_is_refused(
    noah: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = suite_copies.zipped(noah, tmp_path / "vtab-1k.zip")
    path.write_bytes(path.read_bytes()[:-5000])
    assert bring(tmp_path, path) == 2
    assert f"{path} is corrupt or truncated" in capsys.readouterr().err


@pytest.mark.parametrize("member", ["../secret.txt", "/etc/secret.txt", "vtab-1k/../../x.jpg"])
def test_a_zip_with_members_that_lead_out_is_refused(
    noah: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], member: str
) -> None:
    path = suite_copies.zipped(noah, tmp_path / "vtab-1k.zip")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(member, "x")
    assert bring(tmp_path, path) == 2
    assert "lies outside the archive; nothing was read" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_the_papers_counts_hold_for_copies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = suite_copies.write_noah(tmp_path / "vtab-1k", ["light"])
    words = ("--suite", "vtab1k", "--data-root", str(tmp_path / "data"))
    assert main(["data", "import", str(copy), *words]) == 1
    said = capsys.readouterr().err
    assert "E-COUNT cifar/train: 8 images; there must be 800" in said


def test_a_suite_without_lists_has_no_copies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--suite", "inat2018", "--data-root", str(tmp_path / "data"))
    assert main(["data", "import", str(tmp_path), *words]) == 2
    assert "no copy of inat2018 can be read: its card lists no train file" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_two_folders_of_one_task_are_refused_by_name(
    noah: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], packed: bool
) -> None:
    shutil.copytree(noah / "cifar", noah / "backup" / "cifar")
    path = suite_copies.zipped(noah, tmp_path / "vtab-1k.zip") if packed else noah
    assert bring(tmp_path, path) == 1
    top = "vtab-1k/" if packed else ""
    where = f"{path}: {top}backup/cifar", f"{path}: {top}cifar"
    said = capsys.readouterr().err
    assert "bench: light exists 2 times, perhaps with differences: " in said
    assert all(place in said for place in where)
    assert brought_in(tmp_path) == ["dark/jpeg75"]


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_an_incomplete_copy_names_the_tasks_that_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], packed: bool
) -> None:
    suite_copies.suite(tmp_path)
    copy = suite_copies.write_noah(tmp_path / "vtab-1k", ["light"])
    path = suite_copies.zipped(copy, tmp_path / "vtab-1k.zip") if packed else copy
    assert bring(tmp_path, path) == 0
    assert f"W-ABSENT {path} lacks 1 of 2 tasks: pets\n" in capsys.readouterr().out
    assert bring(tmp_path, path, "--tasks", "light") == 0
    assert "W-ABSENT" not in capsys.readouterr().out


def test_a_folder_that_lacks_one_list_is_no_absent_task(
    noah: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (noah / "cifar" / "test.txt").unlink()
    assert bring(tmp_path, noah) == 1
    said = capsys.readouterr()
    assert "cifar/test.txt" in said.err
    assert "W-ABSENT" not in said.out
