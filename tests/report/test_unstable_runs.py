"""Final runs far below their own trials are named: with few seeds they decide a row's mean."""

from dataclasses import replace

from bench.records.schema import Record, Trial, TuningResult
from bench.report.html.leaderboard import notes_on
from bench.report.leaderboard import render_leaderboard
from bench.report.unstable_runs import unstable_warning
from support.made_up_records import boards, row

METHODS = ("adapter", "adaptformer", "bias", "full", "linear", "lora", "ssf", "vpt_deep")
TASKS = 5


def tuned(method: str, test: list[float], validation: list[float], seed: int = 0) -> list[Record]:
    """A row whose best trial scored `validation`, on each task; another scored nothing."""
    rates = {"lr": 1e-3, "weight_decay": 0.01}
    return [
        replace(record, tuned=TuningResult(0, 9.0, [trial(None), trial(best - 9), trial(best)]))
        for record, best in zip(row(method, test, seed, rates=rates), validation, strict=True)
    ]


def trial(accuracy: float | None) -> Trial:
    return Trial({"lr": 1e-3, "weight_decay": 0.01}, 10, accuracy, 9.0, "0" * 16)


def stable(seed: int = 0) -> list[Record]:
    """Eight rows whose tests differ from their trials by less than two points."""
    return [
        record
        for i, method in enumerate(METHODS)
        for record in tuned(
            method, [60.0 + (i * 7 + j * 3) % 4 for j in range(TASKS)], [61.5] * TASKS, seed
        )
    ]


def with_test(records: list[Record], method: str, place: int, test: float) -> list[Record]:
    """The records, but for the accuracy of one run: of a method on the task at `place`."""
    changed = [record for record in records if record.settings.method == method][place]
    assert changed.outcome
    outcome = replace(changed.outcome, accuracy=test)
    return [replace(r, outcome=outcome) if r is changed else r for r in records]


def warning(records: list[Record]) -> str:
    [board] = boards(records)
    found = unstable_warning(board.rows)
    assert found in render_leaderboard([board], "")
    assert not found or found in notes_on(board)
    return found


def test_a_run_far_below_its_trials_is_named_with_both_accuracies() -> None:
    records = with_test(stable(), "lora", 1, 20.0)
    task = [r for r in records if r.settings.method == "lora"][1].settings.task
    assert warning(records).endswith(f": lora on {task}, seed 0 (20.00 %, 61.50 % in tuning).")


def test_of_several_the_worst_is_named_first() -> None:
    found = warning(with_test(with_test(stable(), "ssf", 2, 30.0), "bias", 0, 10.0))
    assert 0 < found.index("bias on") < found.index("ssf on")
    assert found.count("in tuning)") == 2


def test_each_seed_is_looked_at_by_itself() -> None:
    records = stable(0) + with_test(stable(1), "lora", 1, 20.0)
    assert ", seed 1 (20.00 %" in warning(records)
    assert ", seed 0 (" not in warning(records)


def test_runs_that_score_as_their_trials_are_not_named() -> None:
    assert not warning(stable())


def test_a_run_far_above_its_trials_is_not_named() -> None:
    assert not warning(with_test(stable(), "lora", 1, 99.0))


def test_a_task_that_is_harder_on_test_for_all_methods_names_none() -> None:
    records = stable()
    for method in METHODS:
        records = with_test(records, method, 1, 20.0)
    assert not warning(records)


def test_a_row_that_was_not_tuned_has_nothing_to_compare_with() -> None:
    plain = row("lora", [1.0] * TASKS, rates={"lr": 1e-3, "weight_decay": 0.01})
    assert not warning([r for r in stable() if r.settings.method != "lora"] + plain)
    assert not warning(plain)


def test_a_board_of_one_method_names_none() -> None:
    assert not warning(tuned("lora", [60.0, 20.0, 60.0, 60.0, 60.0], [61.0] * TASKS))
