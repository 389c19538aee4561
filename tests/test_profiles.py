"""The quick profile of the tests, without `tests/slow_tests.txt`, and the cases that are long."""

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest

from support import slow_tests, variants

ROOT = Path(__file__).parents[1]


def functions_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_slow_test_is_there_and_named_once():
    names = slow_tests.names()
    assert names == sorted(set(names))
    files = {name.partition("::")[0] for name in names}
    known = {file: functions_of(file) for file in files}
    for name in names:
        file, _, function = name.partition("::")
        assert function in known[file], name


@pytest.mark.parametrize("seconds", [(0.2, 0.1, 0.1), (0.2, 0.3, 0.1)])
def test_a_test_is_slow_with_the_time_of_its_fixtures(tmp_path, monkeypatch, seconds):
    monkeypatch.setattr(slow_tests, "FILE", tmp_path / "slow_tests.txt")
    durations = slow_tests.Durations()
    for taken in seconds:
        durations.pytest_runtest_logreport(
            SimpleNamespace(nodeid="tests/a.py::b[c]", duration=taken)
        )
    durations.pytest_sessionfinish()
    is_slow = sum(seconds) > slow_tests.LIMIT
    assert slow_tests.names() == (["tests/a.py::b"] if is_slow else [])


@pytest.mark.parametrize(("of", "count"), [(1, 1), (2, 1), (5, 5), (7, 3), (114, 16), (3, 9)])
def test_sampled_cases_are_spread_and_as_many_as_asked(of, count):
    kept = sorted(variants.evenly_spread(of, count))
    gaps = [after - before for before, after in zip(kept, [*kept[1:], of], strict=True)]
    assert len(kept) == min(of, count)
    assert kept[0] == 0
    assert max(gaps) - min(gaps) <= 1


class Item(SimpleNamespace):
    """A collected test case with its name and marks."""

    def get_closest_marker(self, name):
        return next((mark for mark in self.marks if mark.name == name), None)

    def add_marker(self, name):
        self.marks.append(getattr(pytest.mark, name).mark)


def test_cases_that_are_not_sampled_are_long():
    items = [Item(nodeid=f"a.py::b[{n}]", marks=[pytest.mark.sample(2).mark]) for n in range(6)]
    items.append(Item(nodeid="a.py::c[0]", marks=[]))
    variants.mark_what_is_not_sampled(items)
    run = [item.nodeid for item in items if not item.get_closest_marker("long")]
    assert run == ["a.py::b[0]", "a.py::b[3]", "a.py::c[0]"]
