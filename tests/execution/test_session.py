"""Sessions: which cells run again, records that stay the same, failures, kills and damage."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from timm.models import VisionTransformer

from bench.cli import main
from bench.data import image_cache
from bench.execution import selection
from bench.training import runner
from methods import Method, Unsupported
from methods.shared import registry
from support import paths, tiny
from support.run_records import (
    Raising,
    by_method,
    measured_values,
    one_sentence,
    record_path,
    records,
    register,
    write_times,
)

pytestmark = pytest.mark.usefixtures("no_figures")

ROOT = paths.REPO_ROOT


@dataclass(frozen=True)
class BadAttach(Method):
    """Fails in `attach`, but on the meta device."""

    def attach(self, model: VisionTransformer) -> None:
        if not model.cls_token.is_meta:
            raise RuntimeError("no way")


@dataclass(frozen=True)
class Unfit(Method):
    """Can serve no backbone."""

    def attach(self, model: VisionTransformer) -> None:
        raise Unsupported("no way")


def test_a_second_run_trains_nothing(run, tmp_path, monkeypatch):
    run("linear,bias")
    before = write_times(tmp_path / "results")
    monkeypatch.setattr(runner, "run", None)
    assert run("bias,linear") == 0
    assert write_times(tmp_path / "results") == before


def test_a_cell_that_no_record_could_hold_is_refused_before_it_runs(
    run, tmp_path, monkeypatch, capsys
):
    register(monkeypatch, "odd", Raising())
    monkeypatch.setitem(registry._codes, "odd", "no hash")
    monkeypatch.setattr(runner, "run", None)
    assert run("linear,odd") == 2
    assert "no record could hold this cell: settings.code should be" in one_sentence(capsys)
    assert not records(tmp_path / "results")


def test_more_test_images_than_a_record_can_be_of_are_refused_before_a_cell_runs(
    run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(selection, "MAX_IMAGES", 15)
    assert run("linear") == 2
    assert "the split test of light has 16 images; 15 is the most" in one_sentence(capsys)
    assert not records(tmp_path / "results")


def test_force_runs_again_to_the_same_numbers(run, tmp_path):
    run("linear,spt_deep")
    before, wrote = measured_values(tmp_path / "results"), write_times(tmp_path / "results")
    assert run("spt_deep", "--force") == 0
    assert measured_values(tmp_path / "results") == before
    changed = {n for n, t in write_times(tmp_path / "results").items() if t != wrote[n]}
    assert {name.split("-")[0] for name in changed} == {"spt_deep"}


def test_the_order_of_names_changes_neither_cells_nor_numbers(run, tmp_path):
    run("linear,vpt_deep", "--seeds", "1,0", "--tasks", "light,dark")
    run("vpt_deep,linear", "--seeds", "0,1", "--tasks", "dark,light", results="again")
    found = measured_values(tmp_path / "results")
    assert len(found) == 8
    assert found == measured_values(tmp_path / "again")


def test_a_cells_numbers_do_not_depend_on_what_ran_before(run, tmp_path):
    for alone in ("spt_deep", "vpt_deep"):
        image_cache._decode_all.cache_clear()
        run(alone)
    image_cache._decode_all.cache_clear()
    run("linear,spt_deep,vpt_deep", results="together")
    found, together = measured_values(tmp_path / "results"), measured_values(tmp_path / "together")
    assert found == {name: together[name] for name in found}


def test_another_seed_gives_other_numbers(run, tmp_path):
    run("linear", "--seeds", "0,1")
    first, second = (record["losses"] for record in measured_values(tmp_path / "results").values())
    assert first != second


def test_a_backbone_named_twice_runs_once(run, cards, tmp_path, monkeypatch):
    monkeypatch.chdir(cards)
    assert run("linear", "--backbones", f"small.toml,{cards / 'small.toml'}") == 0
    assert len(records(tmp_path / "results")) == 1


def test_another_architecture_under_the_same_name_is_another_cell(run, cards, tmp_path):
    narrow = {**tiny.ARCHITECTURE, "num_heads": 2}
    (tmp_path / "other").mkdir()
    other = tiny.backbone_card(tmp_path / "other" / "small.toml", architecture=narrow)
    run("linear")
    run("linear", "--backbones", str(other))
    assert len(records(tmp_path / "results")) == 2


@pytest.mark.parametrize("broken", ["prepare", "attach with weights"])
def test_a_failing_cell_stops_no_other_and_is_run_again_alone(
    run, tmp_path, monkeypatch, capsys, broken
):
    register(monkeypatch, "aa_broken", Raising() if broken == "prepare" else BadAttach())
    assert run("aa_broken,linear") == 1
    assert "bench: 1 of 2 cells have no result" in capsys.readouterr().err
    found = by_method(tmp_path / "results")
    failure = found["aa_broken"]["failure"]
    assert (failure["kind"], failure["error"]) == ("failed", "RuntimeError")
    assert failure["message"] in {"it broke", "no way"}
    assert "Traceback" in failure["traceback"]
    assert found["linear"]["outcome"]["accuracy"] >= 0
    before = write_times(tmp_path / "results")
    assert run("aa_broken,linear") == 1
    changed = {n for n, t in write_times(tmp_path / "results").items() if t != before[n]}
    assert {name.split("-")[0] for name in changed} == {"aa_broken"}


def test_a_mended_method_turns_the_failure_into_a_result(run, tmp_path, monkeypatch):
    register(monkeypatch, "aa_broken", Raising())
    assert run("aa_broken") == 1
    monkeypatch.setattr(Raising, "prepare", Method.prepare)
    assert run("aa_broken") == 0
    assert by_method(tmp_path / "results")["aa_broken"]["outcome"]


def test_a_method_that_cannot_serve_the_backbone_is_n_a(run, tmp_path, monkeypatch, capsys):
    register(monkeypatch, "unfit", Unfit())
    assert run("linear,unfit") == 0
    assert by_method(tmp_path / "results")["unfit"]["failure"]["kind"] == "unsupported"
    assert "n/a: no way" in capsys.readouterr().err
    assert "n/a" in (tmp_path / "results" / "leaderboard.md").read_text(encoding="utf-8")
    before = write_times(tmp_path / "results")
    assert run("linear,unfit") == 0
    assert write_times(tmp_path / "results") == before


def kill_at_random(argv: list[str], results: Path, rng: random.Random) -> None:
    """Start the run and kill it within a cell's length after it has written another record."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    before = len(write_times(results))
    process = subprocess.Popen([sys.executable, "-m", "bench", *argv], cwd=ROOT, env=env,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    while process.poll() is None and len(write_times(results)) == before:
        time.sleep(0.005)
    time.sleep(rng.uniform(0, 0.3))
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_kill_at_any_moment_loses_no_finished_cell(cards, tmp_path):
    rng, results = random.Random(0), tmp_path / "killed"
    more = ("--seeds", "0,1", "--set", "epochs=8")
    names = "linear,spt_deep,vpt_deep"
    wrote: dict[str, int] = {}
    for _ in range(3):
        kill_at_random(tiny.command("run", cards, results, names, *more), results, rng)
        assert wrote.items() <= write_times(results).items()
        wrote = write_times(results)
    assert len(wrote) >= 3
    assert main.main(tiny.command("run", cards, results, names, *more)) == 0
    assert wrote.items() <= write_times(results).items()
    assert main.main(tiny.command("run", cards, tmp_path / "whole", names, *more)) == 0
    assert measured_values(results) == measured_values(tmp_path / "whole")
    assert main.main(["verify", "--results", str(results)]) == 0


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "damage",
    [
        lambda old: b"\xff\xfe{",
        lambda old: old[: len(old) // 2],
        lambda old: b"",
        lambda old: b"[]",
    ],
    ids=["corrupt", "truncated", "empty", "other"],
)
def test_a_damaged_record_is_skipped_named_and_its_cell_runs_again(run, tmp_path, capsys, damage):
    run("linear,bias")
    results = tmp_path / "results"
    before, wrote = measured_values(results), write_times(results)
    path = record_path(results, "bias")
    path.write_bytes(damage(path.read_bytes()))
    assert main.main(["report", "--results", str(results)]) == 0
    assert f"skipped: {path} is not a record" in capsys.readouterr().err
    assert main.main(["verify", "--results", str(results)]) == 1
    assert f"{path} is not a record" in capsys.readouterr().err
    assert run("linear,bias") == 0
    assert measured_values(results) == before
    assert (
        write_times(results)[record_path(results, "linear").name]
        == wrote[record_path(results, "linear").name]
    )
    assert main.main(["verify", "--results", str(results)]) == 0


def test_a_record_whose_settings_were_edited_is_found_and_its_cell_runs_again(
    run, tmp_path, capsys
):
    run("linear")
    path = record_path(tmp_path / "results", "linear")
    path.write_text(
        path.read_text(encoding="utf-8").replace('"seed": 0', '"seed": 1'), encoding="utf-8"
    )
    assert main.main(["verify", "--results", str(tmp_path / "results")]) == 1
    assert str(path) in capsys.readouterr().err
    assert run("linear") == 0
    assert main.main(["verify", "--results", str(tmp_path / "results")]) == 0
