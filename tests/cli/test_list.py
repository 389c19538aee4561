"""`list`: methods, suites, tasks, recipes, backbones and studies."""

import pytest

import methods
from bench.cli import main
from bench.config.backbone import backbone_cards
from bench.config.loading import RECIPES_DIR, SUITES_DIR, card_names
from bench.config.suite import load_suite


def listed(capsys, *words: str) -> list[str]:
    """The first word of each line that `list` prints."""
    assert main.main(["list", *words]) == 0
    return [line.split()[0] for line in capsys.readouterr().out.splitlines()]


def test_list_names_every_method_suite_recipe_and_backbone(capsys):
    assert listed(capsys, "methods") == methods.names()
    assert listed(capsys, "suites") == card_names(SUITES_DIR)
    assert listed(capsys, "recipes") == card_names(RECIPES_DIR)
    found = [name for name in listed(capsys, "backbones") if not name.endswith(":")]
    assert sorted(found) == sorted(backbone_cards())


def test_backbones_are_listed_by_family(capsys):
    assert main.main(["list", "backbones"]) == 0
    families, below = [], {}
    for line in capsys.readouterr().out.splitlines():
        if not line.startswith(" "):
            families.append(line.removesuffix(":"))
        else:
            below[line.split()[0]] = families[-1]
    assert below == {name: card.family for name, card in backbone_cards().items()}
    assert len(families) == len(set(families)) == len({c.family for c in backbone_cards().values()})


def test_list_names_the_tasks_of_one_suite_or_of_all(capsys):
    assert listed(capsys, "tasks", "--suite", "vtab1k") == ["vtab1k"] * 19
    assert set(listed(capsys, "tasks")) == set(card_names(SUITES_DIR))
    assert main.main(["list", "tasks", "--suite", "mini"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [task.name for task in load_suite("mini").task]


def test_a_kind_that_cannot_be_listed_is_refused_with_those_that_can(capsys):
    with pytest.raises(SystemExit) as end:
        main.main(["list", "optimisers"])
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("bench: argument what: invalid choice: 'optimisers'")
    assert err.count("\n") == 1


def test_studies_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["list", "studies"]) == 0
    assert "spt2024/fig3c" in capsys.readouterr().out
