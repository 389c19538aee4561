"""Tests that take long enough to be left out of a quick run, by the names of their functions.

`tox -e quick` leaves out what `tests/slow_tests.txt` names. A run of all tests with
``--write-slow-tests`` writes that file anew.
"""

from collections import defaultdict
from pathlib import Path

import pytest

FILE = Path(__file__).parents[1] / "slow_tests.txt"
LIMIT = 0.25  # seconds of a function's slowest case, its fixtures included
HEADER = "# functions with a case of 0.25 seconds or more; made by pytest --write-slow-tests\n"


def names() -> list[str]:
    """The names of the functions, as pytest writes them without parameters."""
    return [line for line in FILE.read_text("utf-8").splitlines() if not line.startswith("#")]


def function_name(node: str) -> str:
    """The name of a test without its parameters."""
    return node.partition("[")[0]


class Durations:
    """Collects how long each test takes, and writes the slow ones at the end of a run."""

    def __init__(self) -> None:
        self.seconds = defaultdict[str, float](float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        slow = {function_name(node) for node, taken in self.seconds.items() if taken >= LIMIT}
        FILE.write_text(HEADER + "".join(f"{name}\n" for name in sorted(slow)), "utf-8")
