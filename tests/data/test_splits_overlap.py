"""Splits that share images or contradict each other, in runs, checks and imports."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.execution import plan
from bench.execution.request import TRIAL_SPLITS, Request, SearchPoint
from bench.records.schema import Record
from bench.records.store import Store
from bench.training.cell import Cell
from bench.utils import files
from bench.utils.errors import UserError
from support import tiny

Capture = pytest.CaptureFixture[str]
Change = Callable[[Path], object]
LISTS = {split: [f"{split}.txt"] for split in ("train", "val", "trainval", "test")}
POINT = {"lr": 0.01, "weight_decay": 0.0}
COUNT = {"train": 12, "val": 4, "test": 16}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The suite `tiny`, whose task `light` has a list of its own for train and val together."""
    tiny.write_task(light(tmp_path), **COUNT)
    together = text(tmp_path, "train") + text(tmp_path, "val")
    (light(tmp_path) / "trainval.txt").write_text(together, encoding="utf-8")
    tiny.suite_card(
        tmp_path / "tiny.toml", tiny.backbone_card(tmp_path / "small.toml"), lists=LISTS
    )
    return tmp_path


def light(folder: Path) -> Path:
    return folder / "data" / "light"


def text(folder: Path, split: str) -> str:
    return (light(folder) / f"{split}.txt").read_text(encoding="utf-8")


def said_by(act: str, folder: Path, *more: str) -> list[str]:
    return ["data", act, *more, "--suite", str(folder / "tiny.toml"), "--data-root"]


def check(folder: Path, *more: str) -> int:
    return main([*said_by("check", folder, *more), str(folder / "data")])


def bring(folder: Path) -> int:
    return main([*said_by("import", folder, str(light(folder))), str(folder / "in")])


def run(folder: Path) -> int:
    return main(tiny.command("run", folder, folder / "results", "linear"))


def cells(folder: Path, **asked: object) -> list[Cell]:
    words = {"suite": str(folder / "tiny.toml"), "root": folder / "data", "methods": ["linear"]}
    return plan.plan_cells(Request(**words | asked))  # type: ignore[arg-type]


def trials(folder: Path) -> list[Cell]:
    return cells(folder, recipe="quick", at=SearchPoint(POINT, 1, *TRIAL_SPLITS))


def add(*splits: str, lines: str) -> Change:
    """More lines at the end of lists."""

    def change(folder: Path) -> None:
        for split in splits:
            (light(folder) / f"{split}.txt").write_text(
                text(folder, split) + lines, encoding="utf-8"
            )

    return change


def put(*splits: str, old: str, new: str) -> Change:
    """Other words in lists."""

    def change(folder: Path) -> None:
        for split in splits:
            assert old in text(folder, split)
            (light(folder) / f"{split}.txt").write_text(
                text(folder, split).replace(old, new), encoding="utf-8"
            )

    return change


def links(make: Callable[[Path, Path], object]) -> Change:
    """A second name of a test image, in training."""

    def change(folder: Path) -> None:
        images = light(folder) / "images"
        make(images / "test" / "0.png", images / "train" / "more.png")
        add("train", "trainval", lines="images/train/more.png 0\n")(folder)

    return change


