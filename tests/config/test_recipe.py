"""Recipes: the papers' numbers, and rates and fields per method and per family."""

import json
from dataclasses import replace

import pytest

import methods
from bench.cli import main
from bench.config import search_space
from bench.config.recipe import Recipe, load_recipe
from bench.config.suite import load_suite
from bench.records.entries import TUNING_KEY
from bench.utils.text import longest_prefix
from support import tiny

pytestmark = pytest.mark.usefixtures("no_figures")

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
    assert longest_prefix("bias", ["spt", "spt_deep"]) == ""
    assert longest_prefix("spt_deep_max", ["spt", "spt_deep"]) == "spt_deep"


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
        assert main.main(words) == 0
        [path] = (tmp_path / name / "records").rglob("*.json")
        record = json.loads(path.read_text(encoding="utf-8"))
        losses[name] = record["outcome"]["losses"]
        assert record["settings"]["rates"]["lr"] == (0.005 if name == "all" else 0.02)
    assert losses["own"] == losses["set"] != losses["all"]


METHODS: dict[str, dict[str, object]] = {
    "adapter": {"width": 12, "place": "mlp", "activation": "gelu", "init": "identity"},
    "adapter_houlsby": {"width": 8, "place": "attn_and_mlp", "activation": "gelu"},
    "adapter_noah": {"width": 8, "activation": "quick_gelu", "init": "xavier", "dropout": 0.1},
    "adapter_vpt2022": {"width": 12, "init": "zeros", "dropout": 0.0},
    "adapter_plus": {"width": 8, "drop_path": 0.1},
    "adaptformer": {"width": 64, "scale": 0.1, "dropout": 0.1},
    "lora": {"rank": 8, "alpha": 8.0, "dropout": 0.0, "target": "qkv"},
    "lora_noah": {"rank": 8, "alpha": 8.0, "dropout": 0.1, "target": "qkv"},
    "lora_qv": {"rank": 8, "alpha": 8.0, "target": "q_and_v"},
    "fact_tt": {"rank": 16, "form": "tensor_train", "scale": 1.0, "dropout": 0.1},
    "fact_tk": {"rank": 32, "form": "tucker_interleaved", "scale": 1.0, "dropout": 0.1},
    "convpass": {"rank": 8, "scale": 1.0, "dropout": 0.1},
    "repadapter": {"rank": 8, "groups": 2, "scale": 1.0, "dropout": 0.1},
    "snf": {"flow_length": 1},
    "mlp3": {"hidden": 2, "dropout": 0.1},
    "partial1": {"blocks": 1},
    "mp": {"width": 512, "heads": 4, "rank": 0},
    "mp_plus": {"width": 512, "heads": 4, "rank": 16},
    "vqt": {"queries": 1, "dropout": 0.0, "gathered": "concatenated"},
    "vpt_shallow": {"prompts": 100, "deep": False, "frozen": False, "dropout": 0.0},
    "vpt_deep": {"prompts": 20, "deep": True, "frozen": False, "dropout": 0.0},
    "vpt_deep_frozen": {"prompts": 20, "deep": True, "frozen": True},
    "spt_shallow": {"prompts": 100, "deep": False, "strategy": "random", "share": None},
    "spt_deep": {"prompts": 20, "strategy": "random", "layers": "own", "replacement": False},
    "spt_deep_mean": {"prompts": 20, "strategy": "mean", "windows": "batch", "positions": True},
    "spt_deep_max": {"prompts": 20, "strategy": "max", "share": None},
    "spt_deep_kmeans": {"prompts": 20, "share": 1.0, "tokens": None, "layers": "own"},
    "spt_deep_first": {"strategy": "random", "layers": "first"},
    "spt_deep_last": {"strategy": "random", "layers": "last"},
    "spt_deep_frozen": {"frozen": True, "layers": "own"},
    "gatevpt": {"prompts": 100, "gate": -5.0},
    "e2vpt": {"prompts": 10, "pairs": 5, "dropout": 0.0},
    "e2vpt_pruned": {"prompts": 10, "pairs": 5, "token_share": 0.5, "importance": "absolute"},
}

