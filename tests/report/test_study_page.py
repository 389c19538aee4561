"""Studies: their cards, their cells, and what is shown of them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from scipy import stats

from bench.cli import main
from bench.config.loading import RECIPES_DIR
from bench.config.overrides import override_recipe
from bench.config.recipe import load_recipe
from bench.config.suite import Suite, Task, load_suite
from bench.data import splits
from bench.execution import jobs, selection, study_plan
from bench.execution.plan import Request
from bench.papers.study import (
    STAND_IN_SUITE,
    Grid,
    OurValue,
    PrintedNumber,
    Study,
    StudyFigure,
    load_study,
    study_names,
    with_stand_ins,
)
from bench.records import measurements, store
from bench.records.schema import Outcome, Record
from bench.records.store import Store
from bench.report import study_data, study_numbers, study_page
from bench.report.frame import record_frame
from bench.utils.errors import UserError
from support import synthetic_records, tiny

pytestmark = pytest.mark.usefixtures("no_picture")

FIGURE = '{ kind = "curves", x = "epoch", value = "nmi", lines = ["method"] }'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny suite, and a recipe of two epochs for it."""
    made = tiny.write_all(tmp_path_factory.mktemp("cards"))
    text = (RECIPES_DIR / "quick.toml").read_text()
    changes = {"epochs        ": 2, "warmup_epochs ": 0}
    for name, value in changes.items():
        before = next(line for line in text.splitlines() if line.startswith(name.strip()))
        text = text.replace(before, f"{name.strip()} = {value}")
    (made / "short.toml").write_text(text.replace('"auto"', '"fp32"'))
    return made


def study(folder: Path, name: str = "own", **changed: str) -> Path:
    """A study card over the tiny suite; `changed` are its lines, as TOML."""
    lines = {
        "title": '"Own"',
        "shows": '"nothing"',
        "recipe": json.dumps(str(folder / "short.toml")),
        "figure": '{ kind = "curves", x = "prompts", value = "accuracy", lines = ["method"] }',
    }
    grid = {
        "suite": json.dumps(str(folder / "tiny.toml")),
        "methods": '["vpt_deep", "spt_deep"]',
        "backbones": json.dumps([str(folder / "small.toml")]),
        "tasks": '["light"]',
        "seeds": "[0, 1]",
        "vary": "{ prompts = [2, 3] }",
    }
    grid |= {k: changed[k] for k in ("quick", "seed") if k in changed}
    top = {k: v for k, v in {**lines, **changed}.items() if k not in grid}
    below = {k: v for k, v in {**grid, **changed}.items() if k not in top}
    path = folder / f"{name}.toml"
    text = "\n".join(f"{k} = {v}" for k, v in top.items())
    path.write_text(text + "\n[[grid]]\n" + "\n".join(f"{k} = {v}" for k, v in below.items()))
    return path


def run(folder: Path, results: Path, card: Path, *more: str) -> int:
    places = ("--data-root", str(folder / "data"), "--results", str(results))
    return main.main(
        ["run", "--study", str(card), *places, "--device", "cpu", "--workers", "0", *more]
    )


def shortened(grid: Grid) -> Grid:
    """One seed, and the ends of what is varied."""
    return replace(grid, seeds=[0], vary={k: [v[0], v[-1]] for k, v in grid.vary.items()})


def common(folder: Path) -> Request:
    return Request(root=folder / "data")


@pytest.mark.parametrize("name", study_names())
def test_every_study_has_cells_under_quick(name: str, tmp_path: Path) -> None:
    named = load_study(name)
    mapped, _ = with_stand_ins(name, named.study)
    first = replace(mapped, grid=[shortened(grid) for grid in mapped.grid])
    planned = study_plan.plan_study(first, Request(), Store(tmp_path))
    assert planned.cells
    assert {cell.suite.name for cell in planned.cells} == {STAND_IN_SUITE}
    assert {cell.settings.recipe["name"] for cell in planned.cells} == {"quick"}


@pytest.mark.parametrize("name", study_names())
def test_every_study_names_known_things_of_the_paper(name: str) -> None:
    found = load_study(name).study
    selection.require_known_methods(method for grid in found.grid for method in grid.methods)
    cells = list(study_data.study_cells(found, {}))
    assert cells, "suites, tasks and fields of recipes are looked up on the way"
    for grid in found.grid:
        for task in [*grid.tasks, *(t for of in grid.tasks_as.values() for t in of)]:
            load_suite(grid.suite).find(task)


