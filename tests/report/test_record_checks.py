"""Records verified, merged and compared."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli.main import main
from bench.records import measurements
from bench.records.predictions import Predictions, read_predictions
from bench.records.schema import Failure, Record
from bench.records.store import Store, read_record
from bench.utils.files import write_atomically
from support.synthetic_records import MAE, SUITES, record

FGVC = SUITES["fgvc"]
CUB = FGVC.find("cub")


def scored(method: str, hits: int = 30, seed: int = 0) -> tuple[Record, Predictions]:
    """A record of 40 test images with its predictions."""
    labels = np.arange(40, dtype=np.int16) % 4
    classes = np.where(np.arange(40) < hits, labels, labels + 1).astype(np.int16)
    kept, plain = Predictions(classes, labels), record(method, MAE, FGVC, CUB, seed)
    assert plain.outcome is not None
    outcome = replace(
        plain.outcome,
        accuracy=100 * hits / 40,
        best_epoch_accuracy=100 * hits / 40,
        test_images=40,
        predictions=kept.sha256(),
    )
    return replace(plain, outcome=outcome), kept


def written(folder: Path, *made: tuple[Record, Predictions]) -> Store:
    store = Store(folder)
    for one, kept in made:
        store.write(one)
        write_atomically(store.predictions_path(one.settings), kept.to_bytes())
    return store


@pytest.fixture
def theirs(tmp_path: Path) -> Store:
    return written(tmp_path / "theirs", scored("vpt_deep"), scored("spt_deep", 36))


def edited(store: Store, change: dict[str, Any]) -> Path:
    """The first record's file with some of its entries overwritten, by dotted names."""
    path = store.files()[0]
    whole = json.loads(path.read_text(encoding="utf-8"))
    for name, value in change.items():
        *outer, last = name.split(".")
        table = whole
        for key in outer:
            table = table[key]
        table[last] = value
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path


def test_sound_records_are_accepted(theirs: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(theirs.root)]) == 0
    assert "2 records accepted, 0 refused" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 7}, "has schema 7"),
        ({"settings.seed": 9}, "its settings are another's"),
        ({"outcome.accuracy": 99.0}, "says 99.00 %, but its predictions score 90.00 %"),
        ({"outcome.predictions": "0" * 64}, "has other predictions than those in"),
        ({"outcome": None}, "should have either an outcome or a failure"),
        ({"environment.dirty": True}, "uncommitted changes"),
    ],
)
def test_what_is_wrong_with_a_record_is_said(
    theirs: Store, change: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = edited(theirs, change)
    assert main(["verify", str(theirs.root)]) == 1
    shown = capsys.readouterr()
    assert "1 records accepted, 1 refused" in shown.out
    assert said in shown.err
    assert str(path) in shown.err


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"suite_version": 99}, "is of version 99 of suite 'fgvc'"),
        ({"recipe": {"name": "spt2024", "version": 99}}, "is of version 99 of recipe 'spt2024'"),
        ({"recipe": {"name": "secret", "version": 1}}, "is of no recipe of this checkout"),
        ({"task": "dragons"}, "is of no suite or task of this checkout"),
    ],
)
def test_other_versions_of_the_cards_are_refused(
    tmp_path: Path, changed: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = record("vpt_deep", MAE, FGVC, CUB)
    Store(tmp_path).write(replace(plain, settings=replace(plain.settings, **changed)))
    assert main(["verify", str(tmp_path)]) == 1
    assert said in capsys.readouterr().err


def test_a_recipe_that_was_changed_in_silence_is_refused_and_one_that_says_so_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = record("vpt_deep", MAE, FGVC, CUB)
    recipe = {**plain.settings.recipe, "epochs": 50}
    silent = replace(plain, settings=replace(plain.settings, recipe=recipe))
    Store(tmp_path / "silent").write(silent)
    Store(tmp_path / "honest").write(
        replace(silent, request={**plain.request, "changes": {"epochs": 50}})
    )
    assert main(["verify", str(tmp_path / "silent")]) == 1
    assert "has another epochs than recipe 'spt2024'" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "honest")]) == 0


