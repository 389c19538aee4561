"""Fuzzing: its two profiles, what the commands must not reach, and counts of what was tried."""

import pkgutil
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import bench
from bench.prepare import downloads
from bench.prepare.downloads import http
from support import small_suite, suite_copies
from support.fuzzing import cards, counts
from support.fuzzing.profiles import PROFILE

COMMON = {
    "deadline": None,  # commands have an alarm of their own
    "suppress_health_check": list(HealthCheck),
    "print_blob": True,
}
settings.register_profile("short", derandomize=True, database=None, **COMMON)
settings.register_profile("long", **COMMON)
settings.load_profile(PROFILE)

totals: Counter[str] = Counter()


@pytest.fixture(scope="session")
def sandboxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all sandboxes."""
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Valid cards of every kind and tiny data, of which every example gets its own."""
    return cards.make_template(tmp_path_factory.mktemp("template") / "work")


@pytest.fixture(scope="session")
def imported(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with a copy that was brought in."""
    folder = tmp_path_factory.mktemp("imported") / "work"
    shutil.copytree(template, folder)
    assert suite_copies.bring(folder / "cards", folder / "copy") == 0
    return folder


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a suite whose source's archives are at hand, made once for each source."""

    @cache
    def make(source: str) -> Path:
        folder = tmp_path_factory.mktemp(source) / "work"
        small_suite.write(folder / "cards", source)
        return folder

    return make


@pytest.fixture(autouse=True, scope="session")
def _imported() -> None:
    """Import all modules at once: libraries write caches, and ask programs, when imported."""
    for module in pkgutil.walk_packages(bench.__path__, "bench."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    import_module("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def _no_figures(no_figures: None) -> None:
    """Figures are the slow part of a report."""


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads fail at once."""

    def fail(*_: object, **__: object) -> None:
        raise http.Unavailable("there is no network here")

    monkeypatch.setattr(downloads, "download", fail)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)


@pytest.fixture(autouse=True)
def _count(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hand what a test has counted to the process that shows it."""
    counts.tried.clear()
    yield
    request.node.user_properties.append(("tried", dict(counts.tried)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        totals.update(dict(report.user_properties).get("tried", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if totals:
        terminalreporter.section(f"tried under the profile {PROFILE}")
        for kind, number in sorted(totals.items()):
            terminalreporter.line(f"{number:7,} {kind}")
