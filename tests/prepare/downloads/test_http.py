"""HTTP downloads from servers that fail: the file is right, or a sentence says why not."""

import hashlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import pytest

from bench.prepare.downloads import checksums, fetch
from bench.utils.files import REPO_ROOT
from support.download_cases import (
    CONTENT,
    CUT,
    FINE,
    NAME,
    OTHER,
    PAGE,
    TORN,
    a_file,
    a_source,
    brought,
    left_over,
    part,
    refused,
)
from support.scripted_server import Server, Step

pytestmark = pytest.mark.usefixtures("impatient")


# What a server may do, and the file comes whole all the same

WELL = {
    "plainly": ([FINE], 1),
    "torn": ([TORN, FINE], 2),
    "torn_often": ([TORN, TORN, TORN, FINE], 4),
    "stalls": ([Step(CONTENT, stop=CUT, stalls=True), FINE], 2),
    "no_ranges": ([Step(CONTENT, stop=CUT, ranges=False), Step(CONTENT, ranges=False)], 2),
    "changed_meanwhile": ([Step(OTHER, stop=CUT, etag='"old"'), FINE], 2),
    "changed_unchecked": ([Step(OTHER, stop=CUT, etag='"old"'), Step(CONTENT, checks=False)], 3),
    "no_marks": ([Step(CONTENT, stop=CUT, etag=""), Step(CONTENT, etag="")], 2),
    "dated": ([Step(CONTENT, stop=CUT, etag="", modified="Tue"), Step(CONTENT, modified="Tue")], 2),
    "busy": ([Step(b"later", 503), Step(b"later", 429), FINE], 3),
    "no_length": ([Step(CONTENT, length=False)], 1),
    "torn_no_length": ([Step(CONTENT, length=False, stop=CUT), FINE], 2),
    "chunked": ([Step(CONTENT, chunked=True)], 1),
    "torn_chunked": ([Step(CONTENT, chunked=True, stop=CUT), FINE], 2),
    "moved": ([Step(moved="/elsewhere", status=302), FINE], 2),
    "silent": ([Step(CONTENT, stop=0), FINE], 2),
}


@pytest.mark.parametrize("way", WELL)
def test_a_file_comes_whole(way: str, server: Server, tmp_path: Path) -> None:
    steps, requests = WELL[way]
    path = brought(a_file(server.does(*steps)), tmp_path)
    assert path == tmp_path / NAME
    assert path.read_bytes() == CONTENT
    assert len(server.asked) == requests
    assert not left_over(tmp_path)


@pytest.mark.parametrize("way", ["torn", "torn_often", "stalls", "dated", "no_marks"])
def test_what_was_had_is_not_asked_for_again(way: str, server: Server, tmp_path: Path) -> None:
    brought(a_file(server.does(*WELL[way][0])), tmp_path)
    assert server.sent == len(CONTENT)
    assert server.ranges[:2] == ["", f"bytes={CUT}-"]


@pytest.mark.parametrize("way", sorted(set(WELL) - {"changed_meanwhile", "changed_unchecked"}))
def test_a_file_is_hashed_as_it_comes(
    way: str, server: Server, tmp_path: Path, hashed: list[Path]
) -> None:
    brought(a_file(server.does(*WELL[way][0])), tmp_path)
    assert hashed == []


def test_a_file_whose_size_and_hash_are_not_published_comes_whole(
    server: Server, tmp_path: Path
) -> None:
    file = a_file(server.does(TORN, FINE), bytes=0, sha256="")
    assert brought(file, tmp_path).read_bytes() == CONTENT
    assert server.asked[1]["If-Range"] == '"one"'


