"""Measurements taken while a cell trains: stored beside its record, without effect on it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.execution import plan
from bench.execution.plan import Request
from bench.records import measurements
from bench.records.schema import Failure, Record
from bench.records.store import Store
from bench.report.study_numbers import epochs_to_overtake, first_epoch_reaching
from bench.training import callbacks, runner
from bench.training.cell import Cell
from bench.training.measures import measured_run
from bench.training.measures.measured_run import MeasurementCallback
from bench.training.results import write_record
from bench.utils.errors import UserError
from support import tiny

CPU = torch.device("cpu")
ALL = tuple(measurements.MEASUREMENTS)
EPOCHS = 3
TIMES = ("init_seconds", "train_seconds", "test_seconds", "peak_memory_mb")


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    folder = tiny.write_all(tmp_path_factory.mktemp("cards"))
    changes = {"epochs": EPOCHS, "warmup_epochs": 0, "precision": "fp32", "prompts": 2}
    request = Request(
        suite=str(folder / "tiny.toml"),
        methods=["spt_deep"],
        tasks=["light"],
        changes=changes,
        root=folder / "data",
    )
    (found,) = plan.plan_cells(request)
    return found


def quiet(*_: object) -> None:
    """Discard progress."""


def observed(cell: Cell, *names: str) -> Cell:
    return replace(cell, measurements=names)


def result(record: Record) -> dict[str, object]:
    """The outcome of a record, without times."""
    assert record.outcome, record.failure
    return {k: v for k, v in vars(record.outcome).items() if k not in TIMES}


def test_a_cell_that_is_measured_ends_as_one_that_is_not(cell: Cell, tmp_path: Path) -> None:
    plain = runner.run(cell, Store(tmp_path / "plain"), CPU, quiet)
    seen = measured_run.run_and_measure(observed(cell, *ALL), Store(tmp_path / "seen"), CPU, quiet)
    assert result(seen) == result(plain)  # losses and the hash of all predictions among it


def test_measurements_leave_the_random_state_and_the_weights(cell: Cell) -> None:
    observers = MeasurementCallback(
        cell, measurements.filter_by_training(ALL, "final"), "trainval", CPU
    )
    states, weights = [], []

    def watched(moment: callbacks.EpochState) -> None:
        before, held, mode = torch.get_rng_state(), moment.model.state_dict(), moment.model.training
        copies = {name: tensor.clone() for name, tensor in held.items()}
        observers(moment)
        states.append(torch.equal(before, torch.get_rng_state()))
        now = moment.model.state_dict()
        weights.append(all(torch.equal(copies[name], now[name]) for name in copies))
        assert moment.model.training is mode

    runner.train(cell, CPU, quiet, callback=watched)
    assert states == weights == [True] * (EPOCHS + 1)


def test_each_measurement_has_its_rows(cell: Cell, tmp_path: Path) -> None:
    record = measured_run.run_and_measure(observed(cell, *ALL), Store(tmp_path), CPU, quiet)
    found = {
        name: measurements.read_measurement(tmp_path, record.settings.digest(), name)
        for name in ALL
    }
    rows = {name: [row[:-1] for row in one.rows] for name, one in found.items() if one}
    layers = range(tiny.ARCHITECTURE["depth"])
    assert [r[:2] for r in rows["nmi"]] == [[e, i] for e in range(EPOCHS + 1) for i in layers]
    assert rows["cka"] == [[e, i, j] for e in (0, EPOCHS) for i in layers for j in layers]
    assert [r[0] for r in rows["validation"]] == list(range(EPOCHS + 1))
    losses = [row[2] for row in found["convergence"].rows]
    assert losses == [None, *record.outcome.losses]


def test_validation_is_of_a_run_that_saw_no_validation_image(cell: Cell, tmp_path: Path) -> None:
    aside = runner.train(replace(cell, train_split="train", eval_split="val"), CPU, quiet)
    record = measured_run.run_and_measure(observed(cell, "validation"), Store(tmp_path), CPU, quiet)
    found = measurements.read_measurement(tmp_path, record.settings.digest(), "validation")
    assert found.accuracy == found.rows[-1][-1] == aside.monitor.evaluations[EPOCHS].accuracy
    assert None not in [row[-1] for row in found.rows[1:]], "each epoch is scored"


def test_test_is_scored_no_oftener_than_the_recipe_says(cell: Cell, tmp_path: Path) -> None:
    record = measured_run.run_and_measure(
        observed(cell, "convergence"), Store(tmp_path), CPU, quiet
    )
    found = measurements.read_measurement(tmp_path, record.settings.digest(), "convergence")
    scored = {str(row[0]): row[-1] for row in found.rows if row[-1] is not None}
    assert scored == record.outcome.test_accuracies
    assert len(scored) == cell.recipe.test_evaluations < EPOCHS


def test_a_record_that_is_there_is_kept_and_what_is_missing_measured(
    cell: Cell, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    runner.run(cell, store, CPU, quiet)
    before = store.path(cell.settings).read_bytes()
    measured_run.run_and_measure(observed(cell, "nmi"), store, CPU, quiet)
    assert store.path(cell.settings).read_bytes() == before
    assert not measurements.missing_measurements(tmp_path, cell.settings.digest(), ["nmi"])


def changed(store: Store, cell: Cell, **environment: object) -> bytes:
    """Another accuracy, and other entries of the environment, in the cell's record; its bytes."""
    path = store.path(cell.settings)
    text = json.loads(path.read_text(encoding="utf-8"))
    last = str(cell.recipe.epochs)
    text["outcome"] |= {"accuracy": 12.5, "best_epoch_accuracy": 12.5, "best_epoch": int(last)}
    text["outcome"]["test_accuracies"] = {last: 12.5}
    text["environment"] |= environment
    path.write_text(json.dumps(text), encoding="utf-8")
    return path.read_bytes()