def test_the_papers_analyses_are_all_there() -> None:
    ids = {name.partition("/")[2] for name in study_names() if name.startswith("spt2024/")}
    of_tables = {"table1", "table4a", "table4b", "tableS2"}
    assert ids == of_tables | {
        *("fig2", "fig3a", "fig3b", "fig3c", "fig3d", "fig4"),
        *("figS1a", "figS1b", "figS1c", "figS3", "figS4"),
        *("control", "convergence"),
    }


def test_a_papers_table_is_filled_by_its_study() -> None:
    """Each cell of the layouts is a place of the study."""
    from bench.papers import layouts

    for name in ("table1", "table4a", "table4b", "tableS2"):
        found = load_study(f"spt2024/{name}").study
        places = [
            (p["suite"], p["task"], p["backbone"], p["method"], p.get("share"))
            for p, _ in study_data.study_cells(found, {})
        ]
        table = next(t for t in layouts.load_layouts("spt2024").table if t.id == name)
        for place in layouts.expand_table(table).entries():
            share = float(place.fields.partition("=")[2]) if place.fields else None
            assert (place.suite, place.on, place.backbone, place.method, share) in places


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"measure": '["nmy"]'}, "no measurement 'nmy'; did you mean nmi?"),
        ({"methods": '["vpt_dep"]'}, "no method 'vpt_dep'; did you mean vpt_deep"),
        (
            {"vary": "{ prompt = [2] }", "figure": FIGURE.replace("epoch", "prompt")
             .replace("nmi", "accuracy")},
            "no field 'prompt'; did you mean prompts",
        ),
        ({"vary": "{ prompts = [0] }"}, "prompts"),
        ({"vary": "{ prompts = [] }"}, "vary.prompts must have at least one value"),
        ({"tasks": '["ligth"]'}, "did you mean light?"),
        ({"seed": "[0]"}, "grid.0.seed: no entry 'seed'; did you mean seeds?"),
        ({"quick": "{ task = [] }"}, "no entry of a grid 'task'; did you mean tasks"),
        (
            {"figure": '{ kind = "curves", x = "promts", value = "accuracy" }'},
            "no axis 'promts'; did you mean prompts?",
        ),
        ({"figure": FIGURE}, "no value 'nmi'"),
        ({"mesure": '["nmi"]'}, "no entry 'mesure'; did you mean measure?"),
        ({"figure": '{ kind = "pie", x = "prompts", value = "accuracy" }'}, "figure.kind"),
        ({"table": '"table1"'}, "either a table or a figure"),
        ({"tune": "true", "measure": '["nmi"]'}, "a study that tunes measures nothing"),
        ({"tune": "true", "search": "{ lr = [-1] }"}, "search.lr needs values above 0, each once"),
        ({"search": "{ lr = [0.1] }"}, "search says what trials search, and without tune there"),
        ({"against": '["spt_dep"]'}, "no method of the study 'spt_dep'; did you mean spt_deep"),
        (
            {"tune": "true", "vary": "{ lr = [0.1] }", "figure": FIGURE.replace("epoch", "lr")
             .replace("nmi", "accuracy")},
            "--set lr fixes what trials are to choose",
        ),
        ({"measure": '["nmi"]', "methods": '["linear"]', "vary": "{}", "figure": FIGURE},
         "nmi needs prompts; linear has none"),
    ],
)  # fmt: skip
def test_a_card_at_fault_is_told_before_any_compute(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, str],
    said: str,
) -> None:
    assert run(folder, tmp_path, study(folder, "wrong", **changed)) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--no-tune",), "--tune cannot go with --study"),
        (("--methods", "linear"), "--methods cannot go with --study"),
        (("--set", "epochs=1"), "--set cannot go with --study"),
        (("--tune",), "--tune cannot go with --study"),
        (("--halving",), "--halving cannot go with --study"),
        (("--seeds", "0,7"), "the study has the seeds 0, 1; 7 was asked for"),
    ],
)
def test_options_that_the_card_decides_are_refused(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    assert run(folder, tmp_path, study(folder), *words) == 2
    assert said in capsys.readouterr().err


def test_an_unknown_study_is_told_near_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["run", "--study", "spt2024/tabel1", "--dry-run"]) == 2
    assert "did you mean spt2024/table1" in capsys.readouterr().err


def test_quick_without_a_study_means_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["run", "--quick", "--dry-run"]) == 2
    assert "name it with --study" in capsys.readouterr().err


