"""Suite, recipe and backbone cards: they load, match the papers, and name their errors."""

import json
from pathlib import Path

import pytest
import timm

import methods
from bench.config.backbone import backbone_cards, load_backbone
from bench.config.loading import RECIPES_DIR, SUITES_DIR, card_names
from bench.config.recipe import load_recipe
from bench.config.suite import SPLITS, load_suite
from bench.utils.errors import UserError
from support import paths

TABLE_S1 = json.loads((paths.GOLDEN / "table_s1.json").read_text(encoding="utf-8"))
SUITE_NAMES, RECIPE_NAMES = card_names(SUITES_DIR), card_names(RECIPES_DIR)
PAPERS_SUITES = [load_suite("vtab1k"), load_suite("fgvc")]
PAPERS_TASKS = [task for suite in PAPERS_SUITES for task in suite.task]


def edited(path: Path, folder: Path, old: str, new: str) -> str:
    """The path of a copy of the card with the first `old` as `new`."""
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path} no longer says {old!r}; this test must say something else"
    copy = folder / path.name
    copy.write_text(text.replace(old, new, 1), encoding="utf-8")
    return str(copy)


@pytest.mark.parametrize("name", SUITE_NAMES)
def test_every_suite_loads_and_is_called_what_its_file_is(name):
    assert load_suite(name).name == name


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_every_recipe_loads_and_is_called_what_its_file_is(name):
    assert load_recipe(name).name == name


def test_every_backbone_card_loads():
    assert {"vit_mini_mae", "vit_mini_sup"} <= set(backbone_cards())


def test_the_recipes_of_the_papers_and_the_projects_own_are_there():
    assert {"unified", "spt2024", "vpt2022", "quick"} <= set(RECIPE_NAMES)


@pytest.mark.parametrize("name", SUITE_NAMES)
def test_what_a_suite_selects_exists(name):
    suite = load_suite(name)
    load_recipe(suite.recipe)
    for selection in filter(None, (suite.default, suite.demo)):
        assert set(selection.methods) <= set(methods.names())
        assert set(selection.backbones) <= set(backbone_cards())
        for task in selection.tasks:
            suite.find(task)


@pytest.mark.parametrize("name", SUITE_NAMES)
def test_train_and_val_make_trainval(name):
    for task in load_suite(name).task:
        if task.shares:  # how many images are in one follows from the source's class sizes
            continue
        if task.draw:  # from its classes
            assert set(task.counts) <= {"val", "test"}
            continue
        assert list(task.counts) == list(SPLITS)
        assert sum(task.counts["train"] + task.counts["val"]) == task.counts["trainval"][0]


@pytest.mark.parametrize("name", ["inat2018", "imagenet1k"])
def test_shares_are_nine_tenths_for_training_and_the_rest_for_validation(name):
    suite = load_suite(name)
    sizes = [int(task.name.removeprefix(f"{name}_")) for task in suite.task]
    assert sizes == [1, 2, 5, 10, 30, 50, 100]
    for task, size in zip(suite.task, sizes, strict=True):
        train, val = task.shares["train"], task.shares["val"]
        assert (train.first, train.last) == (0, pytest.approx(0.9 * size))
        assert (val.first, val.last) == (train.last, size)
        assert (train.source, train.salt) == (val.source, val.salt) == ("train", name)


@pytest.mark.parametrize("name", ["inat2018", "imagenet1k"])
def test_shares_are_tested_on_all_of_the_official_validation_split(name):
    for task in load_suite(name).task:
        test = task.ranks["test"]
        assert test.source == "validation"
        assert [test.last - test.first] == task.keys["validation"].counts == task.counts["test"]


@pytest.mark.parametrize("suite", PAPERS_SUITES, ids=lambda suite: suite.name)
def test_data_on_disk_have_lists_for_every_split_and_a_home(suite):
    assert list(suite.lists) == list(SPLITS)
    assert suite.home


def test_vtab1k_has_19_tasks_in_three_groups():
    suite = load_suite("vtab1k")
    groups = [task.group for task in suite.task]
    assert suite.groups() == ["Natural", "Specialized", "Structured"]
    assert [groups.count(group) for group in suite.groups()] == [7, 4, 8]


@pytest.mark.parametrize(("name", "classes"), [("vtab1k", 940), ("fgvc", 1173)])
def test_classes_sum_to_what_the_papers_heads_have(name, classes):
    assert sum(task.classes for task in load_suite(name).task) == classes


def test_table_s1_has_the_tasks_of_both_suites_and_no_other():
    assert sorted(task.name for task in PAPERS_TASKS) == sorted(TABLE_S1)


