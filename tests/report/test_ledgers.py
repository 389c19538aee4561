"""The ledgers: selection bias, tuning regret, initialisation and cost."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.records.schema import Record, Trial, TuningResult
from bench.report import cost_ledger, ledgers
from bench.report.frame import record_frame
from support.made_up_records import boards, make, row
from support.tiny import backbone_card

TRIALS = {"lr": (0.001, 0.005, 0.02), "val": (60.0, 65.0, 65.0)}


def test_selection_bias_is_the_best_epoch_on_test_less_the_last() -> None:
    [line] = ledgers.selection_bias(boards(row("bias", [60.0, 70.0])))
    assert line == {
        "suite": "mini",
        "backbone": "vit_mini_mae",
        "recipe": "quick v1",
        "method": "bias",
        "mean gain": "0.25",
        "most": "0.25",
        "cells": "2",
    }


def test_selection_bias_has_the_mean_of_the_cells_gains_and_the_most() -> None:
    made = []
    for record, gain in zip(row("bias", [60.0, 70.0, 80.0]), (0.0, 0.5, 4.0), strict=True):
        assert record.outcome is not None
        best = record.outcome.accuracy + gain
        made.append(replace(record, outcome=replace(record.outcome, best_epoch_accuracy=best)))
    [line] = ledgers.selection_bias(boards(made))
    assert (line["mean gain"], line["most"], line["cells"]) == ("1.50", "4.00", "3")


def tried(seed: str = "0") -> list[dict[str, str]]:
    about = {"suite": "mini", "backbone": "vit_mini_mae", "recipe": "quick", "task": "digits"}
    return [
        {
            **about,
            "method": "bias",
            "seed": seed,
            "lr": f"{lr}",
            "weight_decay": "0.01",
            "val_accuracy": f"{val}",
        }
        for lr, val in zip(TRIALS["lr"], TRIALS["val"], strict=True)
    ]


def on_test(*accuracies: float) -> list[Record]:
    return [
        make("bias", "digits", 0, accuracy, rates={"lr": lr, "weight_decay": 0.01})
        for lr, accuracy in zip(TRIALS["lr"], accuracies, strict=False)
    ]


def test_regret_is_what_validation_s_pick_loses_on_test_and_ties_go_to_the_smaller_rate() -> None:
    [line] = ledgers.tuning_regret(record_frame(on_test(70.0, 72.5, 71.0)), tried())
    assert line["picked by validation"] == "72.50"
    assert line["best in the grid"] == "72.50"
    [line] = ledgers.tuning_regret(record_frame(on_test(70.0, 71.0, 72.5)), tried())
    assert (line["picked by validation"], line["regret"]) == ("71.00", "1.50")


def test_without_a_final_run_at_every_rate_there_is_no_regret() -> None:
    assert ledgers.tuning_regret(record_frame(on_test(70.0, 71.0)), tried()) == []
    assert ledgers.tuning_regret(record_frame(on_test(70.0, 71.0, 72.0)), tried(seed="1")) == []


def test_regret_is_of_the_trials_of_full_length():
    """Short ones of a search that halves tell where to go on, not what was picked."""
    short = [{**line, "epochs": "2", "val_accuracy": "99.0"} for line in tried()]
    whole = [{**line, "epochs": "10"} for line in tried()]
    [line] = ledgers.tuning_regret(record_frame(on_test(70.0, 72.5, 71.0)), [*short, *whole])
    assert (line["picked by validation"], line["regret"]) == ("72.50", "0.00")
    short[0]["val_accuracy"] = "99.9"
    [line] = ledgers.tuning_regret(record_frame(on_test(70.0, 72.5, 71.0)), [*short, *whole])
    assert line["picked by validation"] == "72.50"


def test_val_is_that_of_the_last_trial_at_what_was_chosen():
    def trial(lr: float, accuracy: float, epochs: int) -> Trial:
        return Trial({"lr": lr, "weight_decay": 0.01}, epochs, accuracy, 1.0, "")

    found = TuningResult(0, 3.0, [trial(0.1, 90.0, 1), trial(0.01, 50.0, 1), trial(0.01, 60.0, 2)])
    final = make("bias", "digits", 0, 70.0, rates={"lr": 0.01, "weight_decay": 0.01})
    [line] = ledgers.search_costs(boards([final]), record_frame([replace(final, tuned=found)]))
    assert line["val"] == "60.00"


@pytest.mark.parametrize("other", [{"classes": 7}, {"split": "6" * 32}, {"weights": "f" * 64}])
def test_final_runs_of_another_version_of_the_data_give_no_regret(other: dict[str, Any]) -> None:
    more = make("bias", "digits", 0, 99.0, rates={"lr": 0.1, "weight_decay": 0.01}, **other)
    assert ledgers.tuning_regret(record_frame([*on_test(70.0, 72.5, 71.0), more]), tried()) == []


def test_shares_of_the_data_stand_side_by_side() -> None:
    made = []
    for share, seconds in ((0.1, 1.0), (1.0, 9.0)):
        plain = make("spt_deep_kmeans", "digits", fields={"share": share, "prompts": 20})
        assert plain.outcome is not None
        outcome = replace(plain.outcome, init_seconds=seconds)
        made.append(replace(plain, outcome=outcome))
    [line] = ledgers.init_seconds_by_share(
        record_frame([*made, make("spt_deep", "digits", fields={"share": None})])
    )
    assert line["method"] == "spt_deep_kmeans"
    assert (line["10 %"], line["100 %"]) == ("1.00", "9.00")


def test_stored_bytes_stand_beside_the_parameters_and_early_records_show_a_dash() -> None:
    records = [*row("lora", [60.0, 70.0]), *row("bias", [60.0, 70.0])]
    lines = ledgers.stored_sizes(boards(records), record_frame(records))
    assert [(one["method"], one["stored (bytes)"]) for one in lines] == [
        ("bias", "–"),
        ("lora", "50,000"),
    ]
    params = float(lines[1]["params"].replace(",", ""))
    assert lines[1]["bytes a parameter"] == f"{50_000 / params:.2f}"


def cost_line(method: str, step: float, **changed: str) -> dict[str, str]:
    plain = {"backbone": "b", "method": method, "batch": "32", "precision": "fp32", "device": "d"}
    times = {"train_step_ms": f"{step}", "test_batch_ms": "10.0", "peak_memory_mb": "99.5"}
    about = {"threads": "1", "torch": "2", "rounds": "5", "params": "9", "stored_bytes": "1234"}
    return {**plain, **times, **about, **changed}


def test_costs_are_set_against_the_cheapest_step_of_the_same_machine() -> None:
    there = cost_line("lora", 5.0, device="another")
    lines = cost_ledger.method_costs([cost_line("full", 40.0), cost_line("linear", 10.0), there])
    assert [(one["method"], one["to the cheapest"]) for one in lines] == [
        ("lora", "1.00"),
        ("linear", "1.00"),
        ("full", "4.00"),
    ]
    assert lines[2]["images/s, training"] == "800"
    assert lines[2]["stored (bytes)"] == "1,234"


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_cost_is_measured_and_written_for_every_method(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = backbone_card(tmp_path / "small.toml")
    words = ["cost", "--methods", "linear,vpt_deep", "--backbones", str(card), "--batch", "4"]
    assert main([*words, "--rounds", "2", "--device", "cpu", "--results", str(tmp_path)]) == 0
    assert "vpt_deep on" in capsys.readouterr().out
    with (tmp_path / "cost.csv").open(encoding="utf-8") as file:
        lines = {line["method"]: line for line in csv.DictReader(file)}
    head = 4 * (64 * 10 + 10)
    assert int(lines["linear"]["stored_bytes"]) == head
    assert int(lines["vpt_deep"]["stored_bytes"]) == head + 4 * 2 * 20 * 64
    for line in lines.values():
        assert float(line["train_step_ms"]) > 0
        assert float(line["test_batch_ms"]) > 0
        assert float(line["peak_memory_mb"]) > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "vtp_deep"], "did you mean vpt_deep"),
        (["--methods", "linear", "--recipe", "quik"], "did you mean quick"),
    ],
)
def test_bad_input_to_cost_is_one_sentence(
    tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cost", *words, "--device", "cpu", "--results", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
