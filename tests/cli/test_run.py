"""Running cells: what is kept, what is run again, what is refused."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.models import VisionTransformer

from bench.cli import main
from bench.config.recipe import load_recipe
from bench.config.suite import load_suite
from bench.data import image_cache
from bench.training import runner
from bench.utils.files import write_atomically
from methods import Method, Unsupported
from methods.linear import Linear
from methods.shared import memory, patch_tokens
from support import paths, tiny
from support.run_records import by_method, records, register

pytestmark = pytest.mark.usefixtures("no_picture")

ROOT = paths.REPO_ROOT
NUMBERS = ("accuracy", "best_epoch_accuracy", "best_epoch", "losses", "test_accuracies",
           "predictions", "method_params", "init_images")  # fmt: skip


@pytest.fixture
def run(cards, tmp_path):
    """Run methods into `tmp_path/results`; the exit status."""

    def act(methods: str, *more: str, results: str = "results") -> int:
        return main.main(tiny.command("run", cards, tmp_path / results, methods, *more))

    return act


def numbers(folder: Path) -> dict[str, dict]:
    """What the records of a folder measured, times apart."""
    found = records(folder).items()
    return {name: {n: record["outcome"][n] for n in NUMBERS} for name, record in found}


def times(folder: Path) -> dict[str, int]:
    """When each record was written."""
    return {p.name: p.stat().st_mtime_ns for p in (folder / "records").rglob("*.json")}


def path_of(folder: Path, method: str) -> Path:
    return next((folder / "records").rglob(f"{method}-*.json"))


@dataclass(frozen=True)
class Raising(Linear):
    """Fails in `prepare`, as `error` says."""

    error: str = "RuntimeError"

    def prepare(self, model, batches):
        kinds = {"RuntimeError": RuntimeError, "KeyboardInterrupt": KeyboardInterrupt}
        raise kinds[self.error]("it broke\nbadly")


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


@dataclass(frozen=True)
class NotANumber(Method):
    """Scores that are no numbers."""

    def attach(self, model: VisionTransformer) -> None:
        model.head.bias.data.mul_(float("nan"))


def test_a_run_writes_records_predictions_and_the_leaderboard(run, tmp_path, capsys):
    assert run("linear,bias") == 0
    results = tmp_path / "results"
    found = by_method(results)
    assert set(found) == {"linear", "bias"}
    outcome = found["bias"]["outcome"]
    assert found["bias"]["failure"] is None
    assert outcome["head_params"] == 2 * 65
    assert outcome["test_images"] == 16
    assert len(outcome["losses"]) == 1
    digest = path_of(results, "bias").stem.rpartition("-")[2]
    with np.load(results / "predictions" / f"{digest}.npz", allow_pickle=False) as file:
        right = (file["classes"] == np.arange(16) % 2).mean()
    assert 100 * right == pytest.approx(outcome["accuracy"])
    board = (results / "leaderboard.md").read_text()
    assert "bias" in board
    assert board.strip() in capsys.readouterr().out


def test_accuracy_is_the_last_epoch_s_and_the_best_one_is_kept_apart(run, tmp_path, monkeypatch):
    given = iter([80.0, 60.0, 70.0])

    def predict(model, batches, precision, predict=runner.trainer.evaluate):
        return replace(predict(model, batches, precision), accuracy=next(given))

    monkeypatch.setattr(runner.trainer, "evaluate", predict)
    assert run("linear", "--set", "epochs=3", "--set", "test_evaluations=3") == 0
    outcome = by_method(tmp_path / "results")["linear"]["outcome"]
    assert outcome["accuracy"] == 70
    assert (outcome["best_epoch_accuracy"], outcome["best_epoch"]) == (80, 1)
    assert outcome["test_accuracies"] == {"1": 80, "2": 60, "3": 70}


def test_a_second_run_trains_nothing(run, tmp_path, monkeypatch):
    run("linear,bias")
    before = times(tmp_path / "results")
    monkeypatch.setattr(runner, "run", None)
    assert run("bias,linear") == 0
    assert times(tmp_path / "results") == before


def test_force_runs_again_to_the_same_numbers(run, tmp_path):
    run("linear,spt_deep")
    before, wrote = numbers(tmp_path / "results"), times(tmp_path / "results")
    assert run("spt_deep", "--force") == 0
    assert numbers(tmp_path / "results") == before
    changed = {n for n, t in times(tmp_path / "results").items() if t != wrote[n]}
    assert {name.split("-")[0] for name in changed} == {"spt_deep"}


def test_the_order_of_names_changes_neither_cells_nor_numbers(run, tmp_path):
    run("linear,vpt_deep", "--seeds", "1,0", "--tasks", "light,dark")
    run("vpt_deep,linear", "--seeds", "0,1", "--tasks", "dark,light", results="again")
    found = numbers(tmp_path / "results")
    assert len(found) == 8
    assert found == numbers(tmp_path / "again")


def test_a_cells_numbers_do_not_depend_on_what_ran_before(run, tmp_path):
    for alone in ("spt_deep", "vpt_deep"):
        image_cache._decode_all.cache_clear()
        run(alone)
    image_cache._decode_all.cache_clear()
    run("linear,spt_deep,vpt_deep", results="together")
    found, together = numbers(tmp_path / "results"), numbers(tmp_path / "together")
    assert found == {name: together[name] for name in found}


def test_another_seed_gives_other_numbers(run, tmp_path):
    run("linear", "--seeds", "0,1")
    first, second = (record["losses"] for record in numbers(tmp_path / "results").values())
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
    before = times(tmp_path / "results")
    assert run("aa_broken,linear") == 1
    changed = {n for n, t in times(tmp_path / "results").items() if t != before[n]}
    assert {name.split("-")[0] for name in changed} == {"aa_broken"}


def test_a_mended_method_turns_the_failure_into_a_result(run, tmp_path, monkeypatch):
    register(monkeypatch, "aa_broken", Raising())
    assert run("aa_broken") == 1
    monkeypatch.setattr(Raising, "prepare", Method.prepare)
    assert run("aa_broken") == 0
    assert by_method(tmp_path / "results")["aa_broken"]["outcome"]


def test_a_method_whose_scores_are_no_numbers_fails_with_the_step(run, tmp_path, monkeypatch):
    register(monkeypatch, "not_a_number", NotANumber())
    assert run("not_a_number") == 1
    failure = by_method(tmp_path / "results")["not_a_number"]["failure"]
    assert (failure["error"], failure["message"]) == ("Diverged", "the loss was nan at step 1")


def test_a_rate_without_measure_fails_with_the_step(run, tmp_path):
    assert run("full", "--set", "lr=1e30") == 1
    failure = by_method(tmp_path / "results")["full"]["failure"]
    assert failure["error"] == "Diverged"
    assert failure["message"].endswith("at step 2")


def test_scores_that_the_last_step_made_infinite_are_a_failure_not_class_0(run, tmp_path):
    """One step: its loss, computed before it, is finite."""
    assert run("full", "--set", "lr=1e30", "--set", "batch=64") == 1
    record = by_method(tmp_path / "results")["full"]
    assert record["outcome"] is None
    assert record["failure"]["error"] == "Diverged"
    assert record["failure"]["message"] == "16 of 16 images have scores that are not finite"


def test_a_method_that_cannot_serve_the_backbone_is_n_a(run, tmp_path, monkeypatch, capsys):
    register(monkeypatch, "unfit", Unfit())
    assert run("linear,unfit") == 0
    assert by_method(tmp_path / "results")["unfit"]["failure"]["kind"] == "unsupported"
    assert "n/a: no way" in capsys.readouterr().err
    assert "n/a" in (tmp_path / "results" / "leaderboard.md").read_text()
    before = times(tmp_path / "results")
    assert run("linear,unfit") == 0
    assert times(tmp_path / "results") == before


def test_ctrl_c_keeps_the_finished_cells(run, tmp_path, monkeypatch, capsys):
    register(monkeypatch, "zz_slow", Raising("KeyboardInterrupt"))
    assert run("linear,zz_slow") == 130
    assert set(by_method(tmp_path / "results")) == {"linear"}
    assert capsys.readouterr().err.endswith("bench: interrupted; every finished cell is kept\n")


def test_a_full_disk_ends_the_run_in_one_sentence(run, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bench.training.runner.write_atomically", full)
    monkeypatch.setattr("bench.records.store.write_atomically", full)
    assert run("linear") == 1
    assert "No space left on device; every finished cell is kept" in capsys.readouterr().err


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_is_cut_off_leaves_the_earlier_file_whole(tmp_path, monkeypatch, step):
    path = tmp_path / "record.json"
    write_atomically(path, b"earlier")

    def cut_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, step, cut_off)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"later")
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def kill_at_random(argv: list[str], results: Path, rng: random.Random) -> None:
    """Start the run and kill it within a cell's length after it has written another record."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    before = len(times(results))
    process = subprocess.Popen([sys.executable, "-m", "bench", *argv], cwd=ROOT, env=env,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    while process.poll() is None and len(times(results)) == before:
        time.sleep(0.005)
    time.sleep(rng.uniform(0, 0.3))
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_kill_at_any_moment_loses_no_finished_cell(cards, tmp_path):
    rng, results = random.Random(0), tmp_path / "killed"
    more = ("--seeds", "0,1", "--set", "epochs=8")
    names = "linear,spt_deep,vpt_deep"
    wrote: dict[str, int] = {}
    for _ in range(5):
        kill_at_random(tiny.command("run", cards, results, names, *more), results, rng)
        assert wrote.items() <= times(results).items()
        wrote = times(results)
    assert len(wrote) >= 5
    assert main.main(tiny.command("run", cards, results, names, *more)) == 0
    assert wrote.items() <= times(results).items()
    assert main.main(tiny.command("run", cards, tmp_path / "whole", names, *more)) == 0
    assert numbers(results) == numbers(tmp_path / "whole")
    assert main.main(["verify", "--results", str(results)]) == 0


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
    before, wrote = numbers(results), times(results)
    path = path_of(results, "bias")
    path.write_bytes(damage(path.read_bytes()))
    assert main.main(["report", "--results", str(results)]) == 0
    assert f"skipped: {path} is not a record" in capsys.readouterr().err
    assert main.main(["verify", "--results", str(results)]) == 1
    assert f"{path} is not a record" in capsys.readouterr().err
    assert run("linear,bias") == 0
    assert numbers(results) == before
    assert times(results)[path_of(results, "linear").name] == wrote[path_of(results, "linear").name]
    assert main.main(["verify", "--results", str(results)]) == 0


def test_a_record_whose_settings_were_edited_is_found_and_its_cell_runs_again(
    run, tmp_path, capsys
):
    run("linear")
    path = path_of(tmp_path / "results", "linear")
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    assert main.main(["verify", "--results", str(tmp_path / "results")]) == 1
    assert str(path) in capsys.readouterr().err
    assert run("linear") == 0
    assert main.main(["verify", "--results", str(tmp_path / "results")]) == 0


def test_a_results_folder_that_cannot_be_written_to_is_refused_before_any_cell(
    run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(runner, "run", None)
    (tmp_path / "file").write_text("")
    assert run("linear", results="file/below") == 2
    assert "cannot be written to" in one_sentence(capsys)


@pytest.mark.parametrize(
    ("method", "looked_at"), [("spt_deep", 32), ("spt_deep_kmeans", 40), ("vpt_deep", 0)]
)
def test_init_images_are_those_that_prepare_looked_at(run, tmp_path, method, looked_at):
    assert run(method, "--set", "batch=32") == 0
    assert by_method(tmp_path / "results")[method]["outcome"]["init_images"] == looked_at


@pytest.mark.parametrize(
    ("epochs", "count", "wanted"),
    [(10, 2, {5, 10}), (10, 1, {10}), (3, 10, {1, 2, 3}), (100, 3, {33, 67, 100}), (2, 2, {1, 2})],
)
def test_test_is_scored_at_even_steps_up_to_the_last_epoch(epochs, count, wanted):
    recipe = replace(load_recipe("unified"), epochs=epochs, test_evaluations=count, warmup_epochs=0)
    assert runner.evaluation_epochs(recipe) == wanted


def test_a_record_holds_the_accuracy_of_each_evaluated_epoch(run, tmp_path):
    run("linear", "--set", "epochs=4", "--set", "test_evaluations=2")
    outcome = by_method(tmp_path / "results")["linear"]["outcome"]
    assert set(outcome["test_accuracies"]) == {"2", "4"}
    assert outcome["accuracy"] == outcome["test_accuracies"]["4"]
    assert outcome["best_epoch_accuracy"] == max(outcome["test_accuracies"].values())
    assert len(outcome["losses"]) == 4


def test_a_record_says_what_each_split_was_read_as_and_its_name_does_not(run, tmp_path):
    run("linear,lora", "--set", "epochs=3")
    found = by_method(tmp_path / "results")
    assert (
        found["linear"]["environment"]["read_in_training"] == "features: computed once, below head"
    )
    assert found["linear"]["environment"]["read_in_testing"] == "images: read once"
    assert found["lora"]["environment"]["read_in_training"] == "images: no block is fixed"
    settings = json.dumps([record["settings"] for record in found.values()])
    assert "read_in" not in settings


def test_a_dry_run_prints_the_cells_and_trains_nothing(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, "run", None)
    assert run("linear,bias", "--dry-run") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "to run  bias on small, light, seed 0"
    assert out[-1].startswith("2 of 2 cells to run; no earlier cell of this suite")
    assert not (tmp_path / "results").exists()


def test_a_dry_run_estimates_from_earlier_records(run, capsys):
    run("bias")
    capsys.readouterr()
    assert run("linear,bias", "--dry-run") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "done    bias on small, light, seed 0"
    assert out[-1].startswith("1 of 2 cells to run; about ")
    assert out[-1].endswith("as 1 earlier ones went")


def one_sentence(capsys) -> str:
    """The single line on stderr."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("bench: ")
    return lines[0]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--methods", "vtp_deep"), "no method 'vtp_deep'; did you mean vpt_deep"),
        (("--backbones", "vit_mini_mea"), "no backbone 'vit_mini_mea'; did you mean vit_mini_mae"),
        (("--backbones", "nowhere.toml"), "no backbone card at nowhere.toml"),
        (("--backbones", "vit_tiny_patch16_224@gone.pth"), "gone.pth"),
        (("--suite", "vtab2k"), "no suite 'vtab2k'; did you mean vtab1k"),
        (("--tasks", "lihgt"), "no task of suite 'tiny' 'lihgt'; did you mean light"),
        (("--recipe", "unifed"), "no recipe 'unifed'; did you mean unified"),
        (("--set", "epoch=3"), "no field 'epoch'; did you mean epochs"),
        (("--set", "rank=4"), "no field 'rank'"),
        (("--set", "epochs=many"), "--set: epochs: Input should be a valid integer"),
        (("--set", "epochs=0"), "--set: epochs must be above 0; 0 was given"),
        (("--set", "lr=nan"), "--set: lr must be above 0; nan was given"),
        (("--set", "min_lr=-1"), "--set: min_lr must be 0 or above; -1.0 was given"),
        (("--set", "warmup_epochs=1"), "--set: 1 warm-up epochs leave none of 1"),
        (("--methods", "lora", "--set", "rank=four"), "lora: rank=four: Input should be a valid"),
        (("--methods", "lora", "--set", "rank=0"), "lora: LoRA's rank must be at least 1; 0 was"),
        (("--device", "nonsense"), "no device 'nonsense' here"),
        (("--device", "meta"), "no device 'meta' here"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_sentence_before_any_compute(
    run, capsys, monkeypatch, more, says
):
    monkeypatch.setattr(runner, "run", None)
    assert run("linear", *more) == 2
    assert says in one_sentence(capsys)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--seeds", "one"), "argument --seeds: seeds are whole numbers, as in 0,1,2; got 'one'"),
        (("--seeds", "-1"), "argument --seeds: "),
        (("--seeds", str(2**40)), "argument --seeds: "),
        (("--seeds", ","), "argument --seeds: ',' names no seed"),
        (("--methods", ","), "argument --methods: ',' names no method"),
        (("--backbones", ""), "argument --backbones: '' names no backbone"),
        (("--tasks", " , "), "argument --tasks: ' , ' names no task"),
        (("--set", "epochs"), "argument --set: expected FIELD=VALUE, got 'epochs'"),
        (("--sede", "1"), "unrecognized arguments: --sede 1"),
    ],
)
def test_arguments_that_cannot_be_read_are_refused_in_one_sentence(run, capsys, more, says):
    with pytest.raises(SystemExit) as end:
        run("linear", *more)
    assert end.value.code == 2
    assert says in one_sentence(capsys)


def test_debug_shows_the_traceback(run):
    with pytest.raises(Exception, match="no method 'vtp_deep'"):
        run("vtp_deep", "--debug")


def test_vtab_without_data_names_all_19_tasks_and_where_it_looked(tmp_path, capsys):
    argv = ["run", "--suite", "vtab1k", "--data-root", str(tmp_path), "--results", str(tmp_path)]
    assert main.main([*argv, "--device", "cpu"]) == 2
    says = one_sentence(capsys)
    assert "no data for 19 of 19 tasks" in says
    assert all(task.name in says for task in load_suite("vtab1k").task)
    assert str(tmp_path / "vtab-1k" / "caltech101") in says
    assert "--data-root" in says


def test_a_weights_file_of_another_network_is_refused_before_any_compute(run, tmp_path, capsys):
    torch.save({"model": {"fc1.weight": torch.zeros(2)}}, tmp_path / "other.pth")
    card = tiny.backbone_card(tmp_path / "own.toml", weights="other.pth")
    assert run("linear", "--backbones", str(card)) == 2
    assert "other.pth lacks" in one_sentence(capsys)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('methods = ["linear"]', "methods = []", "default: methods must name at least one"),
        ('trainval = ["train.txt", "val.txt"]', "", "lists names no file for trainval"),
        ("classes = 2", "classes = 0", "task.0: classes must be above 0; 0 was given"),
        ("version = 1", "version = ", "cannot be read"),
    ],
)
def test_a_suites_card_that_cannot_be_run_is_refused(cards, tmp_path, capsys, old, new, says):
    text = (cards / "tiny.toml").read_text()
    assert old in text
    (tmp_path / "own.toml").write_text(text.replace(old, new, 1))
    assert main.main(["run", "--suite", str(tmp_path / "own.toml"), "--device", "cpu",
                     "--results", str(tmp_path / "results")]) == 2  # fmt: skip
    assert says in one_sentence(capsys)


def test_a_record_says_what_did_not_fit_into_memory(run, tmp_path, monkeypatch):
    monkeypatch.setattr(patch_tokens, "free_memory", lambda device: 0)
    with pytest.warns(memory.SpillWarning):
        assert run("spt_deep,spt_deep_mean") == 0
    found = by_method(tmp_path / "results")
    for record in found.values():  # of both cells of the process
        assert "they lie in a file" in record["environment"]["spilled"]


def test_a_tuner_that_cannot_work_is_refused_with_the_reason(run, capsys):
    assert run("peft_prefix_tuning") == 2
    assert "needs the configuration of a language model" in capsys.readouterr().err


def test_a_method_s_footnote_goes_into_its_record_and_below_its_table(run, tmp_path):
    assert run("adapter_vpt2022") == 0
    (record,) = tmp_path.rglob("adapter_vpt2022-seed0-*.json")
    assert "9,216 of 230,544" in json.loads(record.read_text())["remark"]
    assert "9,216 of 230,544" in (tmp_path / "results" / "leaderboard.md").read_text()
