"""The page of a study after a run: its table, figures, training curves and trials."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bench.cli import main
from bench.execution import study_plan
from bench.papers.study import (
    Study,
    StudyFigure,
    load_study,
)
from bench.records import measurements, store
from bench.records.schema import Record
from bench.records.store import Store
from bench.report import study_data, study_numbers, study_page
from support.study_cards import FIGURE, cells_of, run_study, study_card, tiny_request, write_cards

pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny suite, and a recipe of two epochs for it."""
    return write_cards(tmp_path_factory.mktemp("cards"))


def test_a_study_runs_its_cells_once_and_shows_them(folder: Path, tmp_path: Path) -> None:
    card = study_card(folder)
    assert run_study(folder, tmp_path, card) == 0
    records = {path: path.stat().st_mtime_ns for path in Store(tmp_path).files()}
    table = pd.read_csv(tmp_path / "studies" / "own.csv")
    assert len(records) == 8
    assert list(zip(table["method"], table["prompts"], table["seeds"], strict=True)) == [
        (method, prompts, 2) for prompts in (2, 3) for method in ("vpt_deep", "spt_deep")
    ]
    page = (tmp_path / "studies" / "own.md").read_text(encoding="utf-8")
    assert "8 of 8 cells are available" in page
    assert (tmp_path / "studies" / "own.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert run_study(folder, tmp_path, card) == 0
    assert {path: path.stat().st_mtime_ns for path in Store(tmp_path).files()} == records


def test_a_study_with_measures_is_done_when_both_are_there_and_can_be_read(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {"measure": '["nmi", "validation"]', "figure": FIGURE, "vary": "{ prompts = [2] }"}
    card = study_card(folder, "seen", **changed)
    assert run_study(folder, tmp_path, card, "--seeds", "0") == 0
    loaded = load_study(str(card)).study
    asked = replace(tiny_request(folder), seeds=[0])
    assert not study_plan.plan_study(loaded, asked, Store(tmp_path)).pending()
    found = sorted(tmp_path.glob(f"{measurements.MEASURES_DIR}/*/nmi.json"))
    assert len(found) == 2
    found[0].write_text("{", encoding="utf-8")
    assert main.main(["report", "--results", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert said.count(f"{found[0]} is not a file of measures: ") == 1
    assert "a run of its study measures the cell again" in said
    assert len(study_plan.plan_study(loaded, asked, Store(tmp_path)).pending()) == 1
    assert run_study(folder, tmp_path, card, "--seeds", "0") == 0
    assert not measurements.unreadable_measurements(tmp_path)
    page = (tmp_path / "studies" / "seen.md").read_text(encoding="utf-8")
    assert "reaches the last accuracy of" in page
    assert "(seen.convergence.png)" in page
    assert (tmp_path / "studies" / "seen.convergence.png").is_file()
    _require_begun_at_the_start(loaded, tmp_path)


def _require_begun_at_the_start(study: Study, results: Path) -> None:
    """Seconds on the page begin with the initialisation, and no value is there before an epoch."""
    cells = cells_of(study, results)
    begun = study_data.outcome_frame(study, cells).set_index("method")["init_seconds"]
    measured = study_data.measurement_frame(study, cells, results, "validation").set_index(
        ["method", "epoch"]
    )
    trained = study_numbers.training_frame(study, cells, results)
    for value, found in study_numbers.training_curves(study, trained).items():
        lines = found.set_index(["method", "epoch"])
        assert set(found["epoch"]) == {*measured.dropna(subset=[value]).index.unique("epoch")}
        for (method, epoch), line in lines.iterrows():
            seconds = measured.loc[(method, epoch), "seconds"] + begun[method]
            assert line["seconds"] == pytest.approx(seconds)


def test_a_study_that_tunes_has_trials_first_and_shows_what_they_chose(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {"tune": "true", "against": '["vpt_deep"]', "vary": "{ prompts = [2] }"}
    card = study_card(folder, "tuned", **changed)
    assert run_study(folder, tmp_path, card, "--dry-run") == 0
    assert "6 of 6 trials to run" in capsys.readouterr().out
    card = study_card(folder, "tuned", search="{ lr = [0.01, 0.1] }", **changed)
    assert run_study(folder, tmp_path, card) == 0
    records, _ = store.read_valid(Store(tmp_path))
    assert len(records) == 4
    assert all(record.tuned and len(record.tuned.trials) == 2 for record in records)
    assert {record.settings.rates["lr"] for record in records} <= {0.01, 0.1}
    page = (tmp_path / "studies" / "tuned.md").read_text(encoding="utf-8")
    assert "4 of 4 cells are available" in page
    rates = {record.settings.method: record.settings.rates["lr"] for record in records}
    for method, rate in rates.items():
        assert any(method in line and f" lr {rate:g}" in line for line in page.splitlines())
    assert "(tuned.trials.png)" in page
    assert (tmp_path / "studies" / "tuned.trials.png").is_file()
    _require_trials_shown(page, records)
    apart = pd.read_csv(tmp_path / "studies" / "tuned.differences.csv")
    assert list(apart["method"]) == ["spt_deep"]
    assert list(apart["pairs"]) == [2]
    assert run_study(folder, tmp_path, card) == 0
    assert store.read_valid(Store(tmp_path))[0] == records, "nothing is run again"


def test_many_names_have_a_row_each_and_many_numbers_are_thinned() -> None:
    figure = StudyFigure("bars", "method", "accuracy")
    values = {"mean": 50.0, "low": 49.0, "high": 51.0}
    named = pd.DataFrame([{"method": f"m{i}", **values} for i in range(12)])
    assert study_page._values_table(named, figure).count("50.00 ± 1.00") == 12
    numbered = named.assign(method=range(12))
    assert (
        study_page._values_table(numbered, figure).count("50.00 ± 1.00") == study_page.MAX_X_VALUES
    )


def _require_trials_shown(page: str, records: Sequence[Record]) -> None:
    """Each method has a row of what its trials found."""
    shown = page.partition("## Trials")[2].splitlines()
    for record in records:
        assert record.tuned
        found = [f"{trial.accuracy:.2f}" for trial in record.tuned.trials]
        rows = [line.split("|") for line in shown if f"| {record.settings.method} " in line]
        assert [[cell.strip() for cell in row[-3:-1]] for row in rows] == [found]
