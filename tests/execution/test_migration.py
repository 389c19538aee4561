"""Migration of records of schema 1, also when it is interrupted."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import methods
from bench.cli import main
from bench.execution import migration
from bench.records.ensembles import ensemble_name
from bench.records.store import Store
from support import paths, tiny

ROOT = paths.REPO_ROOT
pytestmark = pytest.mark.usefixtures("no_figures")


def as_before(results: Path) -> None:
    """Turn a folder into one of schema 1: no classes, in neither records nor digests."""
    names: dict[str, str] = {}
    for root in (results / "trials", results):
        for path in Store(root).files():
            table = json.loads(path.read_text(encoding="utf-8"))
            new, settings = table["cell"], dict(table["settings"])
            del settings["classes"]
            names[new] = old = migration.settings_digest(settings)
            table |= {"settings": settings, "schema": 1, "cell": old}
            for trial in (table["tuned"] or {}).get("trials", []):
                trial["cell"] = names[trial["cell"]]
            named = path.with_name(path.name.replace(new, old))
            named.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            path.unlink()
            predictions = root / "predictions" / f"{new}.npz"
            if predictions.is_file():
                predictions.rename(predictions.with_name(f"{old}.npz"))
            measure = root / "measures" / old / "convergence.json"
            measure.parent.mkdir(parents=True, exist_ok=True)
            measure.write_text(f'{{"cell": "{old}", "rows": []}}', encoding="utf-8")


def content(results: Path) -> dict[str, bytes]:
    """Every record, prediction and measure."""
    kinds = ("records", "predictions", "measures")
    files = [p for p in results.rglob("*") if p.is_file() and {*p.parts} & {*kinds}]
    return {str(p.relative_to(results)): p.read_bytes() for p in files}


@pytest.fixture(scope="module")
def ran(cards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of three methods, one of them tuned."""
    results = tmp_path_factory.mktemp("ran")
    assert main.main(tiny.command("run", cards, results, "linear,bias,mlp3")) == 0
    two = ("--tune", "--set", "grid={ lr = [1e-3, 1e-2] }")
    assert main.main(tiny.command("run", cards, results, "vpt_deep", *two)) == 0
    return results


@pytest.fixture
def old(ran: Path, tmp_path: Path) -> Path:
    results = tmp_path / "results"
    shutil.copytree(ran, results)
    as_before(results)
    return results


def migrate(results: Path) -> int:
    return main.main(["migrate", "--results", str(results)])


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in Store(folder).files()]


def test_they_become_what_this_version_would_have_written(ran, old):
    assert migrate(old) == 0
    found = {name: text for name, text in content(old).items() if "measures" not in name}
    assert found == content(ran)
    cells = {record["cell"] for folder in (old, old / "trials") for record in records(folder)}
    measured = {path.parent.name: path for path in old.rglob("convergence.json")}
    assert measured.keys() == cells
    assert all(cell in path.read_text(encoding="utf-8") for cell, path in measured.items())


def name_other_grids(results: Path) -> None:
    """Give tuned records the grid of another method, as all had once; with a digest to match."""
    for path in list(Store(results).files()):
        table = json.loads(path.read_text(encoding="utf-8"))
        if not table["tuned"]:
            continue
        new = table["cell"]
        table["settings"]["recipe"]["tuning"]["grid_of"]["lora"] = {"lr": [0.5, 0.25]}
        table["cell"] = old = migration.settings_digest(table["settings"])
        named = path.with_name(path.name.replace(new, old))
        named.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        path.unlink()
        predictions = results / "predictions"
        (predictions / f"{new}.npz").rename(predictions / f"{old}.npz")


