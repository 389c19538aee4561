"""Verdicts: what proves a record, what is only stated, and what is refused."""

import io
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli.main import main
from bench.records import measurements
from bench.records.predictions import Predictions
from bench.records.schema import Failure, Record
from bench.records.store import Store
from bench.report.known_labels import KnownLabels
from bench.report.verdicts import Verdict, check_records
from support import honest_records as honest
from support import odd_files
from support.honest_records import Made


def check(*paths: Path, own: Store | None = None) -> list[Verdict]:
    return check_records(paths, KnownLabels(Path("no data"), own))


def one(folder: Path, made: Made, own: Store | None = None) -> Verdict:
    [found] = check(honest.write(folder, made).root, own=own)
    return found


def test_predictions_of_the_split_s_own_labels_prove_a_record(tmp_path: Path) -> None:
    found = one(tmp_path, honest.honest())
    assert found.recomputed
    assert not found.doubt


def with_labels(labels: np.ndarray) -> Made:
    """A record of 100 % by its own labels, which are also its predictions."""
    record, _ = honest.honest()
    kept = Predictions(labels.astype(np.int16), labels.astype(np.int16))
    return honest.scored(record.settings, kept), kept


def forged_labels() -> dict[str, np.ndarray]:
    true = honest.true_labels()
    return {"zeros": 0 * true, "reversed": true[::-1].copy(), "one off": (true + 1) % 16}


@pytest.mark.parametrize("how", ["zeros", "reversed", "one off"])
def test_labels_that_are_not_the_split_s_are_refused(tmp_path: Path, how: str) -> None:
    found = one(tmp_path, with_labels(forged_labels()[how]))
    assert found.problems
    assert "has other labels than those of its split" in found.problems[0]


def claiming_100() -> Made:
    record, kept = honest.honest(hits=10)
    return honest.with_accuracy(record, 100.0), kept


def of_another_split() -> Made:
    record, kept = honest.honest(split="0" * 16 + "-" + "1" * 16)
    return record, kept


@pytest.mark.parametrize(
    ("make", "doubt"),
    [
        (lambda: (honest.honest()[0], None), "its predictions are not here"),
        (lambda: (claiming_100()[0], None), "its predictions are not here"),
        (of_another_split, "is not that of task 'sprites_location' of suite 'mini' here"),
    ],
)
def test_what_cannot_be_proved_is_stated_with_the_reason(
    tmp_path: Path, make: Callable[[], Made], doubt: str
) -> None:
    found = one(tmp_path, make())
    assert found.stated
    assert doubt in found.doubt


def test_predictions_without_labels_are_stated(tmp_path: Path) -> None:
    record, kept = honest.honest()
    assert kept
    found = one(tmp_path, (record, Predictions(kept.classes, None)))
    assert found.doubt == "its predictions have no labels"


@pytest.mark.parametrize("kind", ["failed", "unsupported"])
def test_a_record_without_an_outcome_proves_nothing(tmp_path: Path, kind: Any) -> None:
    record, _ = honest.honest()
    found = one(tmp_path, (replace(record, outcome=None, failure=Failure(kind, "E", "why")), None))
    assert found.stated
    assert "it has no outcome" in found.doubt


def test_a_record_outside_a_results_folder_is_stated(tmp_path: Path) -> None:
    [path] = honest.write(tmp_path, honest.honest()).files()
    alone = tmp_path / "alone.json"
    path.rename(alone)
    [found] = check(alone)
    assert found.doubt == "its predictions are not here"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (claiming_100, "says 100.00 %, but its predictions score 1.25 %"),
        (lambda: (honest.honest("magic")[0], honest.honest()[1]), "is of no method of this check"),
        (lambda: honest.honest(fields={"prompts": 500}), "than method 'vpt_deep', and its request"),
        (lambda: honest.honest(rates={"lr": 1.0, "weight_decay": 0.01}), "has another lr than"),
        (lambda: honest.honest(code="a" * 64), "says that a plug-in made 'vpt_deep'"),
        (lambda: honest.honest(classes=17), "has 17 classes; task 'sprites_location' has 16"),
        (lambda: honest.honest(suite_version=9), "is of version 9 of suite 'mini'"),
        (lambda: honest.honest(suite="minni"), "did you mean mini?"),
        (lambda: of_recipe(epochs=10, batch=64), "has another batch than recipe 'quick'"),
        (lambda: of_recipe(train_share=0.5), "has another train_share than recipe 'quick'"),
        (lambda: of_recipe(version=9), "is of version 9 of recipe 'quick'"),
        (lambda: regrouped("Natural"), "is in group 'Natural'"),
        (lambda: shortened(400), "has 400 test images; task 'sprites_location' has 800"),
    ],
)
def test_what_contradicts_itself_or_this_checkout_is_refused(
    tmp_path: Path, make: Callable[[], Made], said: str
) -> None:
    record, kept = make()
    request = {**record.request, "suite": record.settings.suite, "method": record.settings.method}
    found = one(tmp_path, (replace(record, request=request), kept))
    assert found.problems
    assert said in found.problems[0]


