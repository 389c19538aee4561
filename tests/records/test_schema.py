"""The door for records: what is forged is refused with a sentence, and what is sound is read."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench.config.loading import RECIPES_DIR, card_names
from bench.config.recipe import Recipe, load_recipe
from bench.config.search_space import trial_protocol, tuned_protocol
from bench.execution.migration import settings_digest
from bench.records import entries, schema, store
from bench.records.schema import Failure, Record, ShiftScore, Trial, TuningResult
from bench.records.store import Store, read_record
from bench.utils.errors import UserError
from support import paths
from support.made_up_records import make

COMMITTED = paths.REPO_ROOT / "results"
RATES = {"lr": 0.005, "weight_decay": 0.01}
GRID = {"lr": [0.005, 0.01]}
Change = Callable[[dict[str, Any]], None]


def sound() -> dict[str, Any]:
    """A tuned record of every entry that a record may have, as its file has it."""
    return json.loads(sound_text())


@cache
def sound_text() -> str:
    search = {"trials": 1, "seed": 0, "grid": GRID, "grid_of": {"spt_deep": {"prompts": [5, 9]}}}
    plain = make(
        "spt_deep",
        "digits",
        accuracy=50.0,
        fields={"prompts": 5, "share": 0.5, "options": {"r": [1, None]}, "prompts_from": "count"},
        input={"size": 32, "pooling": "token", "mean": [0.5] * 3, "std": [0.5] * 3}
        | {"timm": "vit_tiny_patch16_224", "architecture": {"depth": 4}},
        recipe={k: v for k, v in load_recipe("quick").protocol("mini", "fp32").items() if k != "lr"}
        | {"tuning": {**search, "halving": [[2, 5], [1, 10]]}},
        start_split="5" * 16,
        code="a" * 64 + " plug-in 1.0",
        few_shot={"shots": 4, "list": 0},
        shifts={"blur": "6" * 16, "five": f"{'7' * 16}-{'8' * 16}"},
    )
    assert plain.outcome
    shifts = {
        "blur": ShiftScore(40.0, 10, "b" * 64),
        "five": ShiftScore(30.0, 10, "c" * 64, 50.0, "d" * 64),
    }
    at = {"point": {**RATES, "prompts": 5}, "epochs": 10, "learnt": "trainval", "scored": "test"}
    whole = replace(
        plain,
        outcome=replace(plain.outcome, shifts=shifts),
        tuned=TuningResult(0, 9.0, [Trial({**RATES, "prompts": 5}, 10, 50.0, 9.0, "0" * 16)]),
        environment={"commit": "a" * 40, "dirty": False, "threads": 1, "seconds": 13.0}
        | {"device_name": "a CPU, 2 cores", "data_warnings": ["one"], "processes": None},
        request={"suite": "mini", "method": "spt_deep", "backbone": "vit_mini_mae"}
        | {"task": "digits", "seed": 0, "recipe": None, "changes": {"grid.lr": [0.005, 0.01]}}
        | {"variant": None, "data_root": "/data", "plugins": ["mine.py"], "at": at},
        remark="a remark\nof two lines",
    )
    return json.dumps({**asdict(whole), "cell": plain.settings.digest()})


def written(folder: Path, whole: dict[str, Any]) -> Path:
    """The file of a record, whose cell is that of its settings where these can have one."""
    if isinstance(whole.get("settings"), dict) and whole.get("cell") == sound()["cell"]:
        whole["cell"] = settings_digest(whole["settings"])
    path = folder / "record.json"
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path


def put(name: str, value: Any) -> Change:
    """A change of the entry with this dotted name."""

    def change(whole: dict[str, Any]) -> None:
        *outer, last = name.split("/")
        table: Any = whole
        for key in outer:
            table = table[int(key) if isinstance(table, list) else key]
        table[int(last) if isinstance(table, list) else last] = value

    return change


def drop(name: str) -> Change:
    def change(whole: dict[str, Any]) -> None:
        *outer, last = name.split("/")
        table = whole
        for key in outer:
            table = table[key]
        del table[last]

    return change


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 1


NUMBERS: dict[str, Any] = {
    "text": "5",
    "true": True,
    "null": None,
    "list": [1],
    "table": {},
    "huge": 10**400,
    "negative": -1,
}
FORGED: dict[str, Change] = {
    **{
        f"{name} {kind}": put(name, value)
        for name in (
            *("settings/seed", "settings/classes", "settings/suite_version"),
            *("settings/recipe/epochs", "settings/recipe/batch", "settings/recipe/version"),
            *("settings/rates/lr", "settings/input/size", "outcome/accuracy"),
            *("outcome/best_epoch", "outcome/test_images", "outcome/method_params"),
            *("outcome/head_params", "outcome/init_seconds", "outcome/train_seconds"),
            *("outcome/peak_memory_mb", "outcome/test_accuracies/10", "tuned/seed"),
            *("tuned/trials/0/seconds", "tuned/trials/0/epochs", "tuned/trials/0/point/lr"),
            *("request/seed", "request/at/epochs", "schema"),
        )
        for kind, value in NUMBERS.items()
        if (name, kind) != ("schema", "negative")  # of another version, says a test below
    },
    **{
        f"{name} 1.0": put(name, 1.0)
        for name in ("settings/seed", "settings/classes", "outcome/best_epoch", "schema")
    },
    **{
        f"{name} {value}": put(name, value)
        for name in (
            *("settings/suite", "settings/task", "settings/method", "settings/backbone"),
            *("request/method", "request/task", "settings/recipe/name", "settings/fields"),
        )
        for value in (
            *("", ".", "..", "../../pwned", "/etc/passwd", ".hidden", "-rf", "a/b", "a\\b"),
            *("a\x00b", "a\nb", "\x1b[31m", "=1+1", "naïve", "x" * 300, 5, None, ["a"]),
        )
        if value or name != "settings/fields"
    },
    **{
        f"{name} unknown": put(f"{name}/unknown", 1)
        for name in (
            *("settings", "settings/input", "settings/rates", "settings/recipe"),
            *("settings/recipe/view", "settings/recipe/tuning", "settings/recipe/tuning/grid"),
            *("outcome", "tuned", "tuned/trials/0", "request", "request/at"),
        )
    },
    **{
        f"{name} missing": drop(name)
        for name in (
            *("settings", "settings/seed", "settings/input/size", "settings/rates/lr"),
            *("settings/recipe/name", "settings/recipe/tuning/trials", "outcome", "group"),
            *("request/suite", "request/changes", "request/at/point", "request/at/point/lr"),
            *("outcome/losses", "outcome/test_accuracies", "tuned/trials"),
        )
    },
    **{
        f"{name} a list": put(name, [])
        for name in (
            *("settings", "settings/input", "settings/recipe", "settings/recipe/view"),
            *("settings/recipe/tuning", "settings/rates", "outcome", "tuned", "request"),
            *("request/changes", "request/at", "environment", "group", "remark", "cell"),
        )
    },
    "request of a suite alone": put("request", {"suite": "mini"}),
    "recipe 5": put("settings/recipe", 5),
    "request recipe 5": put("request/recipe", 5),
    "request suite an option": put("request/suite", "--results=/"),
    "request plug-ins a text": put("request/plugins", "abc"),
    "request plug-in an option": put("request/plugins", ["--force"]),
    "data root with a zero": put("request/data_root", "/data\x00"),
    "changes with a line break in a name": put("request/changes", {"a\nb": 1}),
    "changes with ESC": put("request/changes", {"lr": "\x1b[2J"}),
    "changes nested": put("request/changes", {"lr": nested(20)}),
    "changes endless": put("request/changes", {"lr": "x" * 100_000}),
    "fields huge": put("settings/fields/prompts", 10**30),
    "fields nested": put("settings/fields/prompts", nested(500)),
    "prompts from elsewhere": put("settings/fields/prompts_from", "../x"),
    "prompts from a list": put("settings/fields/prompts_from", ["digits"]),
    "normalisation unknown": put("settings/recipe/normalisation", "mine"),
    "compile 1": put("settings/recipe/compile", 1),
    "train share 2": put("settings/recipe/train_share", 2),
    "mean of two channels": put("settings/input/mean", [0.5, 0.5]),
    "mean of texts": put("settings/input/mean", ["0.5"] * 3),
    "halving of threes": put("settings/recipe/tuning/halving", [[1, 2, 3]]),
    "grid of texts": put("settings/recipe/tuning/grid/lr", ["0.1"]),
    "grid of a method a text": put("settings/recipe/tuning/grid_of", {"spt_deep": "prompts"}),
    "seed 2**32": put("settings/seed", 2**32),
    "classes 0": put("settings/classes", 0),
    "classes beyond int16": put("settings/classes", 2**15 + 1),
    "epochs beyond all": put("settings/recipe/epochs", 10**6),
    "accuracy 100.1": put("outcome/accuracy", 100.1),
    "trial accuracy 101": put("tuned/trials/0/accuracy", 101),
    "no trials": put("tuned/trials", []),
    "trial of no cell": put("tuned/trials/0/cell", "x"),
    "trial of a path": put("tuned/trials/0/cell", "../../etc/passwd"),
    "no images": put("outcome/test_images", 0),
    "seconds beyond all": put("outcome/train_seconds", 1e300),
    "losses a text": put("outcome/losses", "1" * 10),
    "losses of texts": put("outcome/losses", ["1"] * 10),
    "losses too few": put("outcome/losses", [1.0]),
    "losses none": put("outcome/losses", []),
    "losses too many": put("outcome/losses", [1.0] * 11),
    "accuracies at no epoch": put("outcome/test_accuracies", {"last": 50.0, "10": 50.0}),
    "accuracies at epoch 0": put("outcome/test_accuracies/0", 50.0),
    "accuracies beyond the last epoch": put("outcome/test_accuracies/11", 50.0),
    "accuracies without the last": drop("outcome/test_accuracies/10"),
    "accuracies none": put("outcome/test_accuracies", {}),
    "accuracy not of the last epoch": put("outcome/accuracy", 99.0),
    "best epoch not scored": put("outcome/best_epoch", 3),
    "best epoch beyond": put("outcome/best_epoch", 11),
    "best accuracy invented": put("outcome/best_epoch_accuracy", 99.0),
    "best not the best": put("outcome/test_accuracies/9", 99.0),
    "predictions no hash": put("outcome/predictions", "abc"),
    "predictions of a path": put("outcome/predictions", "../" * 21 + "x"),
    "weights no hash": put("settings/weights", "mine"),
    "split no digests": put("settings/split", "mine"),
    "start split no digests": put("settings/start_split", "mine"),
    "code no hash": put("settings/code", "import os"),
    "shots without a list": put("settings/few_shot", {"shots": 4}),
    "a list without shots": put("settings/few_shot", {"list": 4}),
    "no shots": put("settings/few_shot/shots", 0),
    "shots that are text": put("settings/few_shot/shots", "4"),
    "shots without end": put("settings/few_shot/shots", 10**9),
    "a negative list": put("settings/few_shot/list", -1),
    "shots and more": put("settings/few_shot/ways", 5),
    "few_shot a number": put("settings/few_shot", 4),
    "cell of another": put("cell", "0" * 16),
    "cell no digest": put("cell", "../x"),
    "cell in capitals": put("cell", "ABCDEF0123456789"),
    "group with ESC": put("group", "\x1b[31mred"),
    "remark endless": put("remark", "x" * 10_000),
    "remark with a zero": put("remark", "a\x00b"),
    "schema in a text": put("schema", "2"),
    "commit no hash": put("environment/commit", "HEAD; rm -rf"),
    "dirty no": put("environment/dirty", "no"),
    "threads many": put("environment/threads", "many"),
    "seconds soon": put("environment/seconds", "soon"),
    "seconds below 0": put("environment/seconds", -1),
    "environment of tables": put("environment/cpu", {"cores": 2}),
    "environment with a line break": put("environment/platform", "a\nb"),
    "environment endless": put("environment/platform", "x" * 5_000),
    "environment of many words": put("environment/words", ["x" * 5_000]),
    "environment of 10**400": put("environment/memory", 10**400),
    "request of another method": put("request/method", "linear"),
    "request of another task": put("request/task", "count"),
    "request of another seed": put("request/seed", 1),
    "outcome and failure": put("failure", {"kind": "failed", "error": "E", "message": "why"}),
    "failure of an unknown kind": put("failure", {"kind": "odd", "error": "E", "message": "why"}),
    "neither outcome nor failure": put("outcome", None),
}


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_record(path)
    said = str(caught.value)
    assert str(path) in said
    assert said.isprintable(), "a sentence of one line"
    assert len(said) < 500
    return said


def test_a_record_with_every_entry_is_read(tmp_path: Path) -> None:
    whole = sound()
    found = read_record(written(tmp_path, whole))
    assert json.loads(json.dumps(asdict(found))) == {**whole, "cell": found.cell}


@pytest.mark.parametrize("change", FORGED.values(), ids=[ascii(name)[:60] for name in FORGED])
def test_a_forged_record_is_refused(change: Change, tmp_path: Path) -> None:
    whole = sound()
    change(whole)
    refusal(written(tmp_path, whole))


RAW: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "half": lambda text: text[: len(text) // 2],
    "a list": lambda _: "[]",
    "a list of records": lambda text: f"[{text}]",
    "null": lambda _: "null",
    "a number": lambda _: "5",
    "two records": lambda text: text * 2,
    "a web page": lambda _: "<html></html>",
    "deep lists": lambda _: "[" * 10**6,
    "deep tables": lambda _: '{"a":' * 10**6,
    "the accuracy twice": lambda text: text.replace('"outcome": {', '"outcome": {"accuracy": 99,'),
    "the settings twice": lambda text: text[:-1] + ', "settings": {}}',
    "a field twice": lambda text: text.replace('"prompts": 5', '"prompts": 5, "prompts": 6', 1),
    "NaN": lambda text: text.replace('"train_seconds": 12.0', '"train_seconds": NaN'),
    "Infinity": lambda text: text.replace('"train_seconds": 12.0', '"train_seconds": Infinity'),
    "-Infinity in the environment": lambda text: text.replace('"threads": 1', '"x": -Infinity'),
    "1e999": lambda text: text.replace('"train_seconds": 12.0', '"train_seconds": 1e999'),
    "1e999 in a field": lambda text: text.replace('"share": 0.5', '"share": 1e999'),
    "10,000 digits": lambda text: text.replace('"seed": 0', f'"seed": {"1" * 10_000}'),
    "half a character": lambda text: text.replace("a remark", "\\ud800"),
    "half a character in a name": lambda text: text.replace('"plugins"', '"\\udc00": 1, "plugins"'),
    "a raw line break": lambda text: text.replace("a remark", "a\nremark"),
    "a raw zero": lambda text: text.replace("a remark", "a\x00remark"),
    "too large": lambda text: text + " " * store.MAX_RECORD_BYTES,
    "many unknown entries": lambda text: (
        text[:-1] + "".join(f', "{i}": ""' for i in range(10**5)) + "}"
    ),
    "a million losses": lambda text: text.replace('"losses": [', '"losses": [' + "1.0, " * 10**6),
    "a million texts": lambda text: text.replace('"losses": [', '"losses": [' + '"", ' * 10**6),
}


@pytest.mark.parametrize("change", RAW.values(), ids=RAW)
def test_text_that_is_no_record_is_refused(change: Callable[[str], str], tmp_path: Path) -> None:
    text = sound_text()
    changed = change(text)
    assert changed != text
    path = tmp_path / "record.json"
    path.write_text(changed, encoding="utf-8")
    refusal(path)


@pytest.mark.parametrize("given", ["NaN", "Infinity", "-Infinity"])
def test_what_only_python_calls_a_number_is_named(given: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(f'{{"schema": 2, "seconds": {given}}}', encoding="utf-8")
    assert f"{given} is no number of JSON" in refusal(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig", "latin-1"])
def test_another_encoding_than_utf_8_is_refused(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(json.dumps({"é": "é"}, ensure_ascii=False).encode(encoding))
    refusal(path)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (1, "has schema 1; this version reads 2: `python -m bench migrate`"),
        (3, "has schema 3; this version reads 2: update it"),
        (-1, "has schema -1; this version reads 2"),
    ],
)
def test_another_schema_is_named_whatever_else_it_has(
    given: int, said: str, tmp_path: Path
) -> None:
    assert said in refusal(written(tmp_path, {**sound(), "schema": given, "new": 1}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("settings/seed", "5"), "settings.seed should be a valid integer, not '5'"),
        (put("outcome/accuracy", 101), "outcome.accuracy should be less than or equal to 100"),
        (put("settings/method", "../x"), "settings.method should be of another form, not '../x'"),
        (put("request/changes/lr", nested(9)), "request.changes is nested more than 6 deep"),
        (put("settings/recipe/epoch", 5), "settings.recipe.epoch is no known entry"),
        (drop("settings/task"), "settings.task is missing"),
        (put("request", {"suite": "mini"}), "request should have suite, method, backbone"),
    ],
)
def test_the_sentence_names_the_entry_and_what_was_expected(
    change: Change, said: str, tmp_path: Path
) -> None:
    whole = sound()
    change(whole)
    assert said in refusal(written(tmp_path, whole))


def record_file(folder: Path) -> Path:
    folder.mkdir()
    return written(folder, sound())


def test_a_link_to_a_record_is_none(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(record_file(tmp_path / "elsewhere"))
    assert "it is a link" in refusal(link)


@pytest.mark.parametrize("make_odd", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_no_record(make_odd: Callable[[Path], None], tmp_path: Path) -> None:
    make_odd(tmp_path / "record.json")
    refusal(tmp_path / "record.json")


@pytest.mark.parametrize("folder", ["", "trials", "grid"])
def test_the_committed_records_are_read(folder: str) -> None:
    found = [record for _, record in Store(COMMITTED / folder).read_all()]
    assert len(found) >= 15
    assert not [str(error) for error in found if not isinstance(error, Record)]


@pytest.mark.parametrize("name", card_names(RECIPES_DIR))
def test_the_protocol_of_every_recipe_can_be_recorded(name: str, tmp_path: Path) -> None:
    recipe = replace(load_recipe(name), compile=True, train_share=0.5)
    recipe = replace(recipe, grid=GRID, tuning=replace(recipe.tuning, trials=2))
    for number, protocol in enumerate(protocols(recipe)):
        one = make("linear", "digits", accuracy="failed", recipe=protocol)
        at = {"point": RATES, "epochs": recipe.epochs, "learnt": "train", "scored": "val"}
        names = {name: getattr(one.settings, name) for name in ("suite", "method", "backbone")}
        names |= {"task": "digits", "seed": 0, "recipe": name, "changes": {}, "at": at}
        path = Store(tmp_path / str(number)).write(replace(one, request=names))
        assert read_record(path).settings.recipe == json.loads(json.dumps(protocol))


def protocols(recipe: Recipe) -> list[dict[str, Any]]:
    return [
        recipe.protocol("mini", "bf16"),
        tuned_protocol(recipe, "vtab1k", "fp32", "linear"),
        trial_protocol(recipe, "mini", "fp32", "val"),
    ]


def test_the_largest_record_that_one_could_want_is_well_within_the_limit(tmp_path: Path) -> None:
    """10,000 epochs, each of them scored, after 500 trials."""
    epochs, accuracy = 10_000, 56.49999999999999
    point = {**RATES, "drop_path": 0.30000000000000004, "options": {"alpha": 8.0}}
    trials = [Trial(point, epochs, accuracy, 1234.567890123, "0" * 16)] * 500
    plain = make("spt_deep", "digits", recipe={"name": "quick", "version": 1, "epochs": epochs})
    assert plain.outcome is not None
    outcome = replace(
        plain.outcome,
        accuracy=accuracy,
        best_epoch_accuracy=accuracy,
        losses=[1.4111695289611816] * epochs,
        test_accuracies={str(1 + epoch): accuracy for epoch in range(epochs)},
    )
    whole = replace(plain, outcome=outcome, tuned=TuningResult(0, 1e6, trials))
    path = Store(tmp_path).write(whole)
    assert path.stat().st_size < store.MAX_RECORD_BYTES / 8
    assert read_record(path).outcome == outcome


ODD_TEXT = "zero \x00, half \udcff, ESC \x1b[0m, two\nlines, long " + "x" * 200_000


def test_a_failure_of_any_text_can_be_read_back(tmp_path: Path) -> None:
    plain = make("linear", "digits", accuracy="failed")
    failure = Failure("failed", ODD_TEXT, ODD_TEXT, ODD_TEXT + "the end")
    about = {"device_name": ODD_TEXT, "data_warnings": [ODD_TEXT]}
    whole = replace(plain, failure=failure, environment=about, remark=ODD_TEXT)
    found = read_record(Store(tmp_path).write(whole))
    assert found.failure is not None
    assert found.failure.message.startswith("zero \\x00, half \\udcff, ESC \x1b[0m, two\nlines")
    assert found.failure.traceback.endswith("the end")
    assert found.failure.error.startswith("zero \\x00, half \\udcff, ESC \\x1b[0m, two\\nlines")


def test_a_record_has_the_bounds_of_the_names_of_cards() -> None:
    for name in (*card_names(RECIPES_DIR), "mini", "vtab1k"):
        assert entries.names.NAME.fullmatch(name)
    assert schema.TUNING_KEY in sound()["settings"]["recipe"]