def test_studies_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["list", "studies"]) == 0
    assert "spt2024/fig3c" in capsys.readouterr().out


def test_a_study_runs_its_cells_once_and_shows_them(folder: Path, tmp_path: Path) -> None:
    card = study(folder)
    assert run(folder, tmp_path, card) == 0
    records = {path: path.stat().st_mtime_ns for path in Store(tmp_path).files()}
    table = pd.read_csv(tmp_path / "studies" / "own.csv")
    assert len(records) == 8
    assert list(zip(table["method"], table["prompts"], table["seeds"], strict=True)) == [
        (method, prompts, 2) for prompts in (2, 3) for method in ("vpt_deep", "spt_deep")
    ]
    page = (tmp_path / "studies" / "own.md").read_text()
    assert "8 of 8 cells have what is shown" in page
    assert (tmp_path / "studies" / "own.svg").read_text().startswith("<?xml")
    assert run(folder, tmp_path, card) == 0
    assert {path: path.stat().st_mtime_ns for path in Store(tmp_path).files()} == records


def test_a_study_with_measures_is_done_when_both_are_there(folder: Path, tmp_path: Path) -> None:
    changed = {"measure": '["nmi", "validation"]', "figure": FIGURE, "vary": "{ prompts = [2] }"}
    card = study(folder, "seen", **changed)
    assert run(folder, tmp_path, card, "--seeds", "0") == 0
    loaded = load_study(str(card)).study
    asked = replace(common(folder), seeds=[0])
    assert not study_plan.plan_study(loaded, asked, Store(tmp_path)).pending()
    found = sorted(tmp_path.glob(f"{measurements.MEASURES_DIR}/*/nmi.json"))
    assert len(found) == 2
    found[0].unlink()
    assert len(study_plan.plan_study(loaded, asked, Store(tmp_path)).pending()) == 1
    assert run(folder, tmp_path, card, "--seeds", "0") == 0
    assert found[0].is_file()
    page = (tmp_path / "studies" / "seen.md").read_text()
    assert "reaches the last accuracy of" in page
    assert "(seen.convergence.png)" in page
    assert (tmp_path / "studies" / "seen.convergence.png").is_file()
    _require_begun_at_the_start(loaded, tmp_path)


def cells_of(study: Study, results: Path) -> list[study_data.StudyCell]:
    """The study's cells with the records of a results folder."""
    records = study_data.records_by_cell(record_frame(store.read_valid(Store(results))[0]))
    return study_data.study_cells(study, records)


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


