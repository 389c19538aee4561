"""Which of a recipe's rates and fields are a method's: its own, its family's, or everyone's."""

import json
from dataclasses import replace

import pytest
import tiny

from bench import cli
from bench.cards import family, load_recipe

pytestmark = pytest.mark.usefixtures("no_picture")

RECIPE = replace(
    load_recipe("quick"),
    lr=1.0,
    lr_of={"spt": 2.0, "spt_deep": 3.0, "lora": 4.0},
    fields={"all": {"dropout": 0.5, "prompts": 7}, "spt_deep": {"prompts": 9}},
)


@pytest.mark.parametrize(
    ("method", "rate"),
    [
        ("spt_deep", 3.0),
        ("spt_deep_kmeans", 3.0),  # the longest name that it extends
        ("spt_shallow", 2.0),
        ("lora", 4.0),
        ("lora_noah", 4.0),
        ("loras", 1.0),  # begins like lora, and is none of its family
        ("peft_lora", 1.0),
        ("bias", 1.0),
    ],
)
def test_a_method_has_the_rate_of_the_longest_name_that_it_is_or_extends(method, rate):
    assert RECIPE.rates(method) == {"lr": rate, "weight_decay": RECIPE.weight_decay}


def test_a_method_of_no_family_has_none():
    assert family("bias", ["spt", "spt_deep"]) == ""
    assert family("spt_deep_max", ["spt", "spt_deep"]) == "spt_deep"


def test_what_is_said_of_a_method_wins_over_what_is_said_of_all():
    known = ("prompts", "dropout")
    assert RECIPE.fields_of("spt_deep_max", known) == {"prompts": 9, "dropout": 0.5}
    assert RECIPE.fields_of("vpt_deep", known) == {"prompts": 7, "dropout": 0.5}
    assert RECIPE.fields_of("bias", ()) == {}


def test_a_run_is_at_the_rate_that_its_record_says(cards, tmp_path):
    """The recipe's own rate is 0.005, that of linear 0.02."""
    losses = {}
    for name, more in (("own", ()), ("set", ("--set", "lr=0.02")), ("all", ("--set", "lr=0.005"))):
        words = tiny.command("run", cards, tmp_path / name, "linear", "--set", "epochs=3", *more)
        assert cli.main(words) == 0
        [path] = (tmp_path / name / "records").rglob("*.json")
        record = json.loads(path.read_text())
        losses[name] = record["outcome"]["losses"]
        assert record["settings"]["rates"]["lr"] == (0.005 if name == "all" else 0.02)
    assert losses["own"] == losses["set"] != losses["all"]
