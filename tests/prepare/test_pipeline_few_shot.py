"""Few-shot suites from the command line: archives in the official layouts, lists, and bad ones."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.config.suite import load_suite
from bench.data import published_lists, splits
from support import few_shot_suite
from support.few_shot_suite import DATASETS, Lists, SmallSuite, write


@pytest.fixture(autouse=True)
def lists_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package of lists is that of the test."""
    monkeypatch.setattr(published_lists, "LISTS_DIR", tmp_path / "lists")
    published_lists.forget()
    yield
    published_lists.forget()


def command(made: SmallSuite, *words: str) -> int:
    return main([*words, "--suite", str(made.card), "--data-root", str(made.root)])


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_data_set_is_prepared_from_its_archive_by_its_lists_and_checked(
    dataset: str, tmp_path: Path
) -> None:
    made = write(tmp_path, dataset)
    assert command(made, "data", "prepare") == 0
    assert command(made, "data", "check", "--deep") == 0
    suite = load_suite(str(made.card))
    [task] = suite.task
    for split, lines in made.lines.items():
        found = splits.load_split(suite, task, split, made.root)  # type: ignore[arg-type]
        listed = [line.rpartition(" ") for line in lines]
        assert found.labels.tolist() == [int(label) for _, _, label in listed]
        names = [name.rpartition("/")[2] for name in found.names]
        assert names == [path.rpartition("/")[2] for path, _, _ in listed]
    final = splits.load_split(suite, task, "trainval", made.root)
    assert len(final) == len(made.lines["train"]), "val is never trained on"


def test_a_run_is_planned_on_it_and_says_its_shots_and_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = write(tmp_path, "fgvc_aircraft")
    assert command(made, "data", "prepare") == 0
    assert command(made, "run", "--dry-run", "--results", str(tmp_path / "results")) == 0
    assert "fgvc_aircraft_1shot_0" in capsys.readouterr().out


def test_an_image_that_a_list_of_shots_names_twice_counts_once(tmp_path: Path) -> None:
    made = write(tmp_path, "food101")
    lines = made.lines | {"train": [line for line in made.lines["train"] for _ in range(2)]}
    few_shot_suite.write_package(tmp_path, made.task, lines)
    assert command(made, "data", "prepare") == 0
    suite = load_suite(str(made.card))
    found = splits.load_split(suite, suite.task[0], "train", made.root)
    assert found.labels.bincount().tolist() == [1, 1]


def changed(split: str, change: Callable[[list[str]], list[str]]) -> Callable[[Lists], Lists]:
    return lambda lines: lines | {split: change(lines[split])}


def relabelled(lines: list[str], label: str) -> list[str]:
    return [f"{lines[0].rpartition(' ')[0]} {label}", *lines[1:]]


FOOD = "noah/few-shot/food101/annotations"
TRAIN = rf"{FOOD}/train_meta\.list\.num_shot_1\.seed_0"
BAD_LISTS: dict[str, tuple[Callable[[Lists], Lists], str]] = {
    "an absent image": (
        changed("train", lambda lines: ["apple_pie/none.jpg 0", *lines[1:]]),
        rf"E-PATH {TRAIN}:1: no image 'apple_pie/none\.jpg' in the source; it has apple_pie/05",
    ),
    "an absent image of test": (
        changed("test", lambda lines: ["waffles/none.jpg 1", *lines]),
        rf"E-PATH {FOOD}/test_meta\.list:1: no image 'waffles/none\.jpg'",
    ),
    "a class with fewer images than shots": (
        changed("train", lambda lines: lines[:1]),
        rf"{TRAIN}: class 1 has 0 images; there must be 1 of each class",
    ),
    "a class with more images than shots": (
        lambda lines: lines | {"train": lines["train"] + lines["val"][:1], "val": lines["val"][1:]},
        rf"{TRAIN}: class 0 has 2 images; there must be 1 of each class",
    ),
    "a line without a label": (
        changed("train", lambda lines: ["apple_pie/05.jpg", *lines[1:]]),
        rf"{TRAIN}:1: expected a path and a label, got 'apple_pie/05\.jpg'",
    ),
    "a blank line": (
        changed("train", lambda lines: ["", *lines]),
        rf"{TRAIN}:1: expected a path and a label, got ''",
    ),
    "a label that is no number": (
        changed("train", lambda lines: relabelled(lines, "apple")),
        rf"{TRAIN}:1: label 'apple'; expected a whole number",
    ),
    "a negative label": (
        changed("train", lambda lines: relabelled(lines, "-1")),
        rf"{TRAIN}:1: label '-1'; expected a whole number",
    ),
    "a label beyond the classes": (
        changed("val", lambda lines: relabelled(lines, "2")),
        rf"{FOOD}/val_meta\.list:1: label 2; expected 0 to 1",
    ),
    "a label of another class": (
        changed("test", lambda lines: relabelled(lines, "0")),
        rf"E-LABEL {FOOD}/test_meta\.list:1: class 0 maps to several classes of the source",
    ),
    "a training image in test": (
        lambda lines: lines | {"test": [*lines["test"], lines["train"][0]]},
        r"E-OVERLAP food101_1shot_0: 1 train keys are in test, too: apple_pie/05\.jpg",
    ),
    "no image": (changed("train", lambda _: []), rf"{TRAIN}: class 0 has 0 images"),
    "no image of test": (changed("test", lambda _: []), "E-COUNT food101_1shot_0/test: 0 images"),
}


@pytest.mark.parametrize("fault", BAD_LISTS)
def test_a_bad_list_is_refused_in_a_sentence(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, says = BAD_LISTS[fault]
    made = write(tmp_path, "food101")
    few_shot_suite.write_package(tmp_path, made.task, change(made.lines))
    needs_images = says.startswith("E-")  # to be compared with, source by source
    assert command(made, "data", "prepare") == (1 if needs_images else 2)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bench: ")]
    assert len(said) == 1
    assert re.search(says, said[0]), said[0]
    assert not list(made.root.glob("prepared/**/*.tsv"))


@pytest.mark.parametrize("words", [["data", "prepare"], ["run", "--dry-run"]])
def test_a_list_that_is_not_known_is_refused_before_data_are_looked_at(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = write(tmp_path, "food101")
    text = made.card.read_text(encoding="utf-8")
    made.card.write_text(text.replace("lists = [0]", "lists = [0, 3]"), encoding="utf-8")
    assert command(made, *words) == 2
    said = capsys.readouterr().err
    assert (
        "no list of noah 'few-shot/food101/annotations/train_meta.list.num_shot_1.seed_3'" in said
    )
    assert "did you mean few-shot/food101/annotations/train_meta.list.num_shot_1.seed_0" in said


def test_tuning_without_validation_images_is_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = write(tmp_path, "imagenet")
    assert command(made, "data", "prepare") == 0
    capsys.readouterr()
    assert command(made, "tune", "--results", str(tmp_path / "results")) == 2
    assert capsys.readouterr().err == (
        "bench: task 'imagenet_1shot_0' of suite 'small' has no validation images, which trials "
        "need: use --no-tune, or name other tasks\n"
    )
