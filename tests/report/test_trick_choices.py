"""Choices of fields and rates, and numbers of trials, on records made up."""

from dataclasses import replace

import numpy as np
import pytest

from bench.records.schema import TUNING_KEY, Record, Trial, TuningResult
from bench.report import trick_choices
from bench.report.frame import record_frame
from bench.report.trick_effects import Effect
from support.made_up_records import TASKS, make

RATES = (0.001, 0.005, 0.02)
VAL = {  # method -> task -> accuracy of each rate
    "bias": {"digits": (60.0, 70.0, 50.0), "count": (40.0, 35.0, 20.0)},
    "lora": {"digits": (61.0, 62.0, 90.0), "count": (30.0, 45.0, 44.0)},
}


def point(rate: float) -> dict[str, float]:
    return {"lr": rate, "weight_decay": 0.01}


def tuned(val: dict[str, dict[str, tuple[float | None, ...]]]) -> list[Record]:
    """Final runs at the first rate, after trials at as many rates as there are accuracies."""
    made = []
    for method, tasks in val.items():
        for task, accuracies in tasks.items():
            pairs = zip(RATES, accuracies, strict=False)
            trials = [Trial(point(rate), 10, accuracy, 1.0, "") for rate, accuracy in pairs]
            final = make(method, task, 0, 50.0, rates=point(RATES[0]))
            made.append(replace(final, tuned=TuningResult(0, 3.0, trials)))
    return made


def finals(test: dict[str, dict[str, tuple[float, ...]]]) -> list[Record]:
    return [
        make(method, task, 0, accuracy, rates=point(rate))
        for method, tasks in test.items()
        for task, accuracies in tasks.items()
        for rate, accuracy in zip(RATES, accuracies, strict=False)
    ]


def both(test: dict[str, dict[str, tuple[float, ...]]]) -> list[Record]:
    """Final runs at each rate, those at the first with the trials of `VAL`."""
    searches = {(r.settings.method, r.settings.task): r.tuned for r in tuned(VAL)}
    return [
        replace(r, tuned=searches[r.settings.method, r.settings.task])
        if r.settings.rates["lr"] == RATES[0]
        else r
        for r in finals(test)
    ]


def only(found) -> Effect:
    [shown] = found
    return shown


def test_more_trials_gain_the_expected_best_over_the_mean() -> None:
    shown = only(trick_choices.more_trials(record_frame(tuned(VAL)), 3))
    assert (shown.methods, shown.tasks) == (2, 2)
    mean = {m: np.mean([np.mean(v) for v in tasks.values()]) for m, tasks in VAL.items()}
    best = {m: np.mean([max(v) for v in tasks.values()]) for m, tasks in VAL.items()}
    assert shown.gains == pytest.approx([best[m] - mean[m] for m in ("bias", "lora")])


def test_more_trials_than_were_run_have_no_effect_to_show() -> None:
    assert list(trick_choices.more_trials(record_frame(tuned(VAL)), 4)) == []
    assert list(trick_choices.more_trials(record_frame(finals(VAL)), 2)) == []


def test_searches_of_other_sizes_are_tables_of_their_own() -> None:
    few = {m: {t: v[:2] for t, v in tasks.items()} for m, tasks in VAL.items()}
    frame = record_frame([*_with_search(tuned(VAL), 3), *_with_search(tuned(few), 2)])
    assert [len(e.gains) for e in trick_choices.more_trials(frame, 3)] == [2]
    places = [e.place["recipe"] for e in trick_choices.more_trials(frame, 2)]
    assert [place.partition("[")[2].partition(",")[0] for place in places] == [
        "2 trials",
        "3 trials",
    ]


def _with_search(records: list[Record], trials: int) -> list[Record]:
    search = {"trials": trials, "seed": 0, "grid": {"lr": list(RATES)}, "grid_of": {}}
    return [
        replace(
            r,
            settings=replace(r.settings, recipe={**r.settings.recipe, TUNING_KEY: search}),
        )
        for r in records
    ]


