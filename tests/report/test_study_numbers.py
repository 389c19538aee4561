"""Numbers on a study's page: paired differences, and our values for printed ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from bench.config.suite import Suite, Task
from bench.papers.study import (
    OurValue,
    PrintedNumber,
    load_study,
)
from bench.records.schema import Outcome
from bench.report import study_data, study_numbers
from support import synthetic_records
from support.study_cards import study_card, write_cards


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny suite, and a recipe of two epochs for it."""
    return write_cards(tmp_path_factory.mktemp("cards"))


def test_differences_are_paired_by_all_but_the_method() -> None:
    pairs = [("light", 0), ("light", 1), ("dark", 0)]
    base, more = (70.0, 60.0, 50.0), (1.0, 2.0, 6.0)
    rows = [("a", *pair, value) for pair, value in zip(pairs, base, strict=True)]
    rows += [("b", *pair, x + y) for pair, x, y in zip(pairs, base, more, strict=True)]
    rows += [("b", "dark", 1, 99.0)]  # without a partner
    frame = pd.DataFrame(rows, columns=["method", "task", "seed", "accuracy"])
    [found] = study_numbers.paired_differences(frame, ["task", "seed"], "accuracy", ["a"]).to_dict(
        "records"
    )
    low, high = stats.ttest_rel([71.0, 62.0, 56.0], base).confidence_interval(0.95)
    assert (found["method"], found["against"], found["pairs"]) == ("b", "a", 3)
    assert (found["mean"], found["low"], found["high"]) == pytest.approx((3.0, low, high))


def test_a_single_pair_has_no_interval_and_no_pair_no_row() -> None:
    frame = pd.DataFrame({"method": ["a", "b"], "seed": [0, 0], "accuracy": [1.0, 3.0]})
    [found] = study_numbers.paired_differences(frame, ["seed"], "accuracy", ["b"]).to_dict(
        "records"
    )
    assert found["mean"] == -2
    assert pd.isna(found["low"])
    assert not len(
        study_numbers.paired_differences(frame.assign(seed=[0, 1]), ["seed"], "accuracy", ["b"])
    )
    assert not len(study_numbers.paired_differences(frame[:0], ["seed"], "accuracy", ["b"]))


PRINTED_ROWS = [
    ({"take": "best", "of": "vpt_deep"}, "prompts", "3 prompts"),
    ({"take": "worst", "of": "vpt_deep"}, "prompts", "2 prompts"),
    ({"take": "range", "of": "vpt_deep"}, "%", "7 points"),
    ({"take": "lead", "of": "spt_deep", "other": "vpt_deep"}, "%", "3 points"),
    ({"take": "lead", "of": "spt_deep", "other": "vpt_deep", "at": 2}, "%", "9 points"),
    ({"take": "value", "of": "spt_deep", "at": 3, "value": "init_seconds"}, "d", "2 d"),
    ({"take": "lead", "of": "spt_deep", "other": "vpt_deep", "at": 4}, "%", ""),
]


def outcome_of(accuracy: float) -> Outcome:
    """The outcome of a cell whose initialisation took two days."""
    record = synthetic_records.record("vpt_deep", "vit", *fgvc_and_cub())
    assert record.outcome is not None
    return replace(record.outcome, accuracy=accuracy, init_seconds=172_800.0)


def fgvc_and_cub() -> tuple[Suite, Task]:
    suite = synthetic_records.SUITES["fgvc"]
    return suite, suite.find("cub")


@pytest.mark.parametrize(("ours", "unit", "said"), PRINTED_ROWS)
def test_a_printed_number_is_shown_with_our_value(
    folder: Path, ours: dict[str, Any], unit: Any, said: str
) -> None:
    loaded = load_study(str(study_card(folder, "beside"))).study
    means = {("vpt_deep", 2): 50.0, ("vpt_deep", 3): 57.0, ("spt_deep", 2): 59.0,
             ("spt_deep", 3): 60.0}  # fmt: skip
    one = PrintedNumber("it", 1.0, unit, OurValue(**ours))
    blank = synthetic_records.record("vpt_deep", "vit", *fgvc_and_cub())
    found = [
        (place, replace(blank, outcome=outcome_of(means[place["method"], place["prompts"]])))
        for place, _ in study_data.study_cells(loaded, {})
    ]
    assert study_numbers.our_value(one, loaded, found) == said
    undone = [(place, None) for place, _ in found]
    assert study_numbers.our_value(one, loaded, undone) == "", "no cell has a result"