def of_recipe(**changed: Any) -> Made:
    return honest.honest(recipe={**honest.QUICK.protocol("mini", "fp32"), **changed})


def regrouped(group: str) -> Made:
    record, kept = honest.honest()
    return replace(record, group=group), kept


def shortened(images: int) -> Made:
    record, kept = honest.honest()
    assert kept
    assert kept.labels is not None
    short = Predictions(kept.classes[:images], kept.labels[:images])
    return honest.scored(record.settings, short), short


def test_a_plug_in_s_method_is_known_by_its_code(tmp_path: Path) -> None:
    record, kept = honest.honest("magic", code="a" * 64, rates=honest.QUICK.rates("magic"))
    assert one(tmp_path, (record, kept)).recomputed


def test_a_field_that_the_request_names_is_no_contradiction(tmp_path: Path) -> None:
    plain, _ = honest.honest()
    name, value = next((k, v) for k, v in plain.settings.fields.items() if type(v) is int)
    fields = {**plain.settings.fields, name: value + 1}
    record, kept = honest.honest(fields=fields)
    asked = {**record.request, "changes": {name: value + 1}}
    assert one(tmp_path / "asked", (replace(record, request=asked), kept)).recomputed
    assert one(tmp_path / "silent", (record, kept)).problems


def test_a_suite_or_recipe_is_a_name_and_never_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card that lies where the command runs is not read on the word of a record."""
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").symlink_to("/dev/zero")
    recipe = {**honest.QUICK.protocol("mini", "fp32"), "name": "mine.toml"}
    for number, changed in enumerate(({"suite": "mine.toml"}, {"recipe": recipe})):
        record, kept = honest.honest(**changed)
        asked = {**record.request, "suite": record.settings.suite}
        found = one(tmp_path / str(number), (replace(record, request=asked), kept))
        assert "of this checkout" in found.problems[0]


def test_labels_kept_with_own_records_prove_another_s_but_not_its_own(tmp_path: Path) -> None:
    """Of a split that is neither built in nor below the data root."""
    ours = honest.write(tmp_path / "ours", split_elsewhere("linear"))
    theirs = honest.write(tmp_path / "theirs", split_elsewhere("vpt_deep"))
    [found] = check(theirs.root, own=ours)
    assert found.recomputed
    lying = honest.write(tmp_path / "lying", split_elsewhere("lora", lambda true: true[::-1]))
    [found] = check(lying.root, own=ours)
    assert "has other labels" in found.problems[0]
    [found] = check(theirs.root)
    assert found.stated
    assert main(["verify", str(theirs.root), "--results", str(theirs.root)]) == 0


def split_elsewhere(
    method: str, labels: Callable[[np.ndarray], np.ndarray] = lambda true: true
) -> Made:
    record, kept = honest.honest(method, split="2" * 16 + "-" + "3" * 16)
    assert kept
    changed = Predictions(kept.classes, labels(honest.true_labels()).copy())
    return honest.scored(record.settings, changed), changed


def test_a_folder_does_not_vouch_for_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = honest.write(tmp_path, split_elsewhere("vpt_deep")).root
    assert main(["verify", str(root), "--results", str(root)]) == 0
    assert "0 recomputed, 1 stated, 0 refused" in capsys.readouterr().out


def spoil_npz(store: Store, content: bytes) -> None:
    [path] = (store.root / "predictions").iterdir()
    path.write_bytes(content)


def lying_header() -> bytes:
    stream, head = (
        io.BytesIO(),
        "{'descr': '<i2', 'fortran_order': False, 'shape': (4000000000000,)}",
    )

    with zipfile.ZipFile(stream, "w") as archive:
        text = head.ljust(117) + "\n"
        archive.writestr("classes.npy", b"\x93NUMPY\x01\x00v\x00" + text.encode())
    return stream.getvalue()


def replaced_by_fifo(store: Store) -> None:
    [path] = (store.root / "predictions").iterdir()
    path.unlink()
    os.mkfifo(path)


def replaced_by_link(target: str) -> Callable[[Store], None]:
    def replaced(store: Store) -> None:
        [path] = (store.root / "predictions").iterdir()
        path.unlink()
        path.symlink_to(target)

    return replaced


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Store], object]:
    return lambda store: honest.edit(store.files()[0], change)


def raw(content: bytes) -> Callable[[Store], object]:
    return lambda store: store.files()[0].write_bytes(content)


def record_replaced(make: Callable[[Path], object]) -> Callable[[Store], None]:
    def replaced(store: Store) -> None:
        [path] = store.files()
        path.unlink()
        make(path)

    return replaced


FAULTS: dict[str, Callable[[Store], object]] = {
    "an empty npz": lambda store: spoil_npz(store, b""),
    "a truncated npz": lambda store: spoil_npz(store, b"PK\x03\x04 and no more"),
    "a header of 8 TB": lambda store: spoil_npz(store, lying_header()),
    "a FIFO for predictions": replaced_by_fifo,
    "a link to a device": replaced_by_link("/dev/zero"),
    "a link to a file": replaced_by_link("/etc/hostname"),
    "a broken link": replaced_by_link("nowhere"),
    "a NUL in a name": edited(lambda r: r["settings"].update(method="a\0b")),
    "a path for a name": edited(lambda r: r["settings"].update(method="../../pwned")),
    "a list for a name": edited(lambda r: r["settings"].update(suite=["mini"])),
    "a list for a recipe's name": edited(lambda r: r["settings"]["recipe"].update(name=["quick"])),
    "changes that are a list": edited(lambda r: r["request"].update(changes=["lr"])),
    "an endless number": edited(lambda r: r["outcome"].update(train_seconds=float("inf"))),
    "no JSON": raw(b"{"),
    "nothing": raw(b""),
    "deep nesting": raw(b"[" * 100_000),
    "bytes": raw(bytes(range(256))),
    "a FIFO for a record": record_replaced(os.mkfifo),
    "a device for a record": record_replaced(lambda path: path.symlink_to("/dev/zero")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_file_is_a_sentence_and_the_others_are_judged(
    tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = honest.write(tmp_path / "a" / "records_of_one" / "results", honest.honest())
    good = honest.write(tmp_path / "b", honest.honest("linear"))
    FAULTS[fault](bad)
    status = main(["verify", str(bad.root), str(good.root), "--results", str(tmp_path / "no")])
    shown = capsys.readouterr()
    nothing_left = fault == "a folder for a record"
    assert status == (0 if nothing_left else 1)
    assert (
        "1 records" if nothing_left else "2 records: 1 recomputed, 0 stated, 1 refused"
    ) in shown.out
    assert len(shown.err.splitlines()) == (0 if nothing_left else 1), shown.err
    assert "Traceback" not in shown.err


def test_whatever_a_check_raises_is_a_sentence_about_that_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(record: Record) -> str:
        if record.settings.method == "linear":
            raise RecursionError("too deep\nby far")
        return ""

    monkeypatch.setattr("bench.report.verdicts.CHECKS", [broken])
    store = honest.write(tmp_path, honest.honest("linear"), honest.honest("lora"))
    bad, good = check(store.root)
    assert bad.problems[0].endswith("cannot be judged: RecursionError: too deep")
    assert good.recomputed


def test_the_same_record_in_two_folders_counts_once_wherever_its_predictions_are(
    tmp_path: Path,
) -> None:
    record, kept = honest.honest()
    bare = honest.write(tmp_path / "a", (record, None))
    whole = honest.write(tmp_path / "b", (record, kept))
    [found] = check(bare.root, whole.root, bare.root, whole.files()[0])
    assert found.recomputed
    assert found.path.is_relative_to(whole.root)


def later(made: Made) -> Made:
    record, kept = made
    assert record.outcome
    return replace(record, outcome=replace(record.outcome, train_seconds=99.0)), kept


def test_two_different_records_of_a_cell_are_refused_and_both_are_named(tmp_path: Path) -> None:
    stores = [
        honest.write(tmp_path / "a", honest.honest()),
        honest.write(tmp_path / "b", later(honest.honest())),
    ]
    found = check(*(store.root for store in stores))
    assert len(found) == 2
    for verdict in found:
        [sentence] = verdict.problems
        assert "is one of 2 different records of cell" in sentence
        assert all(str(store.files()[0]) in sentence for store in stores)


def test_what_is_only_stated_does_not_keep_out_what_is_recomputed(tmp_path: Path) -> None:
    proved = honest.write(tmp_path / "a", honest.honest())
    stated = honest.write(tmp_path / "b", (later(honest.honest())[0], None))
    broken = honest.write(tmp_path / "c", claiming_100())
    by_folder = {
        v.path.relative_to(tmp_path).parts[0]: v
        for v in check(broken.root, stated.root, proved.root)
    }
    assert by_folder["a"].recomputed
    assert "is one of 2 different records" in by_folder["b"].problems[0]
    assert "says 100.00 %" in by_folder["c"].problems[0]


def test_measures_that_cannot_be_used_refuse_their_record(tmp_path: Path) -> None:
    record, _ = honest.honest()
    store = honest.write(tmp_path, honest.honest())
    path = measurements.measurement_path(store.root, record.cell, "nmi")
    path.parent.mkdir(parents=True)
    path.write_text("{}", encoding="utf-8")
    [found] = check(store.root)
    assert "has a file that cannot be used" in found.problems[0]


def test_a_record_says_by_which_clean_code_it_was_made(tmp_path: Path) -> None:
    record, kept = honest.honest()
    for number, about in enumerate(({"dirty": True}, {})):
        found = one(tmp_path / str(number), (replace(record, environment=about), kept))
        assert "uncommitted changes, or does not say" in found.problems[0]


def test_a_folder_of_one_s_own_says_what_its_predictions_prove(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, _ = honest.honest("lora")
    honest.write(tmp_path, honest.honest(), (honest.honest("linear")[0], None))
    Store(tmp_path).write(replace(record, evidence="stated"))
    main(["report", "--results", str(tmp_path)])
    capsys.readouterr()
    assert main(["verify", "--results", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "3 records, 0 unsound" in said
    assert "1 recomputed from their predictions, 1 of own runs alone, 1 stated by others" in said


def test_an_own_record_that_its_predictions_contradict_is_unsound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = honest.write(tmp_path, claiming_100(), honest.honest("linear"))
    store.predictions_path(honest.honest("linear")[0].settings).write_bytes(b"")
    main(["report", "--results", str(tmp_path)])
    assert main(["verify", "--results", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "2 records, 2 unsound" in shown.out
    assert "says 100.00 %" in shown.err
    assert "has a file that cannot be used" in shown.err


def test_an_own_file_of_measurements_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    honest.write(tmp_path, honest.honest())
    odd = tmp_path / "measures" / honest.honest()[0].settings.digest() / "nmi.json"
    odd.parent.mkdir(parents=True)
    odd.write_text("{", encoding="utf-8")
    main(["report", "--results", str(tmp_path)])
    capsys.readouterr()
    assert main(["verify", "--results", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "1 records, 0 unsound" in shown.out
    assert "measurements: 1 unreadable" in shown.out
    assert str(odd) in shown.err


@pytest.mark.sample(2)
@pytest.mark.parametrize("make", [odd_files.fifo, odd_files.endless, odd_files.sparse])
@pytest.mark.parametrize("name", ["leaderboard.md", "statistics.md"])
def test_what_stands_in_a_table_s_place_is_named_and_not_read(
    make: Callable[[Path], None], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    honest.write(tmp_path, honest.honest())
    main(["report", "--results", str(tmp_path)])
    (tmp_path / name).unlink()
    make(tmp_path / name)
    with odd_files.time_limit(60):
        assert main(["verify", "--results", str(tmp_path)]) == 1
    assert f"{tmp_path / name} is not what the records give" in capsys.readouterr().err
