"""The means in the papers' tables: over tasks, a group, and groups of equal weight."""

from dataclasses import replace
from statistics import fmean

import pytest

from bench.papers.claims import PaperEntry
from bench.records.schema import Record
from bench.report.frame import record_frame
from bench.report.paper_values import MeasuredValue, PaperResults, largest_comparable
from support.synthetic_records import MAE, SUITES, record

VTAB = SUITES["vtab1k"]
OF_GROUP = {"Natural": 80.0, "Specialized": 60.0, "Structured": 10.0}  # of 7, 4 and 8 tasks


def made(seed: int = 0, more: float = 0.0) -> list[Record]:
    """A row whose tasks have the accuracy of their group, and params by their classes."""
    found = []
    for task in VTAB.task:
        plain = record("spt_deep", MAE, VTAB, task, seed)
        assert plain.outcome
        accuracy = OF_GROUP[task.group] + more
        outcome = replace(plain.outcome, accuracy=accuracy, best_epoch_accuracy=accuracy + 1)
        found.append(replace(plain, outcome=outcome))
    return found


def find(records: list[Record], on: str, metric: str = "accuracy") -> MeasuredValue:
    place = PaperEntry("spt_deep", "", MAE, "vtab1k", on, metric)
    return PaperResults(largest_comparable(record_frame(records), "spt2024"), "accuracy").measured(
        place
    )


@pytest.mark.parametrize(
    ("on", "mean"),
    [
        ("mean over groups", 50.0),
        ("mean over tasks", (7 * 80 + 4 * 60 + 8 * 10) / 19),
        ("Natural", 80.0),
        ("Specialized", 60.0),
        ("Structured", 10.0),
        ("kitti", 10.0),
    ],
)
def test_each_mean_is_over_what_its_name_says(on: str, mean: float) -> None:
    assert find(made(), on).values == [pytest.approx(mean)]


def test_the_spread_is_that_of_the_seeds_means() -> None:
    found = find([*made(0), *made(1, 3.0), *made(2, 6.0)], "mean over groups")
    assert found.values == [pytest.approx(v) for v in (50.0, 53.0, 56.0)]
    assert (found.mean, found.sd) == (pytest.approx(53.0), pytest.approx(3.0))


def test_a_seed_that_some_tasks_lack_does_not_count() -> None:
    assert len(find([*made(0), *made(1)[1:]], "mean over groups").values) == 1
    found = find(made()[1:], "mean over tasks")
    assert (found.values, found.done, found.tasks) == ([], 18, 19)


def test_params_are_the_mean_over_tasks_head_included() -> None:
    heads = fmean(769 * task.classes for task in VTAB.task)
    found = find(made(), "mean over tasks", "params")
    assert found.values == [pytest.approx((184_320 + heads) / 1e6)]


def test_of_two_records_of_a_seed_the_first_by_its_cell_counts() -> None:
    [one] = [r for r in made() if r.settings.task == "kitti"]
    assert one.outcome
    rates = replace(one.settings, rates={"lr": 0.1, "weight_decay": 0.0})
    other = Record(rates, one.group, replace(one.outcome, accuracy=99.0), None, one.environment,
                   one.request, cell=rates.digest())  # fmt: skip
    first = min(one, other, key=lambda r: r.cell)
    assert first.outcome
    for both in ([one, other], [other, one]):
        assert find(both, "kitti").values == [first.outcome.accuracy]


def test_of_boards_that_cannot_be_one_the_largest_fills_the_table() -> None:
    whole = made()
    other = [
        replace(one, settings=replace(one.settings, weights="f" * 64), cell="")
        for one in made(more=9.0)[:5]
    ]
    named = [replace(one, cell=one.settings.digest()) for one in other]
    for both in ([*whole, *named], [*named, *whole]):
        parts = largest_comparable(record_frame(both), "spt2024")
        assert (len(parts.records), parts.left_out) == (19, 5)
        assert find(both, "mean over groups").values == [pytest.approx(50.0)]
