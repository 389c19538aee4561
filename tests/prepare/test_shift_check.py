"""Further test sets that cannot be scored: one sentence, status 2, and nothing is trained."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli.main import main
from support import tiny, tiny_shifts
from support.tiny_shifts import FAR, HALF

Capture = pytest.CaptureFixture[str]
Change = Callable[[Path], object]


def run(folder: Path) -> int:
    return main(tiny.command("run", folder, folder / "results", "linear", "--no-tune"))


def refused(folder: Path, capsys: Capture, said: str) -> None:
    assert run(folder) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not list((folder / "results").rglob("*.json"))


SOURCE = {"name": "far", "source": "imagenet_a"}
CARDS: dict[str, tuple[tuple[dict[str, object], ...], tuple[str, ...], str]] = {
    "an empty subset": ((HALF | {"classes": []},), (), "'half' has an empty list of classes"),
    "a class out of range": ((HALF | {"classes": [0, 2]},), (), "'half' names class 2; task"),
    "a negative class": ((HALF | {"classes": [-1]},), (), "a whole number from 0 to"),
    "a class twice": ((HALF | {"classes": [1, 0, 1]},), (), "the shift 'half' names 1 twice"),
    "classes that are text": ((HALF | {"classes": "all"},), (), "valid list"),
    "two of one name": ((FAR, FAR), (), "the shift 'far' is listed twice"),
    "the name of a task": (
        (FAR | {"name": "light"},),
        (),
        "'light' is listed twice, or has the name",
    ),
    "an unknown name": ((FAR,), ("fra",), "did you mean far"),
    "a name that is a path": ((FAR | {"name": "../far"},), (), "../far"),
    "a folder outside": ((FAR | {"folder": "../far"},), (), "without .."),
    "strengths of nothing": ((FAR | {"strengths": [1]},), (), "needs drawn and strengths"),
    "drawn of nothing": (({"name": "far", "drawn": "noise"},), (), "needs drawn and strengths"),
    "drawn and a folder": ((FAR | {"drawn": "noise", "strengths": [1]},), (), "has no folder"),
    "drawn of files": (
        ({"name": "far", "drawn": "noise", "strengths": [1]},),
        ("far",),
        "suits embedded tasks; 'light' is none",
    ),
    "a source alone": ((SOURCE,), (), "needs a label and members"),
    "named by no task": ((FAR, HALF), ("far",), "no task names the shift 'half'"),
    "named twice by the task": ((FAR,), ("far", "far"), "names the shift 'far' twice"),
}


@pytest.mark.parametrize("fault", CARDS)
def test_a_card_with_an_odd_shift_is_refused(fault: str, tmp_path: Path, capsys: Capture) -> None:
    shifts, names, said = CARDS[fault]
    tiny_shifts.write(tmp_path, *shifts, names=names)
    refused(tmp_path, capsys, said)


def relabelled(name: str, label: str) -> Change:
    """One image of a set with another label."""

    def change(folder: Path) -> None:
        path = folder / "data" / name / "test.txt"
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("images/2.png 0", f"images/2.png {label}"), encoding="utf-8")

    return change


def emptied(folder: Path) -> None:
    (folder / "data" / "far" / "test.txt").write_text("", encoding="utf-8")


def trained_on(folder: Path) -> None:
    """A set with an image that is trained on, under another name."""
    images = folder / "data"
    shutil.copy(images / "light/images/train/0.png", images / "far/images/0.png")


DATA: dict[str, tuple[Change, str]] = {
    "no folder": (lambda folder: shutil.rmtree(folder / "data" / "far"), "no data for 1 of 3"),
    "no image": (emptied, "0 images in the test split of far"),
    "an image that is not there": (
        lambda folder: (folder / "data/far/images/3.png").unlink(),
        "no image",
    ),
    "a file that is no image": (
        lambda folder: (folder / "data/far/images/3.png").write_text("no"),
        "3.png is not an image",
    ),
    "a label beyond the task's": (relabelled("far", "2"), "label 2; expected 0 to 1"),
    "a label that is no number": (relabelled("far", "cat"), "expected a whole number"),
    "a label outside the mask": (relabelled("half", "1"), "label 1 is none of the 1 classes"),
    "an image that is trained on": (trained_on, "E-DUP far: 1 of its 16 images are trained on"),
}


@pytest.mark.parametrize("fault", DATA)
def test_a_set_that_cannot_be_scored_is_refused(
    fault: str, tmp_path: Path, capsys: Capture
) -> None:
    change, said = DATA[fault]
    tiny_shifts.write(tmp_path)
    change(tmp_path)
    refused(tmp_path, capsys, said)


def test_trials_do_not_open_the_further_sets(tmp_path: Path) -> None:
    tiny_shifts.write(tmp_path)
    few = ("--set", "tuning.trials=1")
    assert main(tiny.command("tune", tmp_path, tmp_path / "results", "linear", *few)) == 0
    (tmp_path / "data" / "far" / "test.txt").write_text("images/0.png 9\n", encoding="utf-8")
    assert main(tiny.command("tune", tmp_path, tmp_path / "again", "linear", *few)) == 0
