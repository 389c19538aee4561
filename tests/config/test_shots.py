"""A card's shots: the tasks that they make, and cards that are refused."""

import re
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.config.suite import load_suite
from bench.utils.errors import UserError
from support import tiny


def card(folder: Path, shots: str, task: str = 'embedded = "digits"', extra: str = "") -> str:
    """A card of one task of ten classes, with these lines for its shots and its task."""
    backbone = tiny.backbone_card(folder / "small.toml")
    path = folder / "suite.toml"
    path.write_text(
        f'name = "few"\ntitle = "Few"\nversion = 1\nrecipe = "quick"\n{extra}\n[shots]\n{shots}\n'
        f'[default]\nmethods = ["linear"]\nbackbones = ["{backbone}"]\nseeds = [0]\n'
        f'[[task]]\nname = "some"\ngroup = "Natural"\nclasses = 10\n{task}\n',
        encoding="utf-8",
    )
    return str(path)


def test_a_task_becomes_one_for_each_number_of_shots_and_list(tmp_path: Path) -> None:
    suite = load_suite(card(tmp_path, "counts = [1, 16]\nlists = [0, 2]"))
    assert [task.name for task in suite.task] == [
        *("some_1shot_0", "some_1shot_2", "some_16shot_0", "some_16shot_2")
    ]
    assert [task.few_shot for task in suite.task][-1] == {"shots": 16, "list": 2}
    assert suite.groups() == ["some 1-shot", "some 16-shot"]
    assert {task.dataset for task in suite.task} == {"some"}


def test_tasks_are_found_by_data_set_and_by_shots(tmp_path: Path) -> None:
    suite = load_suite(card(tmp_path, "counts = [1, 4]\nlists = [0, 1]"))
    assert suite.find_all("some") == suite.task
    assert [task.name for task in suite.find_all("some_4shot")] == ["some_4shot_0", "some_4shot_1"]
    assert suite.find_all("some_4shot_1") == [suite.find("some_4shot_1")]
    with pytest.raises(UserError, match="did you mean some_4shot_1, some_4shot_0"):
        suite.find_all("some_4shots")


def test_a_task_without_shots_is_called_as_its_data_set() -> None:
    task = load_suite("mini").find("digits")
    assert (task.dataset, task.few_shot, task.listed_as("trainval")) == ("digits", {}, "trainval")


def test_few_shots_are_trained_on_without_validation_images() -> None:
    task = load_suite("fewshot_mini").find("digits_4shot_1")
    assert [task.listed_as(split) for split in ("train", "val", "trainval", "test")] == [
        *("train", "val", "train", "test")
    ]


def test_the_lists_of_a_real_task_are_those_of_its_shots() -> None:
    task = load_suite("fewshot").find("food101_16shot_2")
    assert task.members["train"].endswith("/train_meta.list.num_shot_16.seed_2")


SOURCE = 'source = "food101"\nlabel = { fact = "class", ranked = true }\nmembers = { %s }'
BAD_CARDS = {
    "no shots": ("counts = [0]\nlists = [0]", "shots.counts.0: a whole number from 1 to 100,000"),
    "negative": ("counts = [-4]\nlists = [0]", "from 1 to 100,000 was expected; -4 was given"),
    "repeated": (
        "counts = [4, 4]\nlists = [0]",
        "shots: counts needs distinct whole numbers; [4, 4] was given",
    ),
    "a part of one": ("counts = [1.5]\nlists = [0]", "1.5 was given"),
    "text": ('counts = ["4"]\nlists = [0]', "'4' was given"),
    "a truth value": ("counts = [true]\nlists = [0]", "True was given"),
    "one number": ("counts = 4\nlists = [0]", "shots.counts: Input should be a valid list"),
    "none": ("counts = []\nlists = [0]", "counts needs distinct whole numbers; [] was given"),
    "too many": ("counts = [1000000]\nlists = [0]", "1000000 was given"),
    "no list": ("counts = [4]\nlists = []", "lists needs distinct whole numbers; [] was given"),
    "a negative list": ("counts = [4]\nlists = [-1]", "shots.lists.0: a whole number from 0 to"),
    "a repeated list": ("counts = [4]\nlists = [0, 1, 0]", "[0, 1, 0] was given"),
    "a list by name": ('counts = [4]\nlists = ["a"]', "'a' was given"),
    "lists left out": ("counts = [4]", "lists"),
    "a misspelt entry": ("count = [4]\nlists = [0]", "no entry 'count'; did you mean counts?"),
}


def refusal(path: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence of a run of the card, which ends with exit status 2."""
    assert main(["run", "--suite", path, "--dry-run", "--no-tune"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("bench: ")
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize("fault", BAD_CARDS)
def test_bad_shots_are_refused_in_a_sentence(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shots, says = BAD_CARDS[fault]
    said = refusal(card(tmp_path, shots), capsys)
    assert says in said
    assert str(tmp_path / "suite.toml") in said


@pytest.mark.parametrize(
    "members",
    ['test = "test.txt"', 'train = "train.txt"', 'train = "{shots}.txt"', 'train = "{list}.txt"'],
)
def test_a_task_should_name_its_lists_with_both_numbers(
    members: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(card(tmp_path, "counts = [1]\nlists = [0]", SOURCE % members), capsys)
    assert "task 'some' should name its lists in members.train, with {shots} and {list}" in said


def test_lists_of_a_whole_suite_are_none_of_shots(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = 'lists = { trainval = ["a.txt"], test = ["b.txt"] }'
    said = refusal(card(tmp_path, "counts = [1]\nlists = [0]", "", extra), capsys)
    assert "lists are of whole tasks; those of shots stand in a task's members" in said


def test_a_name_that_the_numbers_make_too_long_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = card(tmp_path, "counts = [100]\nlists = [0]")
    text = Path(path).read_text(encoding="utf-8")
    Path(path).write_text(text.replace('name = "some"', f'name = "{"s" * 95}"'), encoding="utf-8")
    assert re.search(r"the shots of suite .*: name: .* is no name", refusal(path, capsys))


def test_a_class_with_fewer_images_than_shots_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(card(tmp_path, "counts = [79]\nlists = [0]"), capsys)
    assert re.search(
        r"E-SHOTS some_79shot_0/trainval: class \d has 7\d images; there must be 79 of each class, "
        "the shots of some_79shot_0",
        said,
    )
