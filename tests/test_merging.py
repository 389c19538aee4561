"""What comes in with others' records, and what keeps a record out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_sharing import scored, written

from bench.cli import main
from bench.predictions import Predictions, read
from bench.records import Failure, Record, Store


def merge(theirs: Store, ours: Store) -> None:
    assert main(["merge", str(theirs.root), "--results", str(ours.root)]) == 0


def only(store: Store) -> Record:
    [(_, found)] = store.read()
    assert isinstance(found, Record)
    return found


def test_their_result_takes_the_place_of_our_failure(tmp_path: Path) -> None:
    record, kept = scored("vpt_deep")
    theirs, ours = written(tmp_path / "theirs", (record, kept)), Store(tmp_path / "ours")
    failure = Failure("failed", "OutOfMemory", "no room")
    ours.write(replace(record, outcome=None, failure=failure))
    merge(theirs, ours)
    assert only(ours).outcome == record.outcome


def test_their_failure_does_not_take_the_place_of_our_result(tmp_path: Path) -> None:
    record, kept = scored("vpt_deep")
    failure = Failure("failed", "OutOfMemory", "no room")
    theirs, ours = Store(tmp_path / "theirs"), written(tmp_path / "ours", (record, kept))
    theirs.write(replace(record, outcome=None, failure=failure))
    merge(theirs, ours)
    assert only(ours).outcome == record.outcome


def test_predictions_come_with_their_record(tmp_path: Path) -> None:
    record, kept = scored("vpt_deep")
    theirs, ours = written(tmp_path / "theirs", (record, kept)), Store(tmp_path / "ours")
    merge(theirs, ours)
    found = read(ours.predictions_path(record.settings))
    assert found is not None
    assert found.classes.tolist() == kept.classes.tolist()
    assert found.right().sum() == 30


def test_the_hash_of_predictions_is_of_the_predicted_classes_alone() -> None:
    classes, labels = np.array([1, 0, 2], np.int16), np.array([1, 1, 1], np.int16)
    one = Predictions(classes, labels).sha256()
    assert one == Predictions(classes, None).sha256()
    assert one == Predictions(classes, 1 - labels).sha256()
    assert one != Predictions(classes[::-1].copy(), labels).sha256()


def refused(tmp_path: Path, record: Record, capsys: pytest.CaptureFixture[str]) -> str:
    Store(tmp_path).write(record)
    assert main(["verify", str(tmp_path)]) == 1
    return capsys.readouterr().err


def test_a_record_that_does_not_say_by_which_code_it_was_made_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, _ = scored("vpt_deep")
    about = {k: v for k, v in record.environment.items() if k != "dirty"}
    said = refused(tmp_path, replace(record, environment=about), capsys)
    assert "does not say by which" in said


def test_a_recipe_with_more_than_the_card_has_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, _ = scored("vpt_deep")
    recipe = {**record.settings.recipe, "train_share": 0.5}
    settings = replace(record.settings, recipe=recipe)
    said = refused(tmp_path, replace(record, settings=settings), capsys)
    assert "has another train_share than recipe" in said


def test_predictions_of_a_few_more_hits_than_the_record_says_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, kept = scored("vpt_deep", 30)
    store = written(tmp_path, (record, kept))
    [path] = store.files()
    whole = json.loads(path.read_text())
    whole["outcome"]["accuracy"] = 100 * 31 / 40
    path.write_text(json.dumps(whole))
    assert main(["verify", str(tmp_path)]) == 1
    assert "says 77.50 %, but its predictions score 75.00 %" in capsys.readouterr().err


@pytest.mark.parametrize("accuracy", [-0.5, 100.5])
def test_an_accuracy_outside_0_to_100_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], accuracy: float
) -> None:
    record, _ = scored("vpt_deep")
    assert record.outcome
    said = refused(
        tmp_path, replace(record, outcome=replace(record.outcome, accuracy=accuracy)), capsys
    )
    assert f"has accuracy {accuracy}; from 0 to 100 was expected" in said
