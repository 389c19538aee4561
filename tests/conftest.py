"""Fixtures for all tests."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.cli import main
from bench.models import small_models
from bench.prepare.downloads import checksums, http
from bench.utils import network
from methods.shared import registry
from support import slow_tests, tiny, variants
from support.scripted_server import Server, serving


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the tests marked long, too")
    parser.addoption("--quick", action="store_true", help="leave out tests/slow_tests.txt")
    parser.addoption("--write-slow-tests", action="store_true", help="write tests/slow_tests.txt")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--write-slow-tests") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(slow_tests.Durations())


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--quick"):
        slow = set(slow_tests.names())
        items[:] = [item for item in items if slow_tests.function_name(item.nodeid) not in slow]
    variants.mark_what_is_not_sampled(items)
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes long: tox -e long, or --long"))


torch.set_num_threads(1)  # more only wait for each other where several tests run at once

SHARED = Path(os.environ.get("BENCH_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="module", autouse=True)
def _own_registry_of_a_module() -> Iterator[None]:
    """Methods that the fixtures of a module register are gone after it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_methods", dict(registry._methods))
        yield


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods that a test registers are gone after it."""
    monkeypatch.setattr(registry, "_methods", dict(registry._methods))


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """File hashes that are stored between runs go to a temporary folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what tests ask for at other machines nothing is there, so that no test depends on it."""
    ask = network._ask

    def ask_here(url: str) -> Any:
        return ask(url) if url.startswith("http://127.0.0.1") else network.Unreachable("offline")

    monkeypatch.setattr(network, "_ask", ask_here)


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a suite of two tasks and a backbone; not to be changed."""
    return tiny.write_all(tmp_path_factory.mktemp("cards"))


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures, the slow part of a report."""
    monkeypatch.setattr("bench.report.figures._figure_specs", list)


@pytest.fixture
def run(cards: Path, tmp_path: Path) -> Callable[..., int]:
    """A call of `bench run` on the tiny suite, into `tmp_path/results`; it returns the status."""

    def act(methods: str, *more: str, results: str = "results") -> int:
        return main.main(tiny.command("run", cards, tmp_path / results, methods, *more))

    return act


@pytest.fixture
def double_precision():
    """New tensors are float64."""
    with small_models.double_precision():
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """A folder of real data and weights outside the project; the test is skipped without it."""
    if not (SHARED / "weights").is_dir():
        pytest.skip(f"needs the folder of real data and weights at {SHARED}")
    return SHARED


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make downloads give up at once, and use no proxy."""
    monkeypatch.setattr(http, "RETRY_DELAYS", (0.0, 0.0))
    monkeypatch.setattr(http, "TIMEOUT", 0.2)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    """A local HTTP server that the test scripts."""
    with serving() as server:
        yield server


@pytest.fixture
def mirror() -> Iterator[Server]:
    """A second server."""
    with serving() as server:
        yield server


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose hash was computed, in order."""
    read, digest = [], checksums.hash_file

    def counted(kind: str, path: Path, *rest: Any) -> str:
        read.append(path)
        return digest(kind, path, *rest)

    monkeypatch.setattr(checksums, "hash_file", counted)
    return read
