"""`interpolate`: models between a cell's start and its end, scored and drawn."""

import json
import shutil
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.execution import interpolation
from bench.training import runner, trainer
from support import tiny

PROBE = ("--set", "head_init=linear_probe", "--set", "epochs=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The tiny suite, of which `light` is also scored on the images of `dark`."""
    folder = tiny.write_all(tmp_path_factory.mktemp("tiny"))
    text = (folder / "tiny.toml").read_text(encoding="utf-8")
    text = text.replace('name = "light"', 'name = "light"\nshifts = ["dim"]')
    (folder / "tiny.toml").write_text(f'{text}[[shift]]\nname = "dim"\nfolder = "dark"\n', "utf-8")
    return folder


@pytest.fixture(scope="module")
def ran(folder):
    """The folder of results of some methods from a linear probe, and of one from a new head."""
    results = folder / "results"
    for name in ("lora", "full", "vpt_deep"):
        assert main(tiny.command("run", folder, results, name, *PROBE)) == 0
    assert main(tiny.command("run", folder, results, "bias")) == 0
    return results


@pytest.fixture
def results(ran, tmp_path, no_figures):
    return shutil.copytree(ran, tmp_path / "results")


def record_of(results: Path, name: str) -> Path:
    (record,) = (results / "records").rglob(f"{name}-seed0-*.json")
    return record


def interpolate(folder, results, name, *more):
    words = ["interpolate", str(record_of(results, name)), "--results", str(results)]
    return main([*words, "--data-root", str(folder / "data"), "--device", "cpu", *more])


def scores(results: Path) -> dict:
    (path,) = (results / "interpolation").glob("*.json")
    return json.loads(path.read_text(encoding="utf-8"))


def outcome(results: Path, name: str) -> dict:
    return json.loads(record_of(results, name).read_text(encoding="utf-8"))["outcome"]


@pytest.mark.sample(1)
@pytest.mark.parametrize(("name", "along"), [("lora", "weights"), ("lora", "scale"),
                                             ("full", "weights")])  # fmt: skip
def test_the_path_ends_at_the_record(folder, results, name, along):
    assert interpolate(folder, results, name, "--along", along, "--alphas", "0.5") == 0
    found = scores(results)
    assert found["alphas"] == [0.0, 0.5, 1.0]
    sets = {one["name"]: one for one in found["sets"]}
    assert {name: one["kind"] for name, one in sets.items()} == {
        "val": "validation", "test": "test", "dim": "shift"}  # fmt: skip
    recorded = outcome(results, name)
    assert sets["test"]["accuracies"][-1] == pytest.approx(recorded["accuracy"], abs=100 / 16)
    assert sets["dim"]["accuracies"][-1] == pytest.approx(
        recorded["shifts"]["dim"]["accuracy"], abs=100 / 16
    )
    assert sorted(p.suffix for p in (results / "interpolation").iterdir()) == [
        ".csv", ".json", ".md", ".png", ".svg"]  # fmt: skip


@pytest.mark.long
def test_alpha_is_chosen_by_a_training_that_has_not_seen_validation(folder, results, monkeypatch):
    seen, train = [], runner.train

    def note(cell, *args, **more):
        seen.append((cell.train_split, cell.eval_split))
        return train(cell, *args, **more)

    monkeypatch.setattr(runner, "train", note)
    assert interpolate(folder, results, "lora", "--alphas", "0.5") == 0
    assert seen == [("train", "val"), ("trainval", "test")]


def test_each_model_passes_once_over_each_set(folder, results, monkeypatch):
    """Two sets at three alphas and their start, and validation; training scores each end once."""
    passes, evaluate = [], trainer.evaluate

    def note(model, batches, precision):
        passes.append(len(batches))
        return evaluate(model, batches, precision)

    monkeypatch.setattr(trainer, "evaluate", note)
    assert interpolate(folder, results, "lora", "--alphas", "0.5") == 0
    assert len(passes) == (3 + 1) * 3 + 2


def test_a_record_that_cannot_be_repeated_is_an_error(folder, results, capsys):
    path = record_of(results, "lora")
    whole = json.loads(path.read_text(encoding="utf-8"))
    made = whole["outcome"]
    made["accuracy"] = made["best_epoch_accuracy"] = made["test_accuracies"]["2"] = 0.0
    path.write_text(json.dumps(whole), encoding="utf-8")
    assert interpolate(folder, results, "lora") == 2
    assert "at alpha = 1 the model scores" in capsys.readouterr().err
    assert not (results / "interpolation").exists()


def test_a_path_that_begins_elsewhere_is_an_error(folder, results, monkeypatch, capsys):
    accuracy = interpolation.Scorer.accuracy
    calls = iter(range(100))

    def first_is_wrong(self, model, scored):
        found = accuracy(self, model, scored)
        return found if next(calls) else (found + 50) % 100

    monkeypatch.setattr(interpolation.Scorer, "accuracy", first_is_wrong)
    assert interpolate(folder, results, "lora", "--alphas", "0.5") == 2
    assert "at alpha = 0 the model scores" in capsys.readouterr().err


def test_beyond_the_models_only_by_request(folder, results, capsys):
    assert interpolate(folder, results, "lora", "--alphas", "0,1.5") == 2
    err = capsys.readouterr().err
    assert err == (
        "bench: alpha 1.5 is not between the start, 0, and the adapted model, 1; "
        "--extrapolate allows it\n"
    )
    assert interpolate(folder, results, "lora", "--alphas=-0.5,1.5", "--extrapolate") == 0
    assert scores(results)["alphas"] == [-0.5, 0.0, 1.0, 1.5]


@pytest.mark.parametrize(
    "given", ["x", "nan", "inf", "1e9", "", ",", "0.5;1", ",".join(["0.5"] * 500)]
)
def test_alphas_that_are_none_are_a_sentence(folder, results, capsys, given):
    with pytest.raises(SystemExit) as ended:
        interpolate(folder, results, "lora", "--alphas", given, "--extrapolate")
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "along", "said"),
    [
        ("bias", "weights", "starts from a new head (head_init=trunc_normal), which is no "
         "classifier; a cell that was run with --set head_init=linear_probe was expected"),
        ("vpt_deep", "weights", "vpt_deep cannot be interpolated along its weights: "
         "KeyValuePromptBlock cannot be merged into the backbone's weights\n"),
        ("vpt_deep", "scale", "vpt_deep cannot be interpolated along its scale: it trains "),
        ("full", "scale", "it has no update with a scale; --along weights is possible"),
    ],
)  # fmt: skip
def test_a_cell_without_such_a_path_is_refused_before_any_training(
    folder, results, capsys, monkeypatch, name, along, said
):
    monkeypatch.setattr(runner, "train", None)
    assert interpolate(folder, results, name, "--along", along) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
    assert not (results / "interpolation").exists()


def test_a_cell_without_a_result_is_refused(folder, results, capsys):
    path = record_of(results, "lora")
    whole = json.loads(path.read_text(encoding="utf-8"))
    whole["outcome"] = None
    whole["failure"] = {"kind": "failed", "error": "E", "message": "why"}
    path.write_text(json.dumps(whole), encoding="utf-8")
    assert interpolate(folder, results, "lora") == 2
    assert "has no result" in capsys.readouterr().err


def test_a_task_without_validation_images_is_refused(folder, results, capsys, tmp_path):
    moved = shutil.copytree(folder / "data", tmp_path / "data")
    (moved / "light" / "val.txt").write_text("", encoding="utf-8")
    words = ["interpolate", str(record_of(results, "lora")), "--results", str(results)]
    assert main([*words, "--data-root", str(moved), "--device", "cpu"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_cell_that_is_not_there_is_a_sentence(results, capsys):
    assert main(["interpolate", "ffff", "--results", str(results)]) == 2
    assert "no record" in capsys.readouterr().err
