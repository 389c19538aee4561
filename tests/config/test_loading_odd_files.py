"""Cards that are no files, no TOML, or hold what no card can: one sentence each, and at once."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.config.backbone import load_backbone
from bench.config.loading import RECIPES_DIR, SUITES_DIR
from bench.config.recipe import Recipe, load_recipe
from bench.config.suite import Suite, load_source, load_suite
from bench.papers import study
from bench.utils.errors import UserError
from support import odd_files, tiny

DOORS: dict[str, Callable[[str], Any]] = {
    "suite": load_suite,
    "recipe": load_recipe,
    "backbone": load_backbone,
    "source": lambda path: load_source(path, Path()),
    "study": study.load_study,
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS.keys())
@pytest.mark.parametrize("make", odd_files.ODD, ids=lambda make: make.__name__)
def test_a_card_that_is_no_file_of_text_is_refused(
    tmp_path: Path, door: Callable[[str], Any], make: Callable[[Path], None]
) -> None:
    path = tmp_path / "card.toml"
    make(path)
    with (
        odd_files.time_limit(60),
        pytest.raises(UserError, match=r"card .*card\.toml cannot be read: ") as error,
    ):
        door(str(path))
    assert len(str(error.value).splitlines()) == 1
    assert (odd_files.LFS_SENTENCE in str(error.value)) == (make is odd_files.pointer)


def test_a_link_to_a_card_is_a_card(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").symlink_to(SUITES_DIR / "mini.toml")
    assert load_suite(str(tmp_path / "mine.toml")) == load_suite("mini")


@pytest.mark.parametrize("name", ["\x00.toml", f"{'x' * 5000}.toml", "\x00", "x" * 5000, ""])
@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS.keys())
def test_a_name_that_no_file_can_have_is_refused(door: Callable[[str], Any], name: str) -> None:
    with pytest.raises(UserError) as error:
        door(name)
    assert len(str(error.value)) < 20_000


def edited(path: Path, folder: Path, line: str, old: str = "") -> str:
    """The path of a copy of the card with the line that sets a name, or says `old`, replaced."""
    text = path.read_text(encoding="utf-8")
    key = old or line.partition(" ")[0]
    copy = folder / path.name
    found = re.subn(rf"(?m)^{re.escape(key)}\b.*$", lambda _: line, text, count=1)
    assert found[1], f"{path} has no {key}"
    copy.write_text(found[0], encoding="utf-8")
    return str(copy)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        *[(f"{name} = {value}", f"{name}") for name in ("epochs", "batch", "test_evaluations")
          for value in ("0", "-1", "1000000000000", "true", '"3"', "1.0", "9" * 30, "nan")],
        *[(f"lr = {value}", "lr") for value in ("0", "-1", "inf", "nan", "1e300", "true", '"1"')],
        *[(f"{name} = -1", name) for name in ("weight_decay", "min_lr", "warmup_epochs")],
        ("version = -1", "version"),
        *[(f"name = {name}", "name") for name in ('"../x"', '""', '"a\\u0000"', '"a b"', "3")],
        ('title = "a\\nb"', "title: one line was expected"),
        (f'title = "{"a" * 2000}"', "title: 1,000 characters were expected at most"),
        ("version = 1979-05-27", "version is a date or time"),
        ('optimiser = "adam"', "optimiser: Input should be 'adamw' or 'sgd'"),
    ],
)  # fmt: skip
def test_a_recipe_out_of_bounds_is_refused_by_its_entry(
    tmp_path: Path, line: str, says: str
) -> None:
    path = edited(RECIPES_DIR / "unified.toml", tmp_path, line)
    with pytest.raises(UserError, match=says) as error:
        load_recipe(path)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("[tuning]\nseed = -1", "seed: a whole number from 0 to 4,294,967,295 was expected; -1"),
        ("[tuning]\ntrials = -1", "trials: a whole number"),
        ("[tuning]\nby_default = 1", "by_default: true or false was expected; 1 was given"),
    ],
)
def test_a_search_out_of_bounds_is_refused(tmp_path: Path, lines: str, says: str) -> None:
    text = (RECIPES_DIR / "unified.toml").read_text(encoding="utf-8")
    copy = tmp_path / "own.toml"
    copy.write_text(text[: text.index("[tuning]")] + lines, encoding="utf-8")
    with pytest.raises(UserError, match=says):
        load_recipe(str(copy))


def recipe_with(**changed: Any) -> Recipe:
    return Recipe(**vars(load_recipe("quick")) | changed)


def test_a_grid_with_more_points_than_can_be_tried_is_refused() -> None:
    rates = [0.1 / (i + 1) for i in range(100)]
    recipe_with(grid={"lr": rates[:70], "weight_decay": rates[:70]})
    with pytest.raises(ValueError, match="10,000 pairs of rates; at most 5,000 are allowed"):
        recipe_with(grid={"lr": rates, "weight_decay": rates})
    axes = {f"field{i}": list(range(50)) for i in range(4)}
    with pytest.raises(
        ValueError, match="the grid of lora has 6,250,000 points; at most 100,000 are allowed"
    ):
        recipe_with(grid={"lr": [0.1]}, grid_of={"lora": axes})


def test_a_grid_s_values_stand_once_each_however_they_are_written() -> None:
    for values in ([1, 1.0], [[1], [1]], [{"a": 1}, {"a": 1}], [True, 1]):
        with pytest.raises(ValueError, match="needs distinct values"):
            recipe_with(grid={"lr": [0.1]}, grid_of={"lora": {"rank": values}})
    recipe_with(grid={"lr": [0.1]}, grid_of={"lora": {"rank": [[1], [2]]}})


@pytest.fixture
def suite_card(tmp_path: Path) -> Path:
    return tiny.suite_card(tmp_path / "tiny.toml", tmp_path / "small.toml")


@pytest.mark.parametrize(
    ("old", "line"),
    [
        *[("name", f"name = {name}") for name in
          ('"../x"', '"."', '""', '"a/b"', '"a\\u001b[31m"', '"a b"', '"größe"', f'"{"a" * 101}"')],
        *[("version", f"version = {value}") for value in ("-1", "true", "1.0", '"1"', "9" * 20)],
        *[("seeds", f"seeds = {seeds}") for seeds in
          ("[-1]", "[4294967296]", "[true]", '["0"]', "[0.0]", "[]", "0")],
        *[("classes", f"classes = {classes}") for classes in ("0", "-1", "32769", "true", '"2"')],
        *[("group", f"group = {group}") for group in ('"a\\nb"', '"a\\u0007"', "3")],
        *[("test", f"test = {names}") for names in ('["../test.txt"]', '["/dev/zero"]', '"a"')],
        *[("classes", f"classes = 2\n{line}") for line in
          ('folder = "../.."', 'folder = "/etc"', 'images = "a/../../.."', 'images = "C:\\\\x"',
           'source = "../x.toml"', "counts = { test = [-1] }", "present = { test = true }",
           "repeats = 1")],
    ],
)  # fmt: skip
def test_a_suite_out_of_bounds_is_refused(
    tmp_path: Path, suite_card: Path, old: str, line: str
) -> None:
    load_suite(str(suite_card))
    path = edited(suite_card, tmp_path, line, old)
    with pytest.raises(UserError, match=re.escape(f"{tmp_path}/tiny.toml")) as error:
        load_suite(path)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "C:\\x", "..\\x"])
def test_a_source_s_files_stay_in_its_folder(tmp_path: Path, name: str) -> None:
    text = (SUITES_DIR / "sources" / "svhn.toml").read_text(encoding="utf-8")
    card = tmp_path / "own.toml"
    card.write_text(f"{text}\n[[file]]\nname = '{name}'\nhow = \"by hand\"\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"a path inside its folder, without \.\., was expected"):
        load_source("own.toml", tmp_path)


@pytest.mark.parametrize(
    "changed",
    [
        *({"name": name} for name in ("../x", "", "a\nb", "a(1)", "x" * 201)),
        *({"input_size": size} for size in (-1, 10**9, True, "224", 1.5)),
        *({"mean": mean} for mean in ([0, 0], [0, 0, "0"], [0, 0, True], [0, 0, 1e300])),
        *({"architecture": {"depth": depth}} for depth in (-1, 10**6, 1.5, "2")),
        *({"architecture": {"mlp_ratio": ratio}} for ratio in (-0.5, float("nan"), float("inf"))),
        {"timm": "a\nb"},
        {"weights": "a\nb"},
    ],
    ids=str,
)
def test_a_backbone_out_of_bounds_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    path = tiny.backbone_card(tmp_path / "own.toml", **changed)
    with pytest.raises(UserError, match=r"the (backbone )?card .*own\.toml"):
        load_backbone(str(path))


def test_a_flag_of_an_architecture_is_one(tmp_path: Path) -> None:
    path = tiny.backbone_card(tmp_path / "own.toml", architecture={"qkv_bias": False})
    assert load_backbone(str(path)).architecture == {"qkv_bias": 0}


def test_a_fraction_of_an_architecture_is_kept_and_a_whole_number_is_whole(tmp_path: Path) -> None:
    given = {"init_values": 1e-5, "mlp_ratio": 4.0, "depths": [2.0, 2]}
    path = tiny.backbone_card(tmp_path / "own.toml", architecture=given)
    found = load_backbone(str(path)).architecture
    assert found == {"init_values": 1e-5, "mlp_ratio": 4, "depths": [2, 2]}
    assert type(found["mlp_ratio"]) is int


@pytest.mark.parametrize("name", ["../x", "a\nb", "vit@../x(1).pth", "x" * 300, "vit@" + "x" * 300])
def test_a_backbone_s_name_that_no_record_could_hold_is_refused(name: str) -> None:
    with pytest.raises(UserError):
        load_backbone(name)


def test_tasks_are_found_and_held_apart_without_a_look_at_each() -> None:
    """Of 20,000 tasks, no name is compared with all others."""
    looked = 0

    class Name(str):
        def __eq__(self, other: object) -> bool:
            nonlocal looked
            looked += 1
            return str(self) == other

        __hash__ = str.__hash__

    mini = load_suite("mini")
    tasks = [type(mini.task[0])(**vars(mini.task[0]) | {"name": f"t{i}"}) for i in range(20_000)]
    for task in tasks:
        object.__setattr__(task, "name", Name(task.name))
    suite = Suite(**{k: v for k, v in vars(mini).items() if k != "_by_name"} | {"task": tasks})
    for i in range(20_000):
        suite.find(f"t{i}")
    assert looked < 200_000
