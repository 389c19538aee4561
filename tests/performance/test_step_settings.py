"""Steps by batch size and precision: what is measured, what does not fit, and how busy a GPU is."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.performance import step_settings
from bench.performance.measurement import TRAIN_THROUGHPUT
from bench.performance.step_settings import StepSettings, covered, measure_settings

SETTINGS = StepSettings((2, 4), ("fp32",))


@pytest.fixture
def two_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {"linear": ("linear", {}), "short": ("vpt_deep", {"prompts": 2})}
    monkeypatch.setattr(step_settings, "METHODS", chosen)


def test_each_method_is_measured_in_each_setting(two_methods: None) -> None:
    rows = list(measure_settings("vit_micro_sup", SETTINGS, 1, "cpu"))
    names = [f"{name}, batch {batch}, fp32" for batch in (2, 4) for name in ("linear", "short")]
    assert [row.name for row in rows] == names
    assert {row.unit for row in rows} == {TRAIN_THROUGHPUT}
    assert all(row.value and row.value > 0 for row in rows)


def test_what_does_not_fit_is_named_and_the_rest_measured(
    two_methods: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = step_settings._build

    def narrow(backbone: str, method: str, fields: Any, batch: int, *more: str) -> Any:
        if (method, batch) == ("vpt_deep", 2):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return build(backbone, method, fields, batch, *more)

    monkeypatch.setattr(step_settings, "_build", narrow)
    rows = list(measure_settings("vit_micro_sup", SETTINGS, 1, "cpu"))
    assert [row.note for row in rows] == ["", "out of memory", "", ""]
    assert [row.value is None for row in rows] == [False, True, False, False]


def test_every_method_of_the_section_is_one_of_the_registry() -> None:
    for method, fields in step_settings.METHODS.values():
        step_settings.methods.create(method, **fields)


SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=12)


@given(SPANS)
def test_time_that_several_kernels_share_counts_once(starts: list[tuple[int, int]]) -> None:
    spans = [(start, start + length) for start, length in starts]
    units = {unit for start, end in spans for unit in range(start, end)}
    assert covered([(float(a), float(b)) for a, b in spans]) == len(units)
