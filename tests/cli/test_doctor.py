"""`doctor`: every check says what it found, and a failure is named before any compute."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from bench.cli.main import main
from support import run_records
from support.tiny import command

TUNED = ("--tune", "--set", "grid={ lr = [1e-3, 1e-2, 1e-1] }")


def test_a_machine_that_can_run_all_of_it_passes(cards: Path, tmp_path: Path, capsys) -> None:
    assert main(command("doctor", cards, tmp_path, "linear,lora")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "note"}
    assert [line for line in lines if line.startswith("ok    lora on small: ")]
    assert "the images of all 1 tasks of tiny can be read" in "".join(lines)
    assert lines[-1].startswith("ok    all: about ")


def test_trials_count_where_the_recipe_tunes(cards: Path, tmp_path: Path, capsys) -> None:
    assert main(command("doctor", cards, tmp_path, "linear", *TUNED)) == 0
    assert "; 3 trials and 1 runs in " in capsys.readouterr().out


def test_absent_data_fail_and_the_steps_are_measured_all_the_same(
    cards: Path, tmp_path: Path, capsys
) -> None:
    empty = ["--data-root", str(tmp_path)]
    assert main([*command("doctor", cards, tmp_path, "linear"), *empty]) == 2
    out, err = capsys.readouterr()
    assert "without data no hours" in out
    assert "fail  data: no data for 1 of 1 tasks (light)" in out
    assert err == "bench: not ready: data\n"


def test_missing_weights_fail_and_their_methods_are_left_out(
    cards: Path, tmp_path: Path, capsys
) -> None:
    absent = ["--backbones", f"vit_tiny_patch16_224@{tmp_path / 'none.safetensors'},small"]
    words = command("doctor", cards, tmp_path, "linear")
    here = ["--backbones", absent[1].replace("small", str(cards / "small.toml"))]
    assert main([*words, *here]) == 2
    out, err = capsys.readouterr()
    assert "fail  weights of vit_tiny_patch16_224@" in out
    assert [line for line in out.splitlines() if line.startswith("ok    linear on")]
    assert err.startswith("bench: not ready: weights of vit_tiny_patch16_224@")


def test_a_full_disk_fails(cards: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 1))
    assert main([*command("doctor", cards, tmp_path, "linear"), "--no-steps"]) == 2
    assert "1 runs may need" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "level", "said"),
    [
        ("MemoryError", "fail", "out of memory: a batch of "),
        ("RuntimeError", "fail", "RuntimeError: it broke"),
        ("Unsupported", "note", "n/a: it broke"),
    ],
)
def test_a_method_that_cannot_take_a_step_says_why_and_the_next_is_measured(
    error: str, level: str, said: str, cards: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    run_records.register(monkeypatch, "odd", run_records.Raising(error=error))
    status = main(command("doctor", cards, tmp_path, "odd,vpt_deep"))
    out, err = capsys.readouterr()
    assert f"{level}  odd on small: {said}" in out
    assert "ok    vpt_deep on small: " in out
    failed = level == "fail"
    assert (status, err) == ((2, "bench: not ready: odd on small\n") if failed else (0, ""))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "loora"], "lora"),
        (["--suite", "vtab2k"], "vtab1k"),
        (["--device", "cuda:9"], "no device 'cuda:9' here"),
    ],
)
def test_bad_names_are_a_sentence(
    words: list[str], said: str, cards: Path, tmp_path: Path, capsys
) -> None:
    assert main([*command("doctor", cards, tmp_path, "linear"), *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
