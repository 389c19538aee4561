"""`--set` on a recipe's preprocessing and other fields; the digests of committed records."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from bench.cli.main import main
from bench.config import search_space
from bench.config.overrides import is_recipe_field, override_recipe
from bench.config.recipe import Views, load_recipe
from bench.config.suite import load_suite
from bench.data import transforms
from bench.execution import plan
from bench.execution.plan import Request
from bench.records import schema
from bench.records.store import Store
from bench.utils.errors import UserError
from bench.utils.files import REPO_ROOT
from support import tiny


def test_the_vpt_code_resizes_vtab_as_tensorflow_and_fgvc_as_torchvision():
    recipe = load_recipe("vpt2022")
    assert recipe.views_for("vtab1k") == Views("squash", "squash", "tf1_bilinear")
    assert recipe.views_for("fgvc") == Views("random_crop_flip", "resize256_crop", "bilinear")


def committed() -> Iterator[dict[str, Any]]:
    for path in sorted((REPO_ROOT / "results" / "records").rglob("*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


@cache
def protocol(
    recipe: str, changes: str, suite: str, precision: str, method: str, is_tuned: bool
) -> dict[str, Any]:
    own = {k: v for k, v in json.loads(changes).items() if is_recipe_field(k)}
    changed = override_recipe(load_recipe(recipe), own)
    if is_tuned:
        return search_space.tuned_protocol(changed, suite, precision, method)
    return changed.protocol(suite, precision)


def test_every_committed_record_is_named_as_a_plan_names_it_today():
    found = list(committed())
    for record in found:
        settings, asked = record["settings"], record["request"]
        recipe = asked["recipe"] or load_suite(asked["suite"]).recipe
        changes, precision = json.dumps(asked["changes"]), settings["recipe"]["precision"]
        is_tuned = schema.TUNING_KEY in settings["recipe"]
        where = settings["suite"], precision, settings["method"]
        named = protocol(recipe, changes, *where, is_tuned)
        assert named == settings["recipe"]
    assert len(found) >= 437


def test_a_protocol_says_an_interpolation_unless_it_is_that_of_all_earlier_records():
    quick = load_recipe("quick")
    named = quick.protocol("mini", "fp32")
    assert named["view"] == {"train": "squash", "test": "squash"}
    for name in set(transforms.INTERPOLATIONS) - {"bicubic"}:
        changed = override_recipe(quick, {"views.default.interpolation": name})
        wanted = {"train": "squash", "test": "squash", "interpolation": name}
        assert changed.protocol("mini", "fp32") == {**named, "view": wanted}


def test_a_dotted_name_changes_an_entry_of_a_table_alone():
    recipe = load_recipe("vpt2022")
    changes = {"views.default.train": "short_side_crop", "fields.vpt_deep.dropout": 0.2}
    changed = override_recipe(recipe, changes)
    assert changed.views_for("mini") == Views("short_side_crop", "squash", "tf1_bilinear")
    assert changed.views_for("fgvc") == recipe.views_for("fgvc")
    assert changed.fields["vpt_deep"] == {"dropout": 0.2}
    assert recipe.views_for("mini").train == "squash"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("views.default.trian=squash", "'views.default.trian'; did you mean views.default.train"),
        ("views.defualt.train=squash", "'views.defualt.train'; did you mean views.default.train"),
        (
            "views.mini.train=squash",
            "no field 'views.mini.train'; did you mean views.default.train",
        ),
        ("veiws.default.train=squash", "did you mean views.default.train"),
        ("batch.size=3", "no field 'batch.size'; "),
        ("views.default.train=sqush", "--set: views.default.train: Input should be 'squash'"),
        ("views.default.test=random_crop_flip", "--set: views.default.test: Input should be"),
        ("views.default.interpolation=nearest", "Input should be 'bicubic', 'bilinear' or"),
        ("normalisation=clip", "Input should be 'backbone', 'imagenet' or 'none'"),
    ],
)
def test_a_change_that_cannot_be_is_refused_in_one_sentence(capsys, change, says):
    assert main(["run", "--dry-run", "--set", change]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert len(told.splitlines()) == 1


def test_a_change_of_another_suites_views_is_refused(tmp_path):
    request = Request("mini", recipe="vpt2022", changes={"views.fgvc.interpolation": "bicubic"})
    with pytest.raises(UserError, match=r"changes nothing of suite 'mini'.* are views\.default"):
        plan.make_plan(request, Store(tmp_path))


def test_a_changed_view_is_trained_with_and_written_down(tmp_path):
    tiny.write_all(tmp_path)
    results, change = tmp_path / "results", "views.default.interpolation=tf1_bilinear"
    for more in ((), ("--set", change)):
        assert main(tiny.command("run", tmp_path, results, "linear", *more)) == 0
    first, second = (found for _, found in Store(results).read_all())
    said = {record.settings.recipe["view"].get("interpolation") for record in (first, second)}
    assert said == {None, "tf1_bilinear"}
    board = (results / "leaderboard.md").read_text(encoding="utf-8")
    assert "tf1_bilinear" in board


def test_the_page_on_preprocessing_names_every_view_and_what_can_be_set():
    page = (REPO_ROOT / "docs" / "explained" / "preprocessing.md").read_text(encoding="utf-8")
    for name in (
        *transforms.DETERMINISTIC_GEOMETRIES,
        *transforms.RANDOM_GEOMETRIES,
        *transforms.INTERPOLATIONS,
    ):
        assert f"`{name}`" in page
    recipe, shown = load_recipe("vpt2022"), re.findall(r"--set (\S+)=(\S+)", page)
    assert len(shown) == 5
    for name, value in shown:
        assert override_recipe(recipe, {name: value}) != recipe


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(UserError, match="train_share: a number above 0, up to 1, was expected"):
        override_recipe(load_recipe("quick"), {"train_share": share})
