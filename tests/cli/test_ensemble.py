"""`ensemble`: averaged probabilities of two methods beside those of two seeds of one."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from bench.cli.main import main
from bench.execution import ensemble
from bench.records.store import Store
from support import tiny

pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture(scope="module")
def ran(cards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two methods with two seeds each on one task, and of one on another."""
    results = tmp_path_factory.mktemp("results")
    seeds = ("--seeds", "0,1", "--set", "epochs=3")
    assert main(tiny.command("run", cards, results, "lora,bias", *seeds)) == 0
    dark = tiny.command("run", cards, results, "bias")
    dark[dark.index("light")] = "dark"
    assert main(dark) == 0
    return results


@pytest.fixture
def results(ran: Path, tmp_path: Path) -> Path:
    return shutil.copytree(ran, tmp_path / "results")


def cells(results: Path, *names: str) -> list[str]:
    """The records whose files begin with these names, in the task `light`."""
    return [str(next((results / "records").glob(f"*/*/light/{name}-*"))) for name in names]


def act(cards: Path, results: Path, words: list[str]) -> int:
    where = ["--results", str(results), "--data-root", str(cards / "data"), "--device", "cpu"]
    return main(["ensemble", *words, *where])


def lines(results: Path) -> list[dict[str, str]]:
    (path,) = (results / "ensembles").glob("*.csv")
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_pair_has_its_accuracies_and_its_kind(cards: Path, results: Path, capsys) -> None:
    named = cells(results, "lora-seed0", "lora-seed1", "bias-seed0")
    assert act(cards, results, named) == 0
    found = lines(results)
    assert [(row["first"], row["second"], row["kind"]) for row in found] == [
        ("lora", "lora", "seeds"),
        ("lora", "bias", "methods"),
        ("lora", "bias", "methods"),
    ]
    recorded = {
        (r.settings.method, r.settings.seed): r.outcome.accuracy
        for _, r in Store(results).read_all()
        if r.settings.task == "light"
    }
    for row in found:
        assert float(row["first_accuracy"]) == pytest.approx(
            recorded[row["first"], int(row["first_seed"])]
        )
        assert 0 <= float(row["ensemble"]) <= 100
    assert "lora, seed 0: " in capsys.readouterr().out


def test_the_order_of_the_cells_does_not_matter(cards: Path, results: Path) -> None:
    named = cells(results, "lora-seed0", "bias-seed1")
    assert act(cards, results, named) == 0
    first = lines(results)[0]["ensemble"]
    assert act(cards, results, named[::-1]) == 0
    assert lines(results)[0]["ensemble"] == first


def test_the_mean_of_probabilities_decides() -> None:
    sure, unsure = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.4, 0.6]])
    labels = torch.tensor([0])
    assert ensemble._accuracy((sure + unsure) / 2, labels) == 100
    assert ensemble._accuracy(unsure, labels) == 0


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["lora-seed0"], "at least two distinct cells"),
        (["lora-seed0", "lora-seed0"], "at least two distinct cells"),
        (["lora-seed0", "../dark/bias-seed0"], "tested on other images than"),
        (["none"], "no record in "),
    ],
)
def test_bad_cells_are_a_sentence(
    names: list[str], said: str, cards: Path, results: Path, capsys
) -> None:
    words = [
        name if name == "none" else str(next((results / "records").glob(f"*/*/light/{name}-*")))
        for name in names
    ]
    assert act(cards, results, words) == 2
    assert said in capsys.readouterr().err
    assert not (results / "ensembles").exists()


def test_a_cell_that_scores_otherwise_than_its_record_is_refused(
    cards: Path, results: Path, capsys, monkeypatch
) -> None:
    named = cells(results, "lora-seed0", "bias-seed0")
    probabilities = ensemble.trainer.probabilities
    monkeypatch.setattr(
        ensemble.trainer, "probabilities", lambda *words: (1 - probabilities(*words)[0],
                                                           probabilities(*words)[1])
    )  # fmt: skip
    assert act(cards, results, named) == 2
    assert "its record has" in capsys.readouterr().err
    assert not (results / "ensembles").exists()


def test_a_trial_or_a_failure_has_no_ensemble(cards: Path, results: Path, capsys) -> None:
    named = cells(results, "lora-seed0", "bias-seed0")
    path = Path(named[0])
    table = json.loads(path.read_text(encoding="utf-8"))
    table["outcome"], table["failure"] = None, {
        "kind": "failed", "error": "E", "message": "m", "traceback": ""}  # fmt: skip
    path.write_text(json.dumps(table), encoding="utf-8")
    assert act(cards, results, named) == 2
    assert "no final run with a result" in capsys.readouterr().err
