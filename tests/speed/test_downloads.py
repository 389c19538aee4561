"""Time of a download against a plain copy of the same bytes; run by ``tox -e speed``.

Both come from this machine: a network is slower than either, so only what the second adds to the
first can ever be waited for.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from urllib.request import urlopen

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.config.suite import Source, SourceFile
from bench.prepare.downloads import fetch
from support.scripted_server import Server, Step, serving

MANY, FEW = 64 * 2**20, 2**20  # few where nothing is measured, and only the code is tried
GROUP = "64 MiB from this machine"


@pytest.fixture(scope="module")
def content(pytestconfig: pytest.Config) -> bytes:
    return os.urandom(MANY if pytestconfig.getoption("--benchmark-enable") else FEW)


@pytest.fixture(scope="module")
def server(content: bytes) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch, serving() as server:
        patch.setenv("no_proxy", "127.0.0.1")
        server.does(Step(content))
        yield server


@pytest.mark.benchmark(group=GROUP)
def test_a_bare_copy(benchmark: BenchmarkFixture, server: Server, tmp_path: Path) -> None:
    def copy() -> None:
        with urlopen(f"{server.url}/file") as response, (tmp_path / "copy").open("wb") as out:
            shutil.copyfileobj(response, out, 2**20)

    benchmark.pedantic(copy, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("kind", ["", "md5", "sha256"])
@pytest.mark.benchmark(group=GROUP)
def test_a_verified_download(
    benchmark: BenchmarkFixture, server: Server, content: bytes, kind: str, tmp_path: Path
) -> None:
    hashes = {kind: hashlib.new(kind, content).hexdigest()} if kind else {}
    file = SourceFile("copy", bytes=len(content), urls=[f"{server.url}/file"], **hashes)  # type: ignore[arg-type]
    source = Source("a", "A", "f", "png", "open", "home", "open", 1, [file])
    folders = (tmp_path / str(i) for i in count())
    benchmark.pedantic(
        lambda: fetch(source, file, next(folders), lambda *_: None), rounds=5, warmup_rounds=1
    )
