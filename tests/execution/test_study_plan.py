"""Runs of studies: planned cells, trials and measurements; errors before any compute."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import main
from bench.execution import jobs, study_plan
from bench.execution.plan import Request
from bench.papers.study import (
    STAND_IN_SUITE,
    Grid,
    load_study,
    study_names,
    with_stand_ins,
)
from bench.records.store import Store
from support.study_cards import FIGURE, run_study, study_card, tiny_request, write_cards

pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny suite, and a recipe of two epochs for it."""
    return write_cards(tmp_path_factory.mktemp("cards"))


def shortened(grid: Grid) -> Grid:
    """One seed, and the ends of what is varied."""
    return replace(grid, seeds=[0], vary={k: [v[0], v[-1]] for k, v in grid.vary.items()})


@pytest.mark.sample(4)
@pytest.mark.parametrize("name", study_names())
def test_every_study_has_cells_under_quick(name: str, tmp_path: Path) -> None:
    named = load_study(name)
    mapped, _ = with_stand_ins(name, named.study)
    first = replace(mapped, grid=[shortened(grid) for grid in mapped.grid])
    planned = study_plan.plan_study(first, Request(), Store(tmp_path))
    assert planned.cells
    assert {cell.suite.name for cell in planned.cells} == {STAND_IN_SUITE}
    assert {cell.settings.recipe["name"] for cell in planned.cells} == {"quick"}


@pytest.mark.sample(6)
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
        ({"tune": "true", "search": "{ lr = [-1] }"}, "search.lr.0: a number above 0"),
        ({"search": "{ lr = [0.1] }"}, "search says what trials search, and without tune there"),
        ({"against": '["spt_dep"]'}, "no method of the study 'spt_dep'; did you mean spt_deep"),
        (
            {"tune": "true", "vary": "{ lr = [0.1] }", "figure": FIGURE.replace("epoch", "lr")
             .replace("nmi", "accuracy")},
            "--set lr fixes what trials are to choose",
        ),
        ({"measure": '["nmi"]', "methods": '["linear"]', "vary": "{}", "figure": FIGURE},
         "nmi needs prompts; linear has none"),
        ({"measure": '["nmi"]', "backbones": '["swin_tiny_patch4_window7_224"]', "figure": FIGURE},
         "swin_tiny_patch4_window7_224 is a SwinTransformer, which has no one sequence of them"),
    ],
)  # fmt: skip
def test_a_faulty_card_is_refused_before_any_compute(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, str],
    said: str,
) -> None:
    assert run_study(folder, tmp_path, study_card(folder, "wrong", **changed)) == 2
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
    assert run_study(folder, tmp_path, study_card(folder), *words) == 2
    assert said in capsys.readouterr().err


def test_an_unknown_study_is_refused_with_near_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["run", "--study", "spt2024/tabel1", "--dry-run"]) == 2
    assert "did you mean spt2024/table1" in capsys.readouterr().err


def test_quick_without_a_study_means_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["run", "--quick", "--dry-run"]) == 2
    assert "name it with --study" in capsys.readouterr().err


def test_a_measured_cell_runs_in_one_process(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = study_card(folder, measure='["nmi"]', figure=FIGURE)
    assert run_study(folder, tmp_path, card, "--processes", "2", "--dry-run") == 2
    assert "leave out --processes" in capsys.readouterr().err


def test_a_cell_that_cannot_be_measured_fails_and_keeps_its_record(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {"vary": "{ prompts = [2] }", "seeds": "[0]", "methods": '["vpt_deep"]'}
    assert run_study(folder, tmp_path, study_card(folder, "plain", **plain)) == 0
    (path,) = Store(tmp_path).files()
    before = path.read_bytes()

    def broken(*_: object) -> None:
        raise RuntimeError("no memory for tokens")

    monkeypatch.setattr("bench.training.measures.layerwise.nmi_by_layer", broken)
    card = study_card(folder, "broken", **plain, measure='["nmi"]', figure=FIGURE)
    assert run_study(folder, tmp_path, card) == 1
    assert path.read_bytes() == before


def test_cells_in_workers_are_measured(folder: Path) -> None:
    """A job takes along what is to be measured, and its cell has the digest that it has without."""
    card = study_card(folder, measure='["nmi"]', figure=FIGURE)
    cell = study_plan.plan_study(
        load_study(str(card)).study, tiny_request(folder), Store(folder)
    ).cells[0]
    job = jobs.parse_job(jobs.job_for(cell, "cpu").to_json())
    assert job.observed == ["nmi"]
    assert jobs.resolve_cell(job).measurements == ("nmi",)
    assert jobs.resolve_cell(job).settings == cell.settings


def test_a_share_of_the_images_is_a_setting_and_the_whole_set_is_none(folder: Path) -> None:
    figure = '{ kind = "curves", x = "train_share", value = "accuracy" }'
    shares = {"vary": "{ train_share = [0.5, 1.0] }", "figure": figure}
    card = study_card(folder, methods='["linear"]', seeds="[0]", **shares)
    half, whole = study_plan.plan_study(
        load_study(str(card)).study, tiny_request(folder), Store(folder)
    ).cells
    assert half.settings.recipe["train_share"] == 0.5
    assert "train_share" not in whole.settings.recipe
    assert half.settings.digest() != whole.settings.digest()