def test_a_run_that_ends_elsewhere_without_a_cause_is_reported_and_not_kept(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"commit": "0" * 40, "dirty": False}
    monkeypatch.setattr("bench.training.devices.git_commit", lambda: known)
    store = Store(tmp_path)
    runner.run(cell, store, CPU, quiet)
    before = changed(store, cell)
    with pytest.raises(UserError, match="from the same versions and machine, says 12"):
        measured_run.run_and_measure(observed(cell, "nmi"), store, CPU, quiet)
    assert store.path(cell.settings).read_bytes() == before
    assert measurements.missing_measurements(tmp_path, cell.settings.digest(), ["nmi"])


def test_what_other_versions_recorded_may_differ_and_both_accuracies_stand(
    cell: Cell, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    accuracy = runner.run(cell, store, CPU, quiet).outcome.accuracy
    changed(store, cell, torch="1.0")
    measured_run.run_and_measure(observed(cell, "nmi"), store, CPU, quiet)
    assert store.find(cell.settings).outcome.accuracy == 12.5
    assert (
        measurements.read_measurement(tmp_path, cell.settings.digest(), "nmi").accuracy == accuracy
    )


def test_a_failure_to_observe_leaves_the_record(cell: Cell, tmp_path: Path) -> None:
    store = Store(tmp_path)
    runner.run(cell, store, CPU, quiet)
    failure = Failure("failed", "UserError", "it cannot be observed")
    write_record(observed(cell, "nmi"), store, None, failure, {})
    assert store.find(cell.settings).ok


def test_measures_of_another_cell_are_refused(tmp_path: Path) -> None:
    one, other = "a" * 16, "b" * 16
    columns = list(measurements.find_measurement("nmi").columns)
    path = measurements.write_measurement(
        tmp_path, measurements.MeasurementFile(one, "nmi", 50.0, 4, columns, [[0, 0, 0.1, 0.2]])
    )
    moved = measurements.measurement_path(tmp_path, other, "nmi")
    moved.parent.mkdir()
    path.rename(moved)
    with pytest.raises(UserError, match=f"has nmi of cell {one}; nmi of {other} was expected"):
        measurements.read_measurement(tmp_path, other, "nmi")


def test_a_method_reaches_anothers_last_accuracy_at_an_epoch_or_never() -> None:
    assert first_epoch_reaching([10.0, 40.0, 30.0, 50.0], 40.0) == 2
    assert first_epoch_reaching([10.0, 20.0], 20.5) is None


def test_methods_are_set_against_each_other_seed_by_seed() -> None:
    import pandas as pd

    curves = {("a", 0): [10, 50], ("a", 1): [10, 20], ("b", 0): [30, 40], ("b", 1): [60, 70]}
    lines = [
        ["s", "t", "v", method, seed, epoch, accuracy]
        for (method, seed), values in curves.items()
        for epoch, accuracy in enumerate(values, start=1)
    ]
    names = ["suite", "task", "backbone", "method", "seed", "epoch", "accuracy"]
    found = epochs_to_overtake(pd.DataFrame(lines, columns=names), "accuracy").set_index("method")
    assert found.loc["a", ["epoch", "reached", "seeds"]].tolist() == [2, 1, 2]
    assert found.loc["b", ["epoch", "reached", "seeds"]].tolist() == [1, 1, 2]
