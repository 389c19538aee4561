"""Tests of many like cases, of which only some are run where the long tests are not."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from support.slow_tests import function_name

OF_EACH_KIND = {
    *("da_vpt", "full", "gps", "linear", "lora", "pace_lora", "peft_adalora", "sidetune"),
    *("ssf", "vpt_deep"),
}


def one_of_each_kind(names: Sequence[str]) -> list[Any]:
    """The names as cases; those that represent no kind of method are long."""
    return [
        name if name in OF_EACH_KIND else pytest.param(name, marks=pytest.mark.long)
        for name in names
    ]


def mark_what_is_not_sampled(items: Iterable[pytest.Item]) -> None:
    """Mark the cases of a test with ``@pytest.mark.sample(n)`` as long, but for n of them."""
    cases = defaultdict[str, list[pytest.Item]](list)
    for item in items:
        if item.get_closest_marker("sample"):
            cases[function_name(item.nodeid)].append(item)
    for of_one_test in cases.values():
        mark = of_one_test[0].get_closest_marker("sample")
        assert mark
        kept = evenly_spread(len(of_one_test), mark.args[0])
        for index, item in enumerate(of_one_test):
            if index not in kept:
                item.add_marker("long")


def evenly_spread(of: int, count: int) -> set[int]:
    """`count` of the numbers below `of`, the first among them."""
    return {number * of // count for number in range(count)}