@pytest.mark.parametrize("task", PAPERS_TASKS, ids=lambda task: task.name)
def test_a_task_is_as_large_as_in_table_s1(task):
    assert task.classes == TABLE_S1[task.name]["classes"]
    assert TABLE_S1[task.name]["test"] in task.counts["test"]


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_a_recipe_names_registered_methods_and_their_fields(name):
    recipe = load_recipe(name)
    assert set(recipe.lr_of) <= set(methods.names())
    for method, changed in recipe.fields.items():
        if method != "all":
            methods.create(method, **changed)


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_what_a_recipe_sets_for_all_is_a_field_of_some_method(name):
    known = {field for method in methods.names() for field in vars(methods.create(method))}
    assert set(load_recipe(name).fields.get("all", {})) <= known


@pytest.mark.parametrize("name", [n for n in RECIPE_NAMES if load_recipe(n).grid])
def test_the_untuned_rate_and_decay_are_in_the_grid(name):
    recipe = load_recipe(name)
    assert recipe.lr in recipe.grid["lr"]
    assert recipe.weight_decay in recipe.grid.get("weight_decay", [recipe.weight_decay])


@pytest.mark.parametrize("card", backbone_cards().values(), ids=lambda card: card.name)
def test_a_backbones_network_is_one_of_timms(card):
    assert timm.is_model(card.timm)
    assert card.weights or timm.models.is_model_pretrained(card.timm)
    assert card.pretraining


@pytest.mark.parametrize(
    "card", [c for c in backbone_cards().values() if not c.weights], ids=lambda card: card.name
)
def test_a_backbone_with_timms_weights_wants_the_input_that_timm_says(card):
    known = timm.get_pretrained_cfg(card.timm)
    assert (card.mean, card.std) == (list(known.mean), list(known.std))
    assert (3, card.input_size, card.input_size) == known.input_size


@pytest.mark.parametrize(
    ("path", "load", "old", "new", "key"),
    [
        (SUITES_DIR / "mini.toml", load_suite, "[demo]", "[dmeo]", "dmeo"),
        (SUITES_DIR / "fgvc.toml", load_suite, "images  =", "imags  =", "task.0.imags"),
        (RECIPES_DIR / "unified.toml", load_recipe, "[lr_of]", "[lr_off]", "lr_off"),
        (RECIPES_DIR / "vpt2022.toml", load_recipe, "lr_per_batch", "lr_per_bach", "lr_per_bach"),
    ],
)
def test_a_misspelt_key_is_refused_by_its_name_and_the_files(tmp_path, path, load, old, new, key):
    copy = edited(path, tmp_path, old, new)
    with pytest.raises(UserError) as error:
        load(copy)
    assert f"{copy}: {key}: " in str(error.value)


def test_a_misspelt_key_of_a_backbone_is_refused_by_its_name_and_the_files(tmp_path):
    card = tmp_path / "own.toml"
    card.write_text(
        'name = "own"\ntimm = "vit_base_patch16_224"\npoling = "avg"\n', encoding="utf-8"
    )
    with pytest.raises(UserError, match=r"own\.toml: poling: "):
        load_backbone(str(card))


@pytest.mark.parametrize(
    ("load", "given", "near"),
    [
        (load_suite, "vtab", "vtab1k"),
        (load_recipe, "unifed", "unified"),
        (load_suite("vtab1k").find, "smallnorb", "smallnorb_azi"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(load, given, near):
    with pytest.raises(UserError, match=f"'{given}'; did you mean .*{near}"):
        load(given)


def test_a_card_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no suite card at .*nowhere\.toml"):
        load_suite(str(tmp_path / "nowhere.toml"))


def test_a_task_that_stands_twice_is_refused(tmp_path):
    copy = edited(SUITES_DIR / "vtab1k.toml", tmp_path, '"cifar"', '"dtd"')
    with pytest.raises(UserError, match="the task 'dtd' is listed twice"):
        load_suite(copy)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("warmup_epochs     = 10", "warmup_epochs = 100", "100 warm-up epochs leave none of 100"),
        (
            "batch             = 32",
            "batch = 0",
            "batch: a whole number from 1 to 1,000,000 was expected; 0 was given",
        ),
        ("[views.default]", "[views.mini]", "views needs a table called default"),
    ],
)
def test_a_recipe_that_cannot_train_is_refused(tmp_path, old, new, reason):
    copy = edited(RECIPES_DIR / "unified.toml", tmp_path, old, new)
    with pytest.raises(UserError, match=reason):
        load_recipe(copy)
