"""The cells and records of a study, and means and intervals over its seeds."""

from pathlib import Path

import pandas as pd
import pytest

from bench.cli import main
from bench.papers.study import (
    load_study,
)
from bench.records import store
from bench.records.store import Store
from bench.report import study_data
from support import tiny
from support.study_cards import cells_of, run_study, study_card, write_cards

pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny suite, and a recipe of two epochs for it."""
    return write_cards(tmp_path_factory.mktemp("cards"))


def test_intervals_are_students_over_seeds_after_a_mean_within_each() -> None:
    frame = pd.DataFrame(
        {
            "method": ["a"] * 6 + ["b"],
            "seed": [0, 0, 1, 1, 2, 2, 0],
            "layer": [0, 1] * 3 + [0],
            "nmi": [1.0, 3.0, 2.0, 4.0, 3.0, 5.0, 7.0],
        }
    )
    found = study_data.summarise_over_seeds(frame, ["method"], "nmi").set_index("method")
    half = 4.302653 * 1.0 / 3**0.5  # t of 2 degrees at 97.5 %, sd of 2, 3, 4
    assert found.loc["a", "mean"] == 3
    assert found.loc["a", "high"] - 3 == pytest.approx(half, rel=1e-6)
    assert 3 - found.loc["a", "low"] == pytest.approx(half, rel=1e-6)
    assert pd.isna(found.loc["b", "low"]), "one seed has no interval"


def test_records_of_another_recipe_or_other_fields_are_no_part_of_a_study(
    folder: Path, tmp_path: Path
) -> None:
    card = study_card(folder, "narrow", vary="{ prompts = [2] }", seeds="[0]")
    loaded = load_study(str(card)).study
    assert run_study(folder, tmp_path, card) == 0
    more = tiny.command("run", folder, tmp_path, "vpt_deep", "--set", "prompts=2")
    assert main.main(more) == 0  # one epoch, where the study's recipe has two
    dropout = {"vary": "{ prompts = [2], dropout = [0.5] }", "seeds": "[0]"}
    wide = study_card(folder, "wide", methods='["vpt_deep"]', **dropout)
    assert run_study(folder, tmp_path, wide) == 0
    records, _ = store.read_valid(Store(tmp_path))
    assert len(records) == 4
    assert len(study_data.outcome_frame(loaded, cells_of(loaded, tmp_path))) == 2


def test_tuned_cells_are_no_part_of_a_study_that_does_not_tune(
    folder: Path, tmp_path: Path
) -> None:
    plain = {"vary": "{ prompts = [2] }", "methods": '["vpt_deep"]', "seeds": "[0]"}
    tuned = study_card(folder, "with", tune="true", **plain)
    untuned = study_card(folder, "without", **plain)
    assert run_study(folder, tmp_path, tuned) == 0
    studies = [load_study(str(card)).study for card in (tuned, untuned)]
    found = [study_data.outcome_frame(one, cells_of(one, tmp_path)) for one in studies]
    assert list(map(len, found)) == [1, 0]
