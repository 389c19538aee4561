"""The papers' settings for each task: of known tasks and methods, sourced, and in the grids."""

import csv

import pytest

import methods
from bench.config.backbone import backbone_cards
from bench.config.recipe import Recipe, load_recipe
from bench.config.suite import load_suite
from bench.utils.files import REPO_ROOT

FOLDER = REPO_ROOT / "bench" / "papers"
PAPERS = [path.parent.name for path in sorted(FOLDER.glob("*/settings.csv"))]
KEYS, SOURCE = ["method", "backbone", "suite", "task"], "source"
RATES = "lr", "weight_decay"
# what a recipe or a method has no field for
ELSEWHERE = {
    *("drop_path", "vit_dropout", "flip", "ema", "seed"),
    *("num_prompts", "proxy_prompt_len", "bias_k", "bias_v"),  # as DA-VPT's code calls them
}
SUITES = {name: load_suite(name) for name in ("fgvc", "vtab1k")}


def settings(paper):
    with (FOLDER / paper / "settings.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def names_of(line):
    """The settings of a line that are not left out."""
    return [name for name in line if name not in (*KEYS, SOURCE) and line[name]]


@pytest.mark.sample(3)
@pytest.mark.parametrize("paper", PAPERS)
def test_a_line_is_of_a_known_method_backbone_and_task_with_a_source(paper):
    for line in settings(paper):
        assert line["method"] in methods.names()
        assert line["backbone"] in backbone_cards()
        assert line["task"] in [task.name for task in SUITES[line["suite"]].task]
        repository, _, place = line[SOURCE].partition(" ")
        assert "/" in repository
        assert place


@pytest.mark.parametrize("paper", PAPERS)
def test_a_setting_is_a_field_of_the_method_or_of_recipes_or_named_here(paper):
    fields = set(Recipe.__dataclass_fields__) | ELSEWHERE
    for line in settings(paper):
        own = set(vars(methods.create(line["method"])))
        assert set(names_of(line)) <= fields | own, line


@pytest.mark.parametrize("paper", PAPERS)
def test_what_is_searched_under_the_papers_recipe_holds_what_the_paper_set(paper):
    recipe = load_recipe(paper)
    for line in settings(paper):
        searched = {**recipe.grid, **recipe.grid_of.get(line["method"], {})}
        for name in set(names_of(line)) & set(searched):
            assert float(line[name]) in searched[name], line
        for name in set(RATES) - set(searched):
            assert not line.get(name) or float(line[name]) == recipe.rates(line["method"])[name]


@pytest.mark.parametrize("paper", PAPERS)
def test_no_value_is_searched_that_the_paper_set_nowhere(paper):
    """But for those of searches that are published themselves."""
    recipe, lines = load_recipe(paper), settings(paper)
    for name, values in recipe.grid.items():
        if any(line.get(name) for line in lines):
            known = {float(line[name]) for line in lines if line[name]}
            assert set(values) - known <= {recipe.rates("")[name]}, name
