"""Weak baselines are named: fewer trials than rows above, or a rate at the edge of the grid."""

from dataclasses import replace

from bench.records.schema import Record, Trial, TuningResult
from bench.report.baselines import baseline_warnings, edge_warnings, machine_warning
from bench.report.leaderboard import render_leaderboard
from support.made_up_records import boards, row

RATES = [1e-4, 1e-3, 1e-2, 1e-1]


def tuned(method: str, accuracy: float, tried: list[float], chosen: float) -> list[Record]:
    """A row whose rate was chosen among those tried, on every task."""
    trials = [Trial({"lr": lr, "weight_decay": 0.01}, 10, 50.0, 9.0, "0" * 16) for lr in tried]
    plain = row(method, [accuracy] * 5, rates={"lr": chosen, "weight_decay": 0.01})
    return [replace(record, tuned=TuningResult(0, 9.0, trials)) for record in plain]


def warnings(*rows: list[Record]) -> list[str]:
    [board] = boards([record for of_row in rows for record in of_row])
    found = list(baseline_warnings(board.rows))
    assert all(sentence in render_leaderboard([board], "") for sentence in found)
    return found


def test_a_baseline_with_fewer_trials_than_a_row_above_it_is_named() -> None:
    found = warnings(tuned("lora", 70.0, RATES, 1e-3), tuned("full", 60.0, RATES[:3], 1e-3))
    assert found == ["Weak baseline: full had 3 trials, a row above it 4."]


def test_a_baseline_without_trials_below_a_tuned_row_is_named() -> None:
    untuned = row("linear", [50.0] * 5, rates={"lr": 1e-3, "weight_decay": 0.01})
    found = warnings(tuned("lora", 70.0, RATES, 1e-3), untuned)
    assert found == ["Weak baseline: linear had 0 trials, a row above it 4."]


def test_a_baseline_whose_rate_is_at_the_edge_is_named() -> None:
    for edge in (RATES[0], RATES[-1]):
        [found] = warnings(tuned("full", 60.0, RATES, edge))
        assert found.endswith("the smallest or the largest that was tried on 5 of 5 tasks.")


def test_a_baseline_above_the_others_or_tuned_alike_is_not_named() -> None:
    assert not warnings(tuned("lora", 60.0, RATES, 1e-3), tuned("full", 70.0, RATES[:3], 1e-3))
    assert not warnings(tuned("lora", 70.0, RATES, 1e-3), tuned("full", 60.0, RATES, 1e-2))


def test_a_method_that_is_no_baseline_is_not_named() -> None:
    assert not warnings(tuned("lora", 70.0, RATES, 1e-3), tuned("bias", 60.0, RATES, RATES[0]))


def test_of_two_rates_none_is_at_the_edge() -> None:
    assert not warnings(tuned("full", 60.0, RATES[:2], RATES[0]))


def test_a_row_at_the_edge_on_more_tasks_than_chance_is_named() -> None:
    rates = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 1e-1]  # a third of them at an edge: five of five is rare
    [board] = boards([*tuned("lora", 70.0, rates, 1e-1), *tuned("bias", 60.0, rates, 1e-3)])
    [found] = edge_warnings(board.rows)
    assert found.endswith("than expected by chance: lora (5 of 5 tasks, 6 rates).")
    assert found in render_leaderboard([board], "")


def test_three_rates_are_too_few_for_five_tasks_to_tell() -> None:
    [board] = boards(tuned("lora", 70.0, RATES[:3], RATES[0]))
    assert list(edge_warnings(board.rows)) == []


def on(device: str, records: list[Record]) -> list[Record]:
    about = {"device_name": device, "threads": 1}
    return [replace(record, environment=about) for record in records]


def test_times_of_several_machines_are_named() -> None:
    lora, bias = row("lora", [70.0] * 5), row("bias", [60.0] * 5)
    mixed = [*on("one", lora[:2]), *on("another", lora[2:])]
    for records, said in (
        ([*on("one", lora), *on("one", bias)], ""),
        ([*on("one", lora), *on("another", bias)], "different machines"),
        ([*mixed, *on("one", bias)], "1 of 2 rows ran on several machines"),
    ):
        [board] = boards(records)
        found = machine_warning(board.rows)
        assert said in found
        assert bool(said) == bool(found)
        assert found in render_leaderboard([board], "")
