"""The connection to a Ray cluster: addresses where no head listens, and what nodes offer."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest

from bench.cli import main
from bench.execution.executors import ray_connection, ray_process
from bench.execution.executors.ray_connection import JobResources, job_resources, require_listener
from bench.utils.errors import UserError
from support import tiny

SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
Answer = Callable[[socket.socket], object]


def hold(connection: socket.socket) -> None:
    """Answer nothing, until the other side hangs up."""
    with suppress(OSError):
        while connection.recv(1024):
            pass


def drip(connection: socket.socket) -> None:
    """Answer a byte at a time."""
    with suppress(OSError):
        for _ in range(1000):
            connection.sendall(b"\0")
            time.sleep(0.2)


@contextmanager
def listener(answer: Answer) -> Iterator[str]:
    """The address of a listener that answers each caller in this way."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    answer(connection)
                    connection.close()

        Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def greet(connection: socket.socket) -> None:
    """Answer as an HTTP/2 server, and then nothing more."""
    connection.sendall(SETTINGS)
    hold(connection)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (hold, "no answer within 0.5 s"),
        (drip, "no answer within 0.5 s|no Ray head"),
        (lambda connection: None, "what answers there is no Ray head|reset by peer"),
        (lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n"), "no Ray head"),
        (lambda connection: connection.sendall(b"-ERR unknown command 'PRI'\r\n"), "no Ray head"),
    ],
    ids=["silent", "dripping", "hangs up", "http", "redis"],
)
def test_whoever_is_no_head_is_known_soon(
    answer: Answer, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_connection, "PROBE_SECONDS", 0.5)
    with listener(answer) as address, pytest.raises(UserError, match=problem):
        require_listener(address)


def test_who_answers_in_http2_may_be_a_head() -> None:
    with listener(greet) as address:
        require_listener(address)


@pytest.mark.parametrize("address", ["127.0.0.1:9", "127.0.0.1:99999", "a..b:1", "[::1]:9"])
def test_an_address_of_nobody_is_refused(address: str) -> None:
    with pytest.raises(UserError, match="no Ray cluster at"):
        require_listener(address)


def test_a_name_whose_look_up_takes_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_connection, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(ray_connection, "_greet", lambda *_: time.sleep(60) or b"")
    with pytest.raises(UserError, match=r"no Ray cluster at a:1: no answer within 0\.2 s"):
        require_listener("a:1")


@pytest.mark.sample(1)
@pytest.mark.parametrize("answer", [hold, greet])
def test_a_silent_address_is_given_up(
    answer: Answer,
    cards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    monkeypatch.setattr(ray_connection, "PROBE_SECONDS", 2.0)
    monkeypatch.setattr(ray_process, "CONNECT_SECONDS", 2.0)
    with listener(answer) as address:
        more = ("--workers", "1", "--executor", "ray", "--address", address)
        assert main.main(tiny.command("run", cards, tmp_path, "linear", *more)) == 2
    said = capsys.readouterr().err
    assert said.endswith(f"bench: no Ray cluster at {address}: no answer within 2 s\n")


@pytest.mark.parametrize(
    ("nodes", "gpu", "expected"),
    [
        ([{"CPU": 4}, {"CPU": 2, "GPU": 1}], False, JobResources(1, 0, 6)),
        (
            [{"CPU": 16}, {"CPU": 8, "GPU": 2}, {"CPU": 32, "GPU": 4}],
            True,
            JobResources(2, 0.5, 12),
        ),
        ([{"CPU": 1, "GPU": 1}], True, JobResources(0.5, 0.5, 2)),
        ([{"CPU": 8}], True, JobResources(0, 0.5, 0)),
    ],
)
def test_a_job_has_a_core_or_its_share_of_a_gpu(
    nodes: list[dict[str, float]], gpu: bool, expected: JobResources
) -> None:
    assert job_resources(nodes, gpu, per_gpu=2) == expected