def test_the_grids_of_other_methods_are_left_out(ran, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(ran, results)
    name_other_grids(results)
    assert content(results) != content(ran)
    assert migrate(results) == 0
    assert content(results) == content(ran)
    assert len((results / migration.MAP_FILE).read_text(encoding="utf-8").splitlines()) > 1
    assert migrate(results) == 0
    assert content(results) == content(ran)


def test_what_else_names_cells_names_the_new_ones(old):
    before = [record["cell"] for record in records(old)][:2]
    (old / "ensembles").mkdir()
    table = f"first_cell,second_cell\n{before[0]},{before[1]}\n"
    (old / "ensembles" / f"{ensemble_name(before)}.csv").write_text(table, encoding="utf-8")
    (old / "interpolation").mkdir()
    (old / "interpolation" / f"{before[0]}-weights.json").write_text(f'"{before[0]}"')
    assert migrate(old) == 0
    lines = csv.DictReader((old / migration.MAP_FILE).read_text(encoding="utf-8").splitlines())
    names = {line["before"]: line["cell"] for line in lines}
    after = [names[cell] for cell in before]
    [ensemble] = (old / "ensembles").iterdir()
    assert ensemble.name == f"{ensemble_name(after)}.csv"
    assert ensemble.read_text(encoding="utf-8") == table.replace(before[0], after[0]).replace(
        before[1], after[1]
    )
    [scores] = (old / "interpolation").iterdir()
    assert scores.name == f"{after[0]}-weights.json"
    assert scores.read_text(encoding="utf-8") == f'"{after[0]}"'


def test_twice_is_as_once(old):
    migrate(old)
    before = content(old) | {"map": (old / migration.MAP_FILE).read_bytes()}
    assert migrate(old) == 0
    assert content(old) | {"map": (old / migration.MAP_FILE).read_bytes()} == before


@pytest.mark.sample(1)
@pytest.mark.parametrize("step", range(1, 12, 2))
def test_an_interrupted_one_is_taken_up_where_it_was(old, step, monkeypatch, tmp_path):
    whole = tmp_path / "whole"
    shutil.copytree(old, whole)
    migrate(whole)
    left, plain = iter(range(step)), Path.unlink

    def unlink(path: Path, *more: Any) -> None:
        if path.suffix == ".json" and next(left, None) is None:
            raise KeyboardInterrupt
        plain(path, *more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        migrate(old)
    assert migrate(old) == 0
    assert content(old) == content(whole)
    assert (old / migration.MAP_FILE).read_text(encoding="utf-8") == (
        whole / migration.MAP_FILE
    ).read_text(encoding="utf-8")


def test_the_classes_are_those_that_were_trained_whatever_the_card_says_now(old, capsys):
    for path in Store(old).files():
        path.write_text(
            path.read_text(encoding="utf-8").replace('"head_params": 130', '"head_params": 650'),
            encoding="utf-8",
        )
    assert migrate(old) == 0
    assert {record["settings"]["classes"] for record in records(old)} == {10}


def test_a_count_that_fits_no_number_of_classes_is_left_with_a_sentence(old, capsys):
    path = Store(old).files()[0]
    path.write_text(
        path.read_text(encoding="utf-8").replace('"head_params": 130', '"head_params": 131'),
        encoding="utf-8",
    )
    assert migrate(old) == 1
    assert "fit no number of classes" in capsys.readouterr().err
    assert path.is_file()


def test_fields_that_came_since_have_the_value_that_all_had():
    assert migration._new_fields("spt_deep") == {"replacement": False}
    assert migration._new_fields("spt_deep_kmeans") == {}
    assert migration._new_fields("adaptformer") == {"bias": True}
    assert migration._new_fields("vqt") == {"gathered": "concatenated"}
    assert migration._new_fields("a plug-in's") == {}
    for name in ("spt_shallow_max", "adaptformer", "vqt"):
        fields = vars(methods.create(name))
        assert migration._new_fields(name).items() <= fields.items()


def test_a_record_whose_method_is_registered_otherwise_now_asks_for_what_it_was():
    asked = {"settings": {"method": "fact_tk"}, "request": {"method": "fact_tk", "changes": {}}}
    assert migration._migrate_request(asked)["changes"] == {"form": "tucker"}
    assert methods.create("fact_tk").form == "tucker_interleaved"
    asked["settings"]["method"] = "fact_tt"
    assert migration._migrate_request(asked)["changes"] == {}


SETTINGS_ALONE = '{"schema": 1, "cell": "0123456789abcdef", "settings": {"method": ["linear"]}}'
DEEP = '{"schema": 1, "cell": "x", "settings": {"a": ' + "[" * 900 + "]" * 900 + "}}"


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", '{"schema": 1}', '{"schema": 1, "settings": 3, "cell": "x"}', "[" * 10**5),
        *('{"schema": 1, "schema": 1}', '{"schema": NaN}', '{"schema": ' + "1" * 4000 + "}"),
        *(SETTINGS_ALONE, DEEP),
    ],
    ids=range(10),
)
def test_what_is_no_record_is_named_and_left(old, capsys, text):
    path = Store(old).files()[0]
    path.write_text(text, encoding="utf-8")
    assert migrate(old) == 1
    assert str(path) in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("old_text", "new_text"),
    [
        ('"method": "linear"', '"method": "../linear"'),
        ('"train_seconds": ', '"train_seconds": 1e999'),
        ('"trials": [', '"trials": ["", '),
        ('"request": {', '"request": {"unknown": 1, '),
        ('"test_images": ', '"test_images": -'),
    ],
)
def test_what_the_present_schema_would_refuse_is_named_and_left(old, capsys, old_text, new_text):
    files = [*Store(old).files(), *Store(old / "trials").files()]
    path = next(p for p in files if old_text in p.read_text(encoding="utf-8"))
    forged = path.read_text(encoding="utf-8").replace(old_text, new_text)
    path.write_text(forged, encoding="utf-8")
    assert migrate(old) == 1
    assert str(path) in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == forged