def test_two_records_of_one_cell_are_both_named(
    theirs: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    first = theirs.files()[0]
    first.with_name("copy.json").write_bytes(first.read_bytes())
    assert main(["verify", str(theirs.root)]) == 1
    said = capsys.readouterr().err
    assert said.count("is one of 2 records of cell") == 2
    assert "copy.json" in said


def test_a_path_without_records_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(tmp_path)]) == 2
    assert main(["verify", str(tmp_path / "absent")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("bench: no record below")
    assert said[1].startswith("bench: no file or folder at")


def test_merging_adds_what_is_new_and_keeps_ours_where_both_have_a_result(
    theirs: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = written(tmp_path / "ours", scored("vpt_deep", 20))
    assert main(["merge", str(theirs.root), "--results", str(ours.root)]) == 0
    said = capsys.readouterr().out
    assert said.count("added: ") == 1
    assert said.count("differs, ours kept: ") == 1
    accuracies = {r.settings.method: r.outcome.accuracy for _, r in ours.read_all()}  # type: ignore[union-attr]
    assert accuracies == {"vpt_deep": 50.0, "spt_deep": 90.0}
    assert (ours.root / "leaderboard.md").is_file()
    assert main(["verify", str(ours.root)]) == 0
    assert main(["merge", str(theirs.root), "--results", str(ours.root)]) == 0
    assert capsys.readouterr().out.count("here already: ") == 1


def test_merging_leaves_out_what_is_refused_and_says_so(
    theirs: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(theirs, {"outcome.accuracy": 99.0})
    assert main(["merge", str(theirs.root), "--results", str(tmp_path / "ours")]) == 1
    assert "refused: " in capsys.readouterr().err
    assert len(Store(tmp_path / "ours").files()) == 1


def test_a_cell_is_shown_by_the_first_digits_of_its_name(
    theirs: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    one, _ = scored("vpt_deep")
    assert main(["show", one.settings.digest()[:6], "--results", str(theirs.root)]) == 0
    shown = capsys.readouterr().out
    assert json.loads(shown.split("\n\nrecord:")[0])["cell"] == one.cell
    assert "again:  python -m bench run --suite fgvc --methods vpt_deep" in shown


@pytest.mark.parametrize(
    ("name", "said"),
    [("ab", "named by 4 digits or more"), ("zzzz", "no record in"), ("", "4 digits or more")],
)
def test_a_name_of_no_cell_is_a_sentence(
    theirs: Store, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", name, "--results", str(theirs.root)]) == 2
    assert said in capsys.readouterr().err


def test_two_cells_differ_in_what_is_named_and_by_mcnemar_s_test(
    theirs: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [scored(method)[0].settings.digest() for method in ("vpt_deep", "spt_deep")]
    assert main(["diff", *cells, "--results", str(theirs.root)]) == 0
    said = capsys.readouterr().out
    assert "settings.method" in said
    assert "settings.task" not in said
    assert "0 right in the first alone, 6 in the second alone, p = 0.0312" in said


def test_a_cell_does_not_differ_from_itself(
    theirs: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = scored("vpt_deep")[0].settings.digest()
    assert main(["diff", cell, cell, "--results", str(theirs.root)]) == 0
    assert "nothing differs" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["csv", "latex", "parquet"])
def test_results_leave_in_other_formats(
    theirs: Store, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    assert main(["export", "--format", kind, "--results", str(theirs.root)]) == 0
    path = Path(capsys.readouterr().out.split(":")[0])
    if kind == "parquet":
        import pandas as pd

        assert pd.read_parquet(path)["accuracy"].tolist() == [90.0, 75.0]
    else:
        assert "75.0" in path.read_text(encoding="utf-8")


def test_an_unknown_format_names_near_ones(
    theirs: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--format", "latec", "--results", str(theirs.root)]) == 2
    assert "did you mean latex?" in capsys.readouterr().err


def measured(store: Store) -> Path:
    """The stored measurements of the first record's cell."""
    cell = read_record(store.files()[0]).cell
    columns = [*measurements.find_measurement("nmi").columns]
    rows: list[list[float | int | None]] = [[0, 0, 0.25, 0.5], [1, 0, 0.5, None]]
    return measurements.write_measurement(
        store.root, measurements.MeasurementFile(cell, "nmi", 80.0, 256, columns, rows)
    )


def test_what_was_measured_of_a_cell_comes_with_its_record(theirs: Store, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    path = measured(theirs)
    assert main(["merge", str(theirs.root), "--results", str(ours)]) == 0
    assert (ours / path.relative_to(theirs.root)).read_bytes() == path.read_bytes()


def test_measures_come_after_the_record_but_not_to_one_that_ended_elsewhere(
    theirs: Store, tmp_path: Path
) -> None:
    alike = written(tmp_path / "alike", scored("vpt_deep"), scored("spt_deep", 36))
    other = written(tmp_path / "other", scored("vpt_deep", 20), scored("spt_deep", 20))
    place = measured(theirs).relative_to(theirs.root)
    for ours in (alike, other):
        assert main(["merge", str(theirs.root), "--results", str(ours.root)]) == 0
    assert (alike.root / place).is_file()
    assert not (other.root / place).exists()


def test_a_record_whose_measures_cannot_be_read_is_refused(
    theirs: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured(theirs).write_text("{}", encoding="utf-8")
    assert main(["merge", str(theirs.root), "--results", str(tmp_path / "ours")]) == 1
    assert "has measures that cannot be used" in capsys.readouterr().err
    assert len(Store(tmp_path / "ours").files()) == 1


def merge(theirs: Store, ours: Store) -> None:
    assert main(["merge", str(theirs.root), "--results", str(ours.root)]) == 0


def only(store: Store) -> Record:
    [(_, found)] = store.read_all()
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
    found = read_predictions(ours.predictions_path(record.settings))
    assert found is not None
    assert found.classes.tolist() == kept.classes.tolist()
    assert found.correct().sum() == 30


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


def test_predictions_of_a_few_more_hits_than_the_record_says_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, kept = scored("vpt_deep", 30)
    store = written(tmp_path, (record, kept))
    [path] = store.files()
    whole = json.loads(path.read_text(encoding="utf-8"))
    whole["outcome"]["accuracy"] = 100 * 31 / 40
    path.write_text(json.dumps(whole), encoding="utf-8")
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