def test_a_cell_that_is_measured_is_one_processs(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = study(folder, measure='["nmi"]', figure=FIGURE)
    assert run(folder, tmp_path, card, "--processes", "2", "--dry-run") == 2
    assert "leave out --processes" in capsys.readouterr().err


def test_a_cell_that_cannot_be_observed_fails_and_keeps_its_record(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {"vary": "{ prompts = [2] }", "seeds": "[0]", "methods": '["vpt_deep"]'}
    assert run(folder, tmp_path, study(folder, "plain", **plain)) == 0
    (path,) = Store(tmp_path).files()
    before = path.read_bytes()

    def broken(*_: object) -> None:
        raise RuntimeError("no memory for tokens")

    monkeypatch.setattr("bench.training.measures.layerwise.nmi_by_layer", broken)
    card = study(folder, "broken", **plain, measure='["nmi"]', figure=FIGURE)
    assert run(folder, tmp_path, card) == 1
    assert path.read_bytes() == before


def test_cells_in_workers_are_observed(folder: Path) -> None:
    """A job takes along what is to be measured, and its cell has the digest that it has without."""
    card = study(folder, measure='["nmi"]', figure=FIGURE)
    cell = study_plan.plan_study(load_study(str(card)).study, common(folder), Store(folder)).cells[
        0
    ]
    job = jobs.parse_job(jobs.job_for(cell, "cpu").to_json())
    assert job.observed == ["nmi"]
    assert jobs.resolve_cell(job).measurements == ("nmi",)
    assert jobs.resolve_cell(job).settings == cell.settings


def test_a_share_of_the_images_is_a_setting_and_the_whole_goes_unsaid(folder: Path) -> None:
    card = study(folder, vary="{ train_share = [0.5, 1.0] }", methods='["linear"]', seeds="[0]",
                 figure='{ kind = "curves", x = "train_share", value = "accuracy" }')  # fmt: skip
    half, whole = study_plan.plan_study(
        load_study(str(card)).study, common(folder), Store(folder)
    ).cells
    assert half.settings.recipe["train_share"] == 0.5
    assert "train_share" not in whole.settings.recipe
    assert half.settings.digest() != whole.settings.digest()


def test_a_share_takes_as_much_of_each_class_and_smaller_ones_lie_within_larger() -> None:
    labels = torch.tensor([0] * 10 + [1] * 5 + [2])
    examples = splits.Examples(labels, torch.arange(16, dtype=torch.uint8).view(-1, 1, 1, 1))
    tenth, half = (
        splits.stratified_subset(examples, 0.1, seed=3),
        splits.stratified_subset(examples, 0.5, seed=3),
    )
    assert half.labels.bincount().tolist() == [5, 3, 1]
    assert tenth.labels.bincount().tolist() == [1, 1, 1]
    numbers = [set(one.pixels.flatten().tolist()) for one in (tenth, half)]
    assert numbers[0] < numbers[1]
    other = splits.stratified_subset(examples, 0.5, seed=4).pixels.flatten().tolist()
    assert set(other) != numbers[1]


def test_a_share_of_files_keeps_what_belongs_together() -> None:
    names = tuple("abcd")
    paths = tuple(Path(name) for name in names)
    examples = splits.Examples(torch.tensor([0, 1, 0, 1]), None, paths, (), names, names)
    found = splits.subset(examples, torch.tensor([3, 0]))
    assert found.labels.tolist() == [1, 0]
    assert found.files == (Path("d"), Path("a"))
    assert found.names == found.origins == ("d", "a")


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(UserError, match="train_share is above 0 and at most 1"):
        override_recipe(load_recipe("quick"), {"train_share": share})


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
    card = study(folder, "narrow", vary="{ prompts = [2] }", seeds="[0]")
    loaded = load_study(str(card)).study
    assert run(folder, tmp_path, card) == 0
    more = tiny.command("run", folder, tmp_path, "vpt_deep", "--set", "prompts=2")
    assert main.main(more) == 0  # one epoch, where the study's recipe has two
    wide = study(folder, "wide", vary="{ prompts = [2], dropout = [0.5] }", methods='["vpt_deep"]',
                 seeds="[0]")  # fmt: skip
    assert run(folder, tmp_path, wide) == 0
    records, _ = store.read_valid(Store(tmp_path))
    assert len(records) == 4
    assert len(study_data.outcome_frame(loaded, cells_of(loaded, tmp_path))) == 2


def test_a_study_that_tunes_has_trials_first_and_shows_what_they_chose(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {"tune": "true", "against": '["vpt_deep"]', "vary": "{ prompts = [2] }"}
    card = study(folder, "tuned", **changed)
    assert run(folder, tmp_path, card, "--dry-run") == 0
    assert "6 of 6 trials to run" in capsys.readouterr().out
    card = study(folder, "tuned", search="{ lr = [0.01, 0.1] }", **changed)
    assert run(folder, tmp_path, card) == 0
    records, _ = store.read_valid(Store(tmp_path))
    assert len(records) == 4
    assert all(record.tuned and len(record.tuned.trials) == 2 for record in records)
    assert {record.settings.rates["lr"] for record in records} <= {0.01, 0.1}
    page = (tmp_path / "studies" / "tuned.md").read_text()
    assert "4 of 4 cells have what is shown" in page
    rates = {record.settings.method: record.settings.rates["lr"] for record in records}
    for method, rate in rates.items():
        assert any(method in line and f" lr {rate:g}" in line for line in page.splitlines())
    assert "(tuned.trials.png)" in page
    assert (tmp_path / "studies" / "tuned.trials.png").is_file()
    _require_trials_shown(page, records)
    apart = pd.read_csv(tmp_path / "studies" / "tuned.differences.csv")
    assert list(apart["method"]) == ["spt_deep"]
    assert list(apart["pairs"]) == [2]
    assert run(folder, tmp_path, card) == 0
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


def test_tuned_cells_are_no_part_of_a_study_that_does_not_tune(
    folder: Path, tmp_path: Path
) -> None:
    plain = {"vary": "{ prompts = [2] }", "methods": '["vpt_deep"]', "seeds": "[0]"}
    tuned = study(folder, "with", tune="true", **plain)
    untuned = study(folder, "without", **plain)
    assert run(folder, tmp_path, tuned) == 0
    studies = [load_study(str(card)).study for card in (tuned, untuned)]
    found = [study_data.outcome_frame(one, cells_of(one, tmp_path)) for one in studies]
    assert list(map(len, found)) == [1, 0]


def test_differences_are_paired_by_all_but_the_method() -> None:
    pairs = [("light", 0), ("light", 1), ("dark", 0)]
    base, more = (70.0, 60.0, 50.0), (1.0, 2.0, 6.0)
    rows = [("a", *pair, value) for pair, value in zip(pairs, base, strict=True)]
    rows += [("b", *pair, x + y) for pair, x, y in zip(pairs, base, more, strict=True)]
    rows += [("b", "dark", 1, 99.0)]  # without a partner
    frame = pd.DataFrame(rows, columns=["method", "task", "seed", "accuracy"])
    [found] = study_numbers.paired_differences(frame, ["task", "seed"], "accuracy", ["a"]).to_dict(
        "records"
    )
    low, high = stats.ttest_rel([71.0, 62.0, 56.0], base).confidence_interval(0.95)
    assert (found["method"], found["against"], found["pairs"]) == ("b", "a", 3)
    assert (found["mean"], found["low"], found["high"]) == pytest.approx((3.0, low, high))


def test_a_single_pair_has_no_interval_and_no_pair_no_row() -> None:
    frame = pd.DataFrame({"method": ["a", "b"], "seed": [0, 0], "accuracy": [1.0, 3.0]})
    [found] = study_numbers.paired_differences(frame, ["seed"], "accuracy", ["b"]).to_dict(
        "records"
    )
    assert found["mean"] == -2
    assert pd.isna(found["low"])
    assert not len(
        study_numbers.paired_differences(frame.assign(seed=[0, 1]), ["seed"], "accuracy", ["b"])
    )
    assert not len(study_numbers.paired_differences(frame[:0], ["seed"], "accuracy", ["b"]))


PRINTED_ROWS = [
    ({"take": "best", "of": "vpt_deep"}, "prompts", "3 prompts"),
    ({"take": "worst", "of": "vpt_deep"}, "prompts", "2 prompts"),
    ({"take": "range", "of": "vpt_deep"}, "%", "7 points"),
    ({"take": "lead", "of": "spt_deep", "other": "vpt_deep"}, "%", "3 points"),
    ({"take": "lead", "of": "spt_deep", "other": "vpt_deep", "at": 2}, "%", "9 points"),
    ({"take": "value", "of": "spt_deep", "at": 3, "value": "init_seconds"}, "d", "2 d"),
    ({"take": "lead", "of": "spt_deep", "other": "vpt_deep", "at": 4}, "%", ""),
]


def outcome_of(accuracy: float) -> Outcome:
    """Of a cell that took two days to start."""
    record = synthetic_records.record("vpt_deep", "vit", *fgvc_and_cub())
    assert record.outcome is not None
    return replace(record.outcome, accuracy=accuracy, init_seconds=172_800.0)


def fgvc_and_cub() -> tuple[Suite, Task]:
    suite = synthetic_records.SUITES["fgvc"]
    return suite, suite.find("cub")


@pytest.mark.parametrize(("ours", "unit", "said"), PRINTED_ROWS)
def test_beside_a_printed_number_stands_what_answers_to_it(
    folder: Path, ours: dict[str, Any], unit: Any, said: str
) -> None:
    loaded = load_study(str(study(folder, "beside"))).study
    means = {("vpt_deep", 2): 50.0, ("vpt_deep", 3): 57.0, ("spt_deep", 2): 59.0,
             ("spt_deep", 3): 60.0}  # fmt: skip
    one = PrintedNumber("it", 1.0, unit, OurValue(**ours))
    blank = synthetic_records.record("vpt_deep", "vit", *fgvc_and_cub())
    found = [
        (place, replace(blank, outcome=outcome_of(means[place["method"], place["prompts"]])))
        for place, _ in study_data.study_cells(loaded, {})
    ]
    assert study_numbers.our_value(one, loaded, found) == said
    undone = [(place, None) for place, _ in found]
    assert study_numbers.our_value(one, loaded, undone) == "", "no cell has a result"


def test_a_figure_says_what_places_its_values() -> None:
    figure = StudyFigure("heat map", "token_layer", "cka", "layer", panels=["method"])
    assert figure.axes() == ["method", "layer", "token_layer"]
    with pytest.raises(ValueError, match="a heat map has a y"):
        StudyFigure("heat map", "token_layer", "cka")