def test_a_record_that_names_no_cell_is_named_and_left(old, capsys):
    path = Store(old).files()[0]
    whole = json.loads(path.read_text(encoding="utf-8"))
    del whole["cell"]
    path.write_text(json.dumps(whole), encoding="utf-8")
    assert migrate(old) == 1
    assert f"{path} names cell none" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", "before\n", f"{migration.MAP_HEADER}\nx,y\n", "\x00", '"' + "x" * 200_000]
)
def test_a_map_that_is_none_is_a_sentence_and_nothing_is_moved(old, capsys, text):
    (old / migration.MAP_FILE).write_text(text, encoding="utf-8")
    before = content(old)
    assert migrate(old) == 2
    assert "is not the map of a migration" in capsys.readouterr().err
    assert content(old) == before


def test_measures_that_are_no_file_are_named_and_left(old, capsys, tmp_path):
    path = next(old.rglob("convergence.json"))
    (tmp_path / "elsewhere").write_text("{}", encoding="utf-8")
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert migrate(old) == 1
    assert f"{path} is not a file of measures: it is a link" in capsys.readouterr().err
    assert path.is_symlink()


def test_a_folder_that_leads_out_is_not_followed(old, capsys, tmp_path):
    (old / "predictions").rename(tmp_path / "elsewhere")
    (old / "predictions").symlink_to(tmp_path / "elsewhere")
    before = content(old)
    assert migrate(old) == 2
    assert "leads out of" in capsys.readouterr().err
    assert content(old) == before


@pytest.mark.parametrize("act", ["run", "tune", "report", "verify", "status"])
def test_no_command_passes_over_what_an_earlier_version_left(cards, old, capsys, act):
    words = tiny.command(act, cards, old, "linear") if act in ("run", "tune", "status") else []
    words = [word for word in words if act != "status" or word not in ("--device", "cpu")]
    assert main.main(words or [act, "--results", str(old)]) == 2
    said = capsys.readouterr().err
    assert "6 records in" in said
    assert f"`python -m bench migrate --results {old}` keeps their numbers" in said


def test_records_of_others_are_refused_by_the_same_sentence(old, tmp_path, capsys):
    assert main.main(["merge", str(old), "--results", str(tmp_path / "mine")]) == 1
    assert "`python -m bench migrate` brings a results folder over" in capsys.readouterr().err


@pytest.mark.parametrize("folder", [ROOT / "results", ROOT / "results" / "grid"])
def test_committed_records_came_over_with_their_numbers(folder):
    """Without what schema 2 added, a record's settings have the hash that named it before."""
    found = {r["cell"]: r for f in (folder, folder / "trials") for r in records(f)}
    lines = list(
        csv.DictReader((folder / migration.MAP_FILE).read_text(encoding="utf-8").splitlines())
    )
    there = [line for line in lines if line["cell"] in found]
    assert len(there) > 0.9 * len(lines)  # what was run again since has a record of its own
    for line in there:
        record = found[line["cell"]]
        assert float(line["accuracy"]) == record["outcome"]["accuracy"]
        if record["settings"]["recipe"]["name"] == "light":
            continue  # younger than schema 1: its records once had the grids of other methods
        settings = dict(record["settings"])
        added = migration._new_fields(settings["method"])
        del settings["classes"]
        settings["fields"] = {k: v for k, v in settings["fields"].items() if k not in added}
        assert migration.settings_digest(settings) == line["before"]
