"""The quick profile of the tests, without those in `tests/slow_tests.txt`."""

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest

from support import slow_tests

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