def test_without_hash_and_mark_a_torn_file_is_had_from_its_beginning(
    server: Server, tmp_path: Path
) -> None:
    unmarked = replace(FINE, etag="")
    file = a_file(server.does(replace(unmarked, stop=CUT), unmarked), sha256="")
    assert brought(file, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["", ""]


def test_a_part_that_is_all_of_it_needs_no_server(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    assert brought(a_file("http://127.0.0.1:9/file"), tmp_path).read_bytes() == CONTENT


def test_a_part_that_is_all_of_it_is_known_by_416(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    assert brought(a_file(server.does(FINE), bytes=0), tmp_path).read_bytes() == CONTENT
    assert (server.ranges, server.sent) == ([f"bytes={len(CONTENT)}-"], 0)


@pytest.mark.parametrize("stale", [OTHER[:CUT], OTHER, CONTENT + b"more"], ids=["some", "all", "+"])
def test_a_part_of_something_else_is_thrown_away(
    stale: bytes, server: Server, tmp_path: Path
) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(stale)
    assert brought(a_file(server.does(FINE)), tmp_path).read_bytes() == CONTENT


def test_a_part_longer_than_a_file_of_unknown_size_is_had_anew(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT + b"more")
    assert brought(a_file(server.does(FINE), bytes=0), tmp_path).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT) + 4}-", ""]


def test_a_proxy_is_honoured(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.does(FINE)
    monkeypatch.setenv("http_proxy", server.url)
    brought(a_file("http://archive.invalid/images.zip"), tmp_path)
    assert server.asked[0]["path"] == "http://archive.invalid/images.zip"


# Mirrors

POOR = {
    "an_error_page": (Step(PAGE), "55 bytes of text/html (an error page?), expected 1,024,000"),
    "a_page_as_it_goes": (Step(PAGE, chunked=True), "it sent text/html (an error page?)"),
    "an_s3_error": (Step(b"<?xml version='1.0'?><Error/>"), "application/xml (an error page?)"),
    "a_json_error": (Step(b'{"error": "gone"}'), "17 bytes of application/json (an error page?)"),
    "wrong_bytes": (Step(OTHER), f"of sha256 {hashlib.sha256(OTHER).hexdigest()}, expected sha256"),
    "another_size": (Step(CONTENT[:-1]), "1,023,999 bytes, expected 1,024,000 bytes, sha256"),
    "endless": (Step(CONTENT * 2, length=False), "it sent more than 1,024,000 bytes"),
    "not_found": (Step(b"", 404), "HTTP 404 Not Found"),
    "busy": (Step(b"", 503), "HTTP 503 Service Unavailable (3 times in a row)"),
    "no_content": (Step(b"", 203), "HTTP 203"),
    "elsewhere": (Step(moved="file:///etc/hostname", status=302), "HTTP 302"),
    "in_circles": (Step(moved="/file", status=302), "HTTP 302"),
    "silent": (Step(CONTENT, stop=0, stalls=True), "no byte for 0.2 s (3 times in a row)"),
    "torn_at_once": (Step(CONTENT, stop=0), "it ended after 0 of 1,024,000 bytes (3 times"),
}


@pytest.mark.parametrize("way", POOR)
def test_what_an_address_does_wrong_is_said(way: str, server: Server, tmp_path: Path) -> None:
    step, words = POOR[way]
    said = refused(a_file(url := server.does(step)), tmp_path)
    assert said.startswith(f"{NAME} could not be downloaded: {url}: ")
    assert words in said
    kept = {"endless": CONTENT[: len(part(tmp_path))]}.get(way, b"")
    assert part(tmp_path) == kept


@pytest.mark.parametrize("way", POOR)
def test_the_next_mirror_makes_up_for_it(
    way: str, server: Server, mirror: Server, tmp_path: Path
) -> None:
    file = a_file(server.does(POOR[way][0]), mirror.does(FINE))
    assert brought(file, tmp_path).read_bytes() == CONTENT
    assert not left_over(tmp_path)


def test_every_address_is_named_with_what_it_did(server: Server, tmp_path: Path) -> None:
    urls = ["ftp://archive.example/x", "http://127.0.0.1:9/x", server.does(Step(b"", 403))]
    said = refused(a_file(*urls), tmp_path)
    for url, words in zip(urls, ("only http and https", "refused", "HTTP 403"), strict=True):
        assert f"{url}: " in said
        assert words in said


def test_a_mirror_goes_on_where_another_ended(
    server: Server, mirror: Server, tmp_path: Path
) -> None:
    first = server.does(TORN, Step(b"", 500))
    file = a_file(first, mirror.does(Step(CONTENT, etag='"two"')))
    assert brought(file, tmp_path).read_bytes() == CONTENT
    assert mirror.ranges == [f"bytes={CUT}-"]
    assert "If-Range" not in mirror.asked[0]
    assert server.sent + mirror.sent == len(CONTENT)


def test_a_mirror_that_knows_no_ranges_loses_nothing_of_another(
    server: Server, mirror: Server, tmp_path: Path
) -> None:
    first = server.does(TORN, Step(b"", 500))
    refused(a_file(first, mirror.does(Step(CONTENT, stop=CUT - 9, ranges=False))), tmp_path)
    assert part(tmp_path) == CONTENT[:CUT]


# What was had stays had


def test_a_failure_says_what_is_kept_and_the_next_call_goes_on(
    server: Server, tmp_path: Path
) -> None:
    said = refused(a_file(server.does(TORN, Step(b"", 500))), tmp_path)
    assert said.endswith("; 300.0 kB are kept, and the next try goes on from there")
    assert part(tmp_path) == CONTENT[:CUT]
    server.sent = 0
    assert brought(a_file(server.does(FINE)), tmp_path).read_bytes() == CONTENT
    assert server.sent == len(CONTENT) - CUT


def test_an_interrupt_keeps_what_was_had(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(name: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    file = a_file(server.does(Step(CONTENT, stop=CUT, stalls=True)))
    monkeypatch.setattr(checksums, "MIN_INTERVAL", 0.0)
    with pytest.raises(KeyboardInterrupt):
        fetch(a_source(file), file, tmp_path, interrupt)
    had = part(tmp_path)
    assert had
    assert CONTENT.startswith(had)
    brought(a_file(server.does(FINE)), tmp_path)
    assert server.ranges == ["", f"bytes={len(had)}-"]


@pytest.fixture
def elsewhere(server: Server, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process, which has received the first bytes of a file and waits for the rest."""
    url = server.does(Step(CONTENT, stop=CUT, stalls=True))
    code = (
        "import sys; from pathlib import Path; from bench.config.suite import *; "
        "from bench.prepare.downloads import fetch; "
        f"file = SourceFile({NAME!r}, bytes={len(CONTENT)}, urls=[{url!r}]); "
        "card = Source('a', 'A', 'f', 'png', 'l', 'h', 'open', 1, [file]); "
        f"fetch(card, file, Path({str(tmp_path)!r}), lambda *a: None)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=REPO_ROOT) as process:
        until(lambda: len(part(tmp_path)) == CUT)
        yield process
        process.kill()


def until(come_true: Callable[[], bool]) -> None:
    deadline = monotonic() + 20
    while not come_true():
        assert monotonic() < deadline
        sleep(0.01)


def test_a_killed_process_loses_nothing(
    elsewhere: subprocess.Popen[bytes], server: Server, tmp_path: Path
) -> None:
    elsewhere.send_signal(signal.SIGKILL)
    assert elsewhere.wait() == -signal.SIGKILL
    assert brought(a_file(server.does(FINE)), tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["", f"bytes={CUT}-"]
    assert server.sent == len(CONTENT)


def test_two_processes_do_not_write_one_part(
    elsewhere: subprocess.Popen[bytes], server: Server, tmp_path: Path
) -> None:
    said = refused(a_file(server.does(FINE)), tmp_path)
    assert said.startswith(f"{tmp_path / NAME} is being downloaded by another process")
    assert part(tmp_path) == CONTENT[:CUT]
