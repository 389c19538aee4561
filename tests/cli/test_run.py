"""`run`: its results folder, dry runs, and errors in one sentence before any compute."""

import os

import numpy as np
import pytest
import torch

from bench.cli import main
from bench.config.suite import load_suite
from bench.training import runner
from support import tiny
from support.run_records import Raising, by_method, one_sentence, record_path, register

pytestmark = pytest.mark.usefixtures("no_figures")
LAST_COLUMNS = ["mean", "seeds", "train", "(s)"]


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
    digest = record_path(results, "bias").stem.rpartition("-")[2]
    with np.load(results / "predictions" / f"{digest}.npz", allow_pickle=False) as file:
        right = (file["classes"] == np.arange(16) % 2).mean()
    assert 100 * right == pytest.approx(outcome["accuracy"])
    assert "| bias " in (results / "leaderboard.md").read_text(encoding="utf-8")


def test_a_run_ends_with_a_plain_table_and_the_paths_of_what_it_wrote(run, tmp_path, capsys):
    assert run("linear,bias") == 0
    out, results = capsys.readouterr().out.splitlines(), tmp_path / "results"
    assert out[0] == "tiny v1, small, quick v1"
    assert out[1].split() == ["rank", "method", "params", "(M)", "tasks", "light", *LAST_COLUMNS]
    assert {out[3].split()[1], out[4].split()[1]} == {"linear", "bias"}
    assert out[5].startswith("No two methods can be told apart")
    assert out[-3:] == [
        f"leaderboard  {results / 'leaderboard.md'}",
        f"web page     {results / 'index.html'}",
        f"records      {results / 'records'}",
    ]
    assert not [line for line in out if line.startswith(("|", "#", "<"))]


def test_a_run_shows_the_boards_of_its_own_cells_alone(run, capsys):
    assert run("linear") == 0
    capsys.readouterr()
    assert run("linear", "--set", "epochs=2") == 0
    out = capsys.readouterr().out
    assert "epochs=2" in out
    assert "epochs=1" not in out


def test_a_run_with_nothing_to_do_says_so_in_one_line(run, tmp_path, monkeypatch, capsys):
    assert run("linear,bias") == 0
    capsys.readouterr()
    monkeypatch.setattr("bench.report.generate.regenerate", None)  # the tables are as they were
    assert run("linear,bias") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"nothing to run: 2 of 2 cells have a result in {tmp_path / 'results'}\n"


def test_a_run_on_built_in_data_is_known_to_be_complete_without_planning_it(
    tmp_path, monkeypatch, capsys
):
    results = tmp_path / "results"
    words = ["run", "--methods", "linear", "--tasks", "digits", "--backbones", "vit_micro_sup"]
    words += ["--seeds", "0", "--set", "epochs=1", "--set", "warmup_epochs=0"]
    words += ["--results", str(results)]
    assert main.main(words) == 0
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr("bench.execution.session.run", None)
        assert main.main(words) == 0
    said = f"nothing to run: 1 of 1 cells have a result in {results}\n"
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize("lost", ["leaderboard.md", "index.html"])
def test_tables_that_are_gone_are_written_though_nothing_is_run(run, tmp_path, lost):
    assert run("linear") == 0
    (tmp_path / "results" / lost).unlink()
    assert run("linear") == 0
    assert (tmp_path / "results" / lost).is_file()


def test_tables_that_a_kill_left_behind_are_written_though_nothing_is_run(run, tmp_path):
    assert run("linear") == 0
    board = tmp_path / "results" / "leaderboard.md"
    board.write_text("as before the last record", encoding="utf-8")
    os.utime(board, (0, 0))
    assert run("linear") == 0
    assert "| linear " in board.read_text(encoding="utf-8")


def test_ctrl_c_keeps_the_finished_cells(run, tmp_path, monkeypatch, capsys):
    register(monkeypatch, "zz_slow", Raising("KeyboardInterrupt"))
    assert run("linear,zz_slow") == 130
    assert set(by_method(tmp_path / "results")) == {"linear"}
    assert capsys.readouterr().err.endswith("bench: interrupted; every finished cell is kept\n")


def test_a_full_disk_ends_the_run_in_one_sentence(run, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bench.records.store.write_atomically", full)
    assert run("linear") == 1
    assert "No space left on device; every finished cell is kept" in capsys.readouterr().err


def test_a_results_folder_that_cannot_be_written_to_is_refused_before_any_cell(
    run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(runner, "run", None)
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert run("linear", results="file/below") == 2
    assert "cannot be written to" in one_sentence(capsys)


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
        (("--set", "epochs=many"), "--set: epochs: a whole number from 1 to 100,000 was"),
        (("--set", "epochs=0"), "--set: epochs: a whole number from 1 to 100,000 was"),
        (("--set", "lr=0"), "--set: lr: a number above 0, up to 1e+18, was expected; 0"),
        (("--set", "min_lr=-1"), "--set: min_lr: a number from 0 to 1e+18 was expected; -1"),
        (("--set", "warmup_epochs=1"), "--set: 1 warm-up epochs leave none of 1"),
        (("--methods", "lora", "--set", "rank=four"), "lora: rank='four': Input should be a valid"),
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
        (("--seeds", "one"), "argument --seeds: seeds are whole numbers below 2^32, as in 0,1,2; "),
        (("--seeds", "-1"), "argument --seeds: "),
        (("--seeds", str(2**40)), "argument --seeds: "),
        (("--seeds", ","), "argument --seeds: ',' names no seed"),
        (("--methods", ","), "argument --methods: ',' names no method"),
        (("--backbones", ""), "argument --backbones: '' names no backbone"),
        (("--tasks", " , "), "argument --tasks: ' , ' names no task"),
        (("--set", "lr=nan"), "argument --set: 'lr': the value is nan; a finite number"),
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
        (
            "classes = 2",
            "classes = 0",
            "task.0.classes: a whole number from 1 to 32,768 was expected; 0 was given",
        ),
        ("version = 1", "version = ", "cannot be read"),
    ],
)
def test_a_suites_card_that_cannot_be_run_is_refused(cards, tmp_path, capsys, old, new, says):
    text = (cards / "tiny.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "own.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    assert main.main(["run", "--suite", str(tmp_path / "own.toml"), "--device", "cpu",
                     "--results", str(tmp_path / "results")]) == 2  # fmt: skip
    assert says in one_sentence(capsys)


def test_a_tuner_that_cannot_work_is_refused_with_the_reason(run, capsys):
    assert run("peft_prefix_tuning") == 2
    assert "needs the configuration of a language model" in capsys.readouterr().err