def relabelled(split: str, label: int) -> Change:
    """All images of a split in one class."""

    def change(folder: Path) -> None:
        lines = [f"{line.split()[0]} {label}" for line in text(folder, split).splitlines()]
        (light(folder) / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    return change


def untaught(folder: Path) -> None:
    """No image of class 1 to learn from."""
    for split in ("train", "val", "trainval"):
        lines = [line for line in text(folder, split).splitlines() if line.endswith(" 0")]
        (light(folder) / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


TEST = "images/test/0.png 0\n"
MEANINGLESS: dict[str, tuple[Change, str]] = {
    "test lines in training": (
        add("train", "trainval", lines=TEST),
        "keys are in test, too: images/test/0.png",
    ),
    "test lines in val": (add("val", "trainval", lines=TEST), "keys are in test, too"),
    "test lines in trainval alone": (add("trainval", lines=TEST), "trainval keys are in test, too"),
    "under another spelling": (
        add("train", "trainval", lines="./images//test/0.png 0\n"),
        "keys are in test, too",
    ),
    "by way of a folder": (
        add("train", "trainval", lines="images/train/../test/0.png 0\n"),
        "keys are in test, too",
    ),
    "by a symbolic link": (
        links(lambda file, link: link.symlink_to(file)),
        "keys are in test, too",
    ),
    "by a hard link": (links(lambda file, link: link.hardlink_to(file)), "keys are in test, too"),
    "by bytes under another name": (
        links(shutil.copyfile),
        "E-DUP light: 1 images of test are those of train or val, byte for byte",
    ),
    "one image under two labels": (
        add("train", "trainval", lines="images/train/2.png 1\n"),
        "1 images have two labels: images/train/2.png is 0",
    ),
    "one image under two labels in two lists": (
        put("trainval", old="images/train/2.png 0", new="images/train/2.png 1"),
        "images/train/2.png",
    ),
    "one image's bytes under two labels": (
        lambda folder: shutil.copyfile(
            light(folder) / "images/train/2.png", light(folder) / "images/train/3.png"
        ),
        "E-LABEL light: 2 images have the bytes of one of another class",
    ),
    "trainval that lacks an image": (
        put("trainval", old="images/train/2.png 0\n", new=""),
        "E-TRAINVAL light: trainval is not train + val: 1 of their images are not in it",
    ),
    "trainval with an image more": (
        put("train", old="images/train/2.png 0\n", new=""),
        "and 1 of its own are in neither: images/train/2.png",
    ),
    "a class that nothing teaches": (
        untaught,
        "E-COVERAGE light: 1 classes of test have no image in training: 1",
    ),
    "a test of one class": (
        relabelled("test", 1),
        "E-COVERAGE light/test: all 16 images are of class 1; the task has 2",
    ),
    "labels out of range": (relabelled("test", 5), "label 5; expected 0 to 1"),
}


@pytest.mark.sample(5)
@pytest.mark.parametrize("fault", MEANINGLESS)
def test_a_number_without_a_meaning_is_refused_by_all_commands_and_before_any_compute(
    folder: Path, capsys: Capture, fault: str
) -> None:
    change, says = MEANINGLESS[fault]
    change(folder)
    for door, status in ((run, 2), (check, 1), (bring, 1)):
        assert door(folder) == status, door
        said = capsys.readouterr().err
        assert says in said, door
        assert "Traceback" not in said
    assert not list((folder / "results").rglob("*.json"))
    assert not list((folder / "in").rglob("*.tar"))


def test_sound_lists_are_run_without_a_word(folder: Path, capsys: Capture) -> None:
    assert check(folder, "--deep") == 0
    assert capsys.readouterr().out == "light (as found): sound\n"
    assert [cell.data_warnings for cell in (*cells(folder), *trials(folder))] == [(), ()]
    assert run(folder) == 0
    assert "W-" not in capsys.readouterr().err


def test_val_in_train_is_refused_where_val_chooses(folder: Path, capsys: Capture) -> None:
    add("train", lines="images/val/0.png 0\n")(folder)
    with pytest.raises(UserError, match="E-OVERLAP light: 1 train keys are in val, too"):
        trials(folder)
    assert check(folder) == 1
    assert "1 train keys are in val, too: images/val/0.png" in capsys.readouterr().err
    assert cells(folder)[0].data_warnings == ()  # trainval has each image once all the same


def test_bytes_of_val_in_train_are_refused_where_val_chooses(folder: Path, capsys: Capture) -> None:
    images = light(folder) / "images"
    shutil.copyfile(images / "val" / "0.png", images / "train" / "0.png")
    with pytest.raises(UserError, match="E-DUP light: 1 images of val are those of train"):
        trials(folder)
    assert check(folder) == 1
    assert cells(folder)


def kept(folder: Path) -> Record:
    [record] = [
        found for _, found in Store(folder / "results").read_all() if isinstance(found, Record)
    ]
    assert record.ok
    return record


def test_a_line_twice_is_a_warning_that_the_record_keeps_and_a_broken_rule_of_the_data(
    folder: Path, capsys: Capture
) -> None:
    add("train", "trainval", lines="images/train/0.png 0\n")(folder)
    assert run(folder) == 0
    where = f"{light(folder) / 'trainval.txt'}:17"
    twice = "images/train/0.png is listed twice in the trainval list"
    warned = f"W-TWICE light/trainval: {where}: {twice}"
    assert capsys.readouterr().err.count(warned) == 1
    assert kept(folder).environment["data_warnings"] == [warned]
    assert check(folder) == 1
    assert "is listed twice in the train list" in capsys.readouterr().err


def test_a_class_that_test_lacks_is_a_warning(folder: Path, capsys: Capture) -> None:
    card = folder / "tiny.toml"
    card.write_text(
        card.read_text(encoding="utf-8").replace("classes = 2", "classes = 3"), encoding="utf-8"
    )
    assert run(folder) == 0
    warned = [f"W-COVERAGE light/{s}: 1 of 3 classes are absent" for s in ("trainval", "test")]
    assert kept(folder).environment["data_warnings"] == warned
    said = capsys.readouterr().err
    assert [said.count(sentence) for sentence in warned] == [1, 1]


def test_one_repeat_in_a_hundred_is_a_warning(folder: Path) -> None:
    shutil.rmtree(light(folder))
    tiny.write_task(light(folder), **(COUNT | {"test": 100}))
    (light(folder) / "trainval.txt").write_text(
        text(folder, "train") + text(folder, "val"), encoding="utf-8"
    )
    images = light(folder) / "images"
    shutil.copyfile(images / "test" / "0.png", images / "train" / "0.png")
    [cell] = cells(folder)
    assert cell.data_warnings == (
        "W-DUP light: 1 images of test are those of train or val, byte for byte",
    )
    shutil.copyfile(images / "test" / "2.png", images / "train" / "2.png")
    with pytest.raises(UserError, match="E-DUP light: 2 images of test"):
        cells(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [(links(shutil.copyfile), "repeats = true"), (untaught, "present = { trainval = 1 }")],
)
def test_what_was_published_so_is_said_on_the_card(folder: Path, change: Change, says: str) -> None:
    change(folder)
    with pytest.raises(UserError, match=f"say {says}"):
        cells(folder)
    card = folder / "tiny.toml"
    card.write_text(
        card.read_text(encoding="utf-8").replace("classes = 2", f"classes = 2\n{says}"),
        encoding="utf-8",
    )
    assert cells(folder)


def test_two_names_in_another_case_are_two_images_where_the_file_system_says_so(
    folder: Path,
) -> None:
    image = light(folder) / "images" / "train" / "A.png"
    (light(folder) / "images" / "test" / "0.png").rename(image.with_name("a.png"))
    if image.exists():
        pytest.skip("this file system takes both names for one")
    (light(folder) / "images" / "train" / "0.png").rename(image)
    put("train", "trainval", old="images/train/0.png", new="images/train/A.png")(folder)
    put("test", old="images/test/0.png", new="images/train/a.png")(folder)
    assert cells(folder)


def second_copies(folder: Path) -> None:
    """Train and val together as NOAH writes them: the images once more, under other names."""
    lines, images = [], light(folder) / "images"
    (images / "trainval").mkdir()
    for number, line in enumerate(text(folder, "trainval").splitlines()):
        path, label = line.split()
        name = f"images/trainval/{number}.png"
        shutil.copyfile(light(folder) / path, light(folder) / name)
        lines.append(f"{name} {label}\n")
    (light(folder) / "trainval.txt").write_text("".join(lines), encoding="utf-8")


def test_trainval_may_hold_its_images_under_names_of_its_own(folder: Path, capsys: Capture) -> None:
    second_copies(folder)
    assert (run(folder), check(folder), bring(folder)) == (0, 0, 0)
    put("trainval", old="images/trainval/3.png 1", new="images/trainval/3.png 0")(folder)
    for door, status in ((run, 2), (check, 1), (bring, 1)):
        capsys.readouterr()
        assert door(folder) == status
        assert "E-TRAINVAL light: trainval is not train + val: 1 of" in capsys.readouterr().err


def test_a_check_reads_the_list_of_train_and_val_together(folder: Path, capsys: Capture) -> None:
    only = {split: LISTS[split] for split in ("trainval", "test")}
    tiny.suite_card(folder / "tiny.toml", folder / "small.toml", lists=only)
    images = light(folder) / "images" / "train"
    (images / "0.png").unlink()
    (images / "1.png").write_bytes((images / "1.png").read_bytes()[:100])
    assert check(folder, "--deep") == 1
    said = capsys.readouterr()
    assert f"trainval.txt:1: no image {images / '0.png'}" in said.err
    assert f"trainval.txt:2: {images / '1.png'} cannot be decoded" in said.err
    assert said.out == "light (as found): 2 rules broken\n"


def test_a_second_plan_reads_no_file_for_its_hash(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells(folder)
    monkeypatch.setattr(files, "sha256_of_file", lambda path: pytest.fail(f"{path} is read"))
    assert cells(folder)


def test_an_image_that_cannot_be_read_is_one_sentence(folder: Path, capsys: Capture) -> None:
    file = light(folder) / "images" / "test" / "3.png"
    file.unlink()
    os.mkfifo(file.with_name("pipe"))
    file.symlink_to(file.with_name("nowhere"))
    assert run(folder) == 2
    said = capsys.readouterr().err
    assert said.startswith("bench: ")
    assert said.count("\n") == 1
    assert "3.png" in said


def test_the_tasks_that_come_with_the_project_keep_the_rules() -> None:
    request = Request(suite="mini", methods=["linear"], backbones=["vit_micro_mae"], seeds=[0])
    for at in (None, SearchPoint(POINT, 1, *TRIAL_SPLITS)):
        found = plan.plan_cells(Request(**vars(request) | {"at": at}))
        assert [cell.data_warnings for cell in found] == [()] * 5