RECIPES: dict[str, dict[str, object]] = {
    "unified": {
        "optimiser": "adamw",
        "lr": 5e-3,
        "weight_decay": 1e-2,
        "head_weight_decay": 1e-2,
        "batch": 32,
        "epochs": 100,
        "warmup_epochs": 10,
        "min_lr": 1e-8,
        "lr_per_batch": 0,
        "normalisation": "backbone",
        "head_init": "trunc_normal",
        "pooled_norm": "pretrained",
        "test_evaluations": 10,
        "lr_of": {"full": 1e-4},
        "train_share": 1.0,
    },
    "spt2024": {
        "optimiser": "adamw",
        "lr": 5e-3,
        "weight_decay": 1e-2,
        "head_weight_decay": 1.0,
        "batch": 32,
        "epochs": 100,
        "warmup_epochs": 10,
        "min_lr": 1e-8,
        "lr_per_batch": 0,
        "normalisation": "imagenet",
        "head_init": "trunc_normal",
        "pooled_norm": "pretrained",
        "test_evaluations": 100,
        "precision": "fp32",
        "lr_of": {"full": 1e-4},
    },
    "vpt2022": {
        "optimiser": "sgd",
        "lr": 2.5,
        "weight_decay": 1e-4,
        "head_weight_decay": 1e-4,
        "batch": 64,
        "epochs": 100,
        "warmup_epochs": 10,
        "min_lr": 0.0,
        "lr_per_batch": 256,
        "normalisation": "imagenet",
        "head_init": "vpt2022",
        "pooled_norm": "fresh",
        "precision": "fp32",
        "lr_of": {"full": 5e-3, "bias": 5e-3},
    },
    "vfpt2024": {
        "optimiser": "sgd",
        "lr": 2.5,
        "weight_decay": 0.0001,
        "batch": 64,
        "lr_per_batch": 256,
        "min_lr": 0.0,
        "normalisation": "imagenet",
        "head_init": "vpt2022",
        "pooled_norm": "fresh",
    },
    "vapt2026": {
        "optimiser": "sgd",
        "batch": 64,
        "lr_per_batch": 256,
        "head_init": "vpt2022",
        "pooled_norm": "fresh",
    },
    "vipamin2025": {
        "optimiser": "adamw",
        "weight_decay": 0.01,
        "batch": 32,
        "lr_per_batch": 256,
        "head_init": "vpt2022",
        "pooled_norm": "fresh",
    },
    "bpt2025": {
        "optimiser": "adamw",
        "batch": 128,
        "epochs": 100,
        "lr_per_batch": 0,
        "min_lr": 1e-08,
        "head_weight_decay": 1.0,
        "test_evaluations": 100,
    },
    "cvpt2025": {
        "optimiser": "adamw",
        "weight_decay": 0.05,
        "batch": 32,
        "min_lr": 1e-05,
        "test_evaluations": 10,
    },
    "sa2vp2024": {
        "lr": 0.001,
        "weight_decay": 0.0001,
        "batch": 64,
        "min_lr": 1e-07,
        "test_evaluations": 1,
    },
    "davpt2025": {"lr": 0.001, "head_weight_decay": 3.0, "batch": 32, "min_lr": 1e-09},
    "sensitivity2023": {
        "lr": 0.001,
        "weight_decay": 0.0001,
        "batch": 64,
        "min_lr": 1e-05,
        "normalisation": "imagenet",
    },
    "arc2023": {
        "lr": 0.01,
        "weight_decay": 0.0,
        "batch": 32,
        "min_lr": 0.0,
        "test_evaluations": 100,
    },
    "rlrr2024": {
        "batch": 32,
        "min_lr": 1e-08,
        "normalisation": "backbone",
        "test_evaluations": 100,
    },
    "gps2024": {
        "weight_decay": 0.0,
        "head_weight_decay": 0.0,
        "batch": 32,
        "min_lr": 1e-08,
        "test_evaluations": 100,
    },
    "pace2024": {
        "lr": 0.001,
        "weight_decay": 0.0001,
        "batch": 64,
        "epochs": 300,
        "warmup_epochs": 10,
        "min_lr": 1e-05,
    },
    "snell2024": {"lr": 0.001, "weight_decay": 0.01, "batch": 32, "epochs": 100, "min_lr": 1e-05},
    "biadapter2023": {
        "lr": 0.001,
        "weight_decay": 0.0001,
        "batch": 64,
        "min_lr": 1e-05,
        "normalisation": "none",
    },
    "dtl2024": {"weight_decay": 0.05, "batch": 32, "min_lr": 1e-08, "test_evaluations": 1},
}
VIEWS = {  # of a suite: training, test
    ("unified", "vtab1k"): ("squash", "squash"),
    ("spt2024", "vtab1k"): ("squash", "squash"),
    ("spt2024", "fgvc"): ("random_resized_crop_flip", "resize256_crop"),
    ("vpt2022", "fgvc"): ("random_crop_flip", "resize256_crop"),
    ("vipamin2025", "fgvc"): ("random_crop_flip", "resize256_crop"),
    ("davpt2025", "vtab1k"): ("short_side_crop", "short_side_crop"),
    ("gps2024", "vtab1k"): ("short_side_crop", "short_side_crop"),
    ("rlrr2024", "fgvc"): ("squash256_random_crop_flip", "squash256_crop"),
    ("sensitivity2023", "fgvc"): ("squash256_random_crop_flip", "squash256_crop"),
    ("snell2024", "fgvc"): ("random_resized_crop_flip", "resize256_crop"),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_registered_as_its_paper_has_it(name: str) -> None:
    method = methods.create(name)
    assert {field: getattr(method, field) for field in METHODS[name]} == METHODS[name]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_the_numbers_of_its_paper(name: str) -> None:
    recipe = load_recipe(name)
    assert {field: getattr(recipe, field) for field in RECIPES[name]} == RECIPES[name]


@pytest.mark.parametrize(("name", "suite"), VIEWS)
def test_a_recipe_has_the_views_of_its_paper(name: str, suite: str) -> None:
    views = load_recipe(name).views_for(suite)
    assert (views.train, views.test) == VIEWS[name, suite]


def test_vpt_s_code_drops_a_tenth_of_deep_prompts_and_pools_them() -> None:
    recipe: Recipe = load_recipe("vpt2022")
    known = ("pool_prompts", "dropout")
    assert recipe.fields_of("vpt_deep", known) == {"pool_prompts": True, "dropout": 0.1}
    assert recipe.fields_of("vpt_shallow", known)["pool_prompts"] is True


def test_vtab_learns_train_and_val_together_and_is_scored_on_test() -> None:
    lists = load_suite("vtab1k").lists
    assert lists == {
        "train": ["train800.txt"],
        "val": ["val200.txt"],
        "trainval": ["train800val200.txt"],
        "test": ["test.txt"],
    }


def test_a_search_is_recorded_with_the_grid_of_its_own_method_alone() -> None:
    recipe = replace(
        load_recipe("quick"),
        grid={"lr": [0.1, 0.2]},
        grid_of={"vpt_deep": {"lr": [0.3]}, "lora": {"rank": [4, 8]}},
    )
    searches = {
        method: search_space.tuned_protocol(recipe, "mini", "fp32", method)[TUNING_KEY]["grid_of"]
        for method in ("vpt_deep", "vpt_deep_gated", "lora", "bias")
    }
    assert searches == {
        "vpt_deep": {"vpt_deep": {"lr": [0.3]}},
        "vpt_deep_gated": {"vpt_deep": {"lr": [0.3]}},
        "lora": {"lora": {"rank": [4, 8]}},
        "bias": {},
    }
