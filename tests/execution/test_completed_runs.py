"""Runs remembered as complete: what keeps the memory, and everything that voids it."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bench.execution import completed_runs
from bench.execution.completed_runs import CompletedRun

OPTIONS = {"suite": None, "methods": ["linear"], "seeds": [0], "force": False, "debug": False}


@pytest.fixture
def kept(tmp_path, monkeypatch) -> CompletedRun:
    """A complete run: one record, one table, and code and cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(completed_runs, "CODE", (tmp_path / "code",))
    write(tmp_path / "code" / "method.py")
    run = CompletedRun(tmp_path / "results", OPTIONS)
    run.keep("nothing to run", [write(record_of(run)), write(table_of(run))])
    return run


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("as it was", encoding="utf-8")
    return path


def record_of(run: CompletedRun) -> Path:
    return run.results / "records" / "mini" / "one.json"


def table_of(run: CompletedRun) -> Path:
    return run.results / "leaderboard.md"


def asked_again(run: CompletedRun, **options) -> CompletedRun:
    return CompletedRun(run.results, {**run.options, **options})


def test_a_complete_run_is_remembered(kept):
    assert asked_again(kept).sentence() == "nothing to run"


def test_an_option_that_changes_no_plan_asks_for_the_same_run(kept):
    assert asked_again(kept, debug=True).sentence()


@pytest.mark.parametrize("name", ["record_of", "table_of"])
def test_a_file_that_was_changed_or_removed_has_the_run_planned(kept, name):
    path = globals()[name](kept)
    path.write_text("as it is", encoding="utf-8")
    assert asked_again(kept).sentence() is None
    path.unlink()
    assert asked_again(kept).sentence() is None


def test_another_record_has_the_run_planned_whose_tables_lack_it(kept):
    write(record_of(kept).with_name("other.json"))
    assert asked_again(kept).sentence() is None


@pytest.mark.parametrize(
    "changed", [{"methods": ["lora"]}, {"seeds": [0, 1]}, {"suite": "vtab_mini"}, {"root": "data"}]
)
def test_another_option_has_the_run_planned(kept, changed):
    assert asked_again(kept, **changed).sentence() is None


def test_another_results_folder_has_the_run_planned(kept, tmp_path):
    assert replace(asked_again(kept), results=tmp_path / "other").sentence() is None


def test_another_working_folder_has_the_run_planned(kept, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert asked_again(kept).sentence() is None


def test_changed_code_has_the_run_planned(kept, tmp_path):
    (tmp_path / "code" / "method.py").write_text("otherwise", encoding="utf-8")
    assert asked_again(kept).sentence() is None


def test_an_added_card_has_the_run_planned(kept, tmp_path):
    write(tmp_path / "code" / "suite.toml")
    assert asked_again(kept).sentence() is None


def test_another_version_of_a_package_has_the_run_planned(kept, monkeypatch):
    monkeypatch.setattr(completed_runs, "_version", lambda name: f"{name} 0.0")
    assert asked_again(kept).sentence() is None


@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE", "BENCH_DATA"])
def test_another_environment_has_the_run_planned(kept, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert asked_again(kept).sentence() is None


def test_a_changed_card_of_the_users_own_has_the_run_planned(kept, tmp_path):
    card = write(tmp_path / "own.toml")
    run = asked_again(kept, suite=str(card))
    run.keep("nothing to run", [record_of(kept)])
    assert asked_again(run).sentence() == "nothing to run"
    card.write_text("as it is", encoding="utf-8")
    assert asked_again(run).sentence() is None


@pytest.mark.parametrize("name", completed_runs.NEVER_KEPT)
def test_a_run_of_some_of_its_cells_or_with_code_of_the_users_own_is_never_remembered(kept, name):
    run = asked_again(kept, **{name: True})
    run.keep("nothing to run", [record_of(kept)])
    assert run.sentence() is None


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"files": 1}', '{"stamps": []}'])
def test_a_damaged_memory_has_the_run_planned(kept, content):
    kept._place().write_text(content, encoding="utf-8")
    assert asked_again(kept).sentence() is None


def test_a_cache_that_cannot_be_written_to_is_no_error(kept, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    kept.keep("nothing to run", [record_of(kept)])
    assert asked_again(kept).sentence() is None


def test_the_names_of_required_packages_are_read_without_versions_and_extras():
    names = ["a>=1", "b[x]<2", "c-d ~= 3.1; extra == 'dev'", "e2>=1,<2"]
    assert list(map(completed_runs._package_name, names)) == ["a", "b", "c-d", "e2"]
