"""Every paper's rows can be run under its own recipe, and be set beside its claims."""

from pathlib import Path

import pytest

import methods
from bench.cli.main import main
from bench.config import search_space
from bench.config.recipe import load_recipe
from bench.papers.claims import load_claims, paper_names
from bench.papers.layouts import expand_table, load_layouts
from bench.records.schema import RATE_NAMES

EARLIER = {"spt2024", "vpt2022"}  # their rows are planned by the tests of plans and studies
OWN = [p for p in paper_names() if load_layouts(p).paper.recipe == p and p not in EARLIER]
BACKBONE = "vit_mini_sup"


def rows(paper: str) -> list[tuple[str, str]]:
    """The method and the fixed fields of each row of the paper's tables."""
    tables = filter(None, map(expand_table, load_layouts(paper).table))
    return sorted({(e.method, e.fields) for table in tables for e in table.entries()})


@pytest.mark.parametrize("paper", OWN)
def test_each_point_that_its_recipe_tries_is_one_that_the_method_can_have(paper: str) -> None:
    recipe = load_recipe(paper)
    of_claims = {claim.entry.method: claim.entry.fixed_fields for claim in load_claims(paper)}
    for name, fixed in of_claims.items():
        for point in search_space.all_points(recipe, name):
            own = {axis: value for axis, value in point.items() if axis not in RATE_NAMES}
            known = vars(methods.create(name))
            methods.create(name, **{**recipe.fields_of(name, known), **fixed, **own})


@pytest.mark.sample(3)
@pytest.mark.parametrize("paper", OWN)
def test_its_rows_are_planned_under_its_recipe(
    paper: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in dict.fromkeys(name for name, _ in rows(paper)):
        words = ["run", "--suite", "mini", "--tasks", "digits", "--backbones", BACKBONE]
        words += ["--recipe", paper, "--methods", name, "--dry-run", "--results", str(tmp_path)]
        words += ["--no-tune"] if name != "sensitivity_lora" else []  # the others take long
        assert main(words) == 0, capsys.readouterr().err
        assert name in capsys.readouterr().out


@pytest.mark.sample(3)
@pytest.mark.parametrize("paper", OWN)
def test_its_tables_are_written_beside_its_claims(
    paper: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "records").mkdir()
    words = ["--paper", paper, "--results", str(tmp_path)]
    assert main(["report", "--against", *words]) == 0
    assert main(["claims", *words]) == 0
    claims = load_claims(paper)
    assert f"{paper}: {len(claims)} claims: {len(claims)} not run" in capsys.readouterr().out
    written = {path.name for path in (tmp_path / "papers" / paper).glob("*.csv")}
    assert written >= {f"{table.id}_against.csv" for table in load_layouts(paper).table}