def test_a_trial_without_an_outcome_counts_as_chance() -> None:
    diverged = {m: {t: (None, v[1]) for t, v in tasks.items()} for m, tasks in VAL.items()}
    shown = only(trick_choices.more_trials(record_frame(tuned(diverged)), 2))
    chance = 10.0  # of ten classes
    bias = np.mean([v[1] for v in VAL["bias"].values()])
    assert shown.gains[0] == pytest.approx(bias - (bias + chance) / 2)


def test_short_trials_of_a_search_that_halves_do_not_count() -> None:
    made = []
    for record in tuned(VAL):
        assert record.tuned
        short = Trial(point(0.1), 2, 99.0, 1.0, "")
        made.append(
            replace(record, tuned=replace(record.tuned, trials=[short, *record.tuned.trials]))
        )
    assert list(trick_choices.more_trials(record_frame(made), 4)) == []


def test_a_choice_a_task_is_set_against_the_best_for_all_tasks() -> None:
    shown = only(trick_choices.per_task_on_trials(record_frame(tuned(VAL))))
    bias = (70 + 40) / 2 - (70 + 35) / 2  # 0.005 for all
    lora = (90 + 45) / 2 - (90 + 44) / 2  # 0.02 for all
    assert shown.gains == pytest.approx([bias, lora])
    assert (shown.gains >= 0).all()


def test_the_best_for_all_tasks_is_the_best_mean_and_not_the_best_anywhere() -> None:
    near = {"digits": (69.0, 70.0, 50.0), "count": (40.0, 35.0, 20.0)}  # means 54.5, 52.5, 35
    shown = only(trick_choices.per_task_on_trials(record_frame(tuned({**VAL, "bias": near}))))
    assert shown.gains[0] == pytest.approx(0.5)


def test_the_same_choice_on_test_needs_final_runs_at_several_points() -> None:
    shown = only(trick_choices.per_task_on_test(record_frame(finals(VAL))))
    assert shown.gains == pytest.approx([2.5, 0.5])
    assert list(trick_choices.per_task_on_test(record_frame(tuned(VAL)))) == []


def test_on_one_task_there_is_nothing_to_choose_a_task() -> None:
    one = {method: {"digits": tasks["digits"]} for method, tasks in VAL.items()}
    assert list(trick_choices.per_task_on_test(record_frame(finals(one)))) == []


TEST = {  # not in the order of VAL
    "bias": {"digits": (72.0, 70.0, 71.0), "count": (40.0, 42.0, 20.0)},
    "lora": {"digits": (61.0, 62.0, 80.0), "count": (50.0, 45.0, 44.0)},
}


def test_what_validation_picks_is_scored_on_test() -> None:
    frame = record_frame(both(TEST))
    shown = only(trick_choices.per_task_on_validation(frame))  # count, digits
    assert shown.before.T.tolist() == [[42.0, 70.0], [44.0, 80.0]]
    assert shown.after.T.tolist() == [[40.0, 70.0], [45.0, 80.0]]
    shown = only(trick_choices.pick_on_test(frame))
    assert shown.before.T.tolist() == [[40.0, 70.0], [45.0, 80.0]]
    assert shown.after.T.tolist() == [[42.0, 72.0], [50.0, 80.0]]


def test_without_final_runs_at_the_trials_points_nothing_is_picked() -> None:
    frame = record_frame(tuned(VAL))
    assert list(trick_choices.per_task_on_validation(frame)) == []
    assert list(trick_choices.pick_on_test(frame)) == []


def test_a_pick_on_test_never_loses() -> None:
    draw = np.random.default_rng(0)
    test = {
        method: {task: tuple(draw.uniform(20, 90, size=3)) for task in tasks}
        for method, tasks in VAL.items()
    }
    shown = only(trick_choices.pick_on_test(record_frame(both(test))))
    assert (shown.after >= shown.before).all()
    assert set(VAL["bias"]) <= set(TASKS)
