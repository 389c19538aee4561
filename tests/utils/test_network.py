"""One attempt to reach a server, and how long it may take."""

import time

import pytest

from bench.utils import network
from support.scripted_server import Server, Step

pytestmark = pytest.mark.usefixtures("impatient")


def test_a_server_that_is_there_answers(server: Server) -> None:
    url = server.does(Step(b"content"))
    assert network.head(url)  # it does not know HEAD, and says so


def test_a_server_that_is_not_there_is_asked_once() -> None:
    with pytest.raises(network.Unreachable, match="onnection refused"):
        network.head("http://127.0.0.1:9/file")


def test_a_server_that_never_answers_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network, "LIMIT", 0.2)
    monkeypatch.setattr(network, "_ask", lambda url: time.sleep(20))
    began = time.monotonic()
    found = network.heads(["http://127.0.0.1/a", "http://127.0.0.1/b"])
    assert {str(answer) for answer in found.values()} == {"no answer within 0.2 s"}
    assert time.monotonic() - began < 10


def test_the_limit_is_within_five_seconds() -> None:
    assert network.LIMIT < 5


@pytest.mark.parametrize("url", ["http://", "file:///etc/passwd", "nothing", "http://[x"])
def test_what_is_no_address_is_unreachable(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert isinstance(network._ask(url), network.Unreachable)
