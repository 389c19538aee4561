"""Tolerances for rounding, by the precision of a recipe: each precision has its entry."""

from typing import Any, get_args, get_type_hints

import pytest

from bench.config.recipe import Recipe
from bench.execution import rounding
from bench.training import feature_cache, stack_check

PRECISIONS = set(get_args(get_type_hints(Recipe)["precision"])) - {"auto"}
TABLES = {
    "of scores": rounding.ROUNDING,
    "of cached features": feature_cache.LOGIT_TOLERANCE,
    "of stacked gradients": stack_check.TOLERANCE,
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_each_precision_has_its_tolerance_and_a_finer_one_a_smaller(table: dict[str, Any]) -> None:
    assert table.keys() == PRECISIONS == {"fp32", "tf32", "bf16"}
    assert 0 < table["fp32"] < table["tf32"] < table["bf16"]


@pytest.mark.parametrize("precision", sorted(PRECISIONS))
def test_one_image_is_always_allowed(precision: str) -> None:
    assert not rounding.is_beyond_rounding(50.0, 60.0, 10, precision)
    assert rounding.is_beyond_rounding(50.0, 70.0, 10, precision)
