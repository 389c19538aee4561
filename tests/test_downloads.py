"""Downloads: whatever a server does, the file is right or a sentence says why it is not there."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from io import StringIO
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace
from typing import Any, NoReturn

import huggingface_hub
import pytest
from rich.console import Console
from scripted_server import Server, Step, serving

from bench.cards import ROOT
from bench.console import Transfer
from bench.errors import UserError
from bench.prepare import transfer, verifying
from bench.prepare.downloads import fetch, fetch_all, needed, present
from bench.prepare.verifying import Wrong, verify
from bench.sources import File, Source

CONTENT = bytes(range(256)) * 4000  # 1,024,000 bytes
OTHER = CONTENT[::-1]
CUT = 300_001
NAME = "images.zip"
PAGE = b"<!DOCTYPE html><html><body>Quota exceeded</body></html>"
FINE = Step(CONTENT)
TORN = Step(CONTENT, stop=CUT)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "DELAYS", (0.0, 0.0))
    monkeypatch.setattr(transfer, "STALL", 0.2)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def mirror() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file that was read from its beginning to its end for its hash."""
    read, digest = [], verifying.digest

    def counted(kind: str, path: Path, *rest: Any) -> str:
        read.append(path)
        return digest(kind, path, *rest)

    monkeypatch.setattr(verifying, "digest", counted)
    return read


def a_file(*urls: str, content: bytes = CONTENT, **fields: Any) -> File:
    facts = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return File(NAME, **{**facts, "urls": list(urls), "how": "ask its authors", **fields})


def a_source(*files: File, **fields: Any) -> Source:
    known = {"name": "digits", "title": "Digits", "format": "folder", "native": "png"}
    known |= {"licence": "CC BY 4.0", "home": "https://digits.example", "access": "open"}
    return Source(**{**known, "prepared_bytes": 1, "file": list(files), **fields})


def told(name: str, done: int, total: int) -> None:
    assert done <= total or total == 0


def brought(file: File, folder: Path) -> Path:
    return fetch(a_source(file), file, folder, told)


def refused(file: File, folder: Path) -> str:
    """The sentence that says why it is not there; it isn't."""
    with pytest.raises(UserError) as raised:
        brought(file, folder)
    assert not (folder / NAME).exists()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def part(folder: Path) -> bytes:
    """What is kept of an unfinished download."""
    path = folder / f"{NAME}.part"
    return path.read_bytes() if path.exists() else b""


def left_over(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {NAME, f"{NAME}.verified", f".{NAME}.lock"}


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


@pytest.mark.parametrize("way", set(WELL) - {"changed_meanwhile", "changed_unchecked"})
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
    monkeypatch.setattr(verifying, "OFTEN", 0.0)
    with pytest.raises(KeyboardInterrupt):
        fetch(a_source(file), file, tmp_path, interrupt)
    had = part(tmp_path)
    assert had
    assert CONTENT.startswith(had)
    brought(a_file(server.does(FINE)), tmp_path)
    assert server.ranges == ["", f"bytes={len(had)}-"]


@pytest.fixture
def elsewhere(server: Server, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process, which has the first bytes of a file and waits for the others."""
    url = server.does(Step(CONTENT, stop=CUT, stalls=True))
    code = (
        "import sys; from pathlib import Path; from bench.sources import *; "
        "from bench.prepare.downloads import fetch; "
        f"file = File({NAME!r}, bytes={len(CONTENT)}, urls=[{url!r}]); "
        "card = Source('a', 'A', 'f', 'png', 'l', 'h', 'open', 1, [file]); "
        f"fetch(card, file, Path({str(tmp_path)!r}), lambda *a: None)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as process:
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


# Disks


def test_a_disk_too_small_is_said_before_anything_is_asked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=29_000_000_000))
    file = a_file(server.does(FINE), bytes=41_000_000_000)
    assert refused(file, tmp_path) == f"E-SPACE need 41.0 GB, free 29.0 GB in {tmp_path}"
    assert server.asked == []


def test_only_what_is_still_to_come_needs_space(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=len(CONTENT) - CUT))
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:CUT])
    assert brought(a_file(server.does(FINE)), tmp_path).read_bytes() == CONTENT


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_is_said(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").symlink_to("/dev/full")
    assert "cannot be written: No space left on device" in refused(
        a_file(server.does(FINE)), tmp_path
    )


def test_a_folder_that_cannot_be_written_is_said(server: Server, tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("no folder")
    folder = tmp_path / "occupied" / "digits"
    with pytest.raises(UserError, match=r"images\.zip cannot be written: Not a directory"):
        brought(a_file(server.does(FINE)), folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_is_only_read_serves_what_lies_there(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    tmp_path.chmod(0o500)
    try:
        assert brought(a_file(), tmp_path) == tmp_path / NAME
        with pytest.raises(UserError, match="cannot be written: Permission denied"):
            brought(replace(a_file("http://127.0.0.1:9/"), name="other.zip"), tmp_path)
    finally:
        tmp_path.chmod(0o700)


# What a person has to do


@pytest.mark.parametrize("access", ["open", "login", "dead"])
def test_a_file_to_be_had_by_hand_is_asked_for(access: str, tmp_path: Path) -> None:
    file = a_file() if access == "open" else a_file("http://127.0.0.1:9/")
    with pytest.raises(UserError) as raised:
        fetch_all(a_source(file, access=access), tmp_path, (), told)
    path = tmp_path / "archives" / "digits" / NAME
    assert str(raised.value) == (
        f"digits: put {path} there by hand: ask its authors "
        "(its terms: CC BY 4.0, https://digits.example)"
    )
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert fetch_all(a_source(file, access=access), tmp_path, (), told) == {NAME: path}
    path.write_bytes(PAGE)
    with pytest.raises(UserError, match=r"E-HASH images.zip: 55 bytes of text/html"):
        fetch_all(a_source(file, access=access), tmp_path, (), told)


def test_terms_must_be_accepted_where_something_is_downloaded(
    server: Server, tmp_path: Path
) -> None:
    source = a_source(a_file(server.does(FINE)), access="terms")
    with pytest.raises(UserError) as raised:
        fetch_all(source, tmp_path, ["other"], told)
    assert str(raised.value) == (
        "digits: its terms (CC BY 4.0, https://digits.example) must be accepted: "
        "read them, then add --accept-license digits"
    )
    assert server.asked == []
    got = fetch_all(source, tmp_path, ["digits"], told)
    assert got[NAME].read_bytes() == CONTENT
    assert fetch_all(source, tmp_path, [], told) == got


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leads out of"):
        brought(File("../other", urls=["http://127.0.0.1:9/"]), tmp_path)


# Verifying


def test_a_verified_file_is_not_hashed_again_until_it_changes(
    tmp_path: Path, hashed: list[Path]
) -> None:
    path, file = tmp_path / NAME, a_file()
    path.write_bytes(CONTENT)
    for _ in range(3):
        verify(file, path, told)
    assert hashed == [path]
    path.write_bytes(OTHER)
    os.utime(path, ns=(0, 0))
    with pytest.raises(Wrong, match="of sha256"):
        verify(file, path, told)
    assert len(hashed) == 2


def test_a_downloaded_file_is_not_hashed_again(
    server: Server, tmp_path: Path, hashed: list[Path]
) -> None:
    file = a_file(server.does(FINE))
    brought(file, tmp_path)
    brought(file, tmp_path)
    assert (hashed, len(server.asked)) == ([], 1)


def test_another_hash_on_the_card_is_not_taken_for_the_one_remembered(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(CONTENT)
    verify(a_file(), path, told)
    with pytest.raises(Wrong):
        verify(a_file(sha256="0" * 64), path, told)


def test_a_wrong_file_is_told_from_a_right_one(tmp_path: Path) -> None:
    path, md5 = tmp_path / NAME, hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    file = a_file(sha256="", md5=md5.upper())
    path.write_bytes(CONTENT)
    verify(file, path, told)
    path.write_bytes(PAGE * 38)
    with pytest.raises(Wrong) as raised:
        verify(file, path, told)
    assert str(raised.value) == (
        "E-HASH images.zip: 2.1 kB of text/html (an error page?), "
        f"expected 1,024,000 bytes, md5 {md5}"
    )


@pytest.mark.parametrize(("name", "is_wrong"), [("a.zip", True), ("a.json", False)])
def test_a_page_is_wrong_unless_the_file_is_one(tmp_path: Path, name: str, is_wrong: bool) -> None:
    path = tmp_path / name
    path.write_bytes(b'{"images": []}')
    raised = pytest.raises(Wrong, match="expected an archive") if is_wrong else nullcontext()
    with raised:
        verify(File(name, how="ask"), path, told)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        verify(a_file(), tmp_path / NAME, told)


# What a source needs


def test_an_unpacked_folder_serves_as_the_file(tmp_path: Path) -> None:
    for name, folder in (("a.zip", "a.zip"), ("b.tar.gz", "b"), ("c.tgz", "c"), ("d.gz", "d")):
        (tmp_path / folder).mkdir()
        here = present(a_source(File(name, bytes=9, how="ask")), tmp_path)
        assert here == ({} if name == "d.gz" else {name: tmp_path / folder})
    file = File("b.tar.gz", bytes=9, sha256="0" * 64, how="ask")
    assert fetch(a_source(file), file, tmp_path, told) == tmp_path / "b"


@pytest.mark.parametrize(
    ("here", "first_urls", "wanted"),
    [
        ((), ["u"], ["first"]),
        ((), [], ["second"]),
        (("first",), [], ["first"]),
        (("second",), ["u"], ["second"]),
        (("first", "second"), ["u"], ["second"]),
    ],
)
def test_of_a_file_and_what_replaces_it_one_is_needed(
    here: tuple[str, ...], first_urls: list[str], wanted: list[str], tmp_path: Path
) -> None:
    first = File("first", urls=first_urls, how="ask")
    source = a_source(first, File("second", urls=["u"], replaces="first"), File("third", how="ask"))
    for name in here:
        (tmp_path / name).touch()
    assert [file.name for file in needed(source, tmp_path)] == [*wanted, "third"]


# What is shown


@pytest.mark.parametrize("terminal", [False, True])
def test_a_file_s_beginning_and_end_are_shown(
    terminal: bool, server: Server, tmp_path: Path
) -> None:
    out = StringIO()
    file = a_file(server.does(FINE))
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:CUT])
    with Transfer(Console(file=out, force_terminal=terminal, width=100)).shown() as progress:
        fetch(a_source(file), file, tmp_path, progress)
    lines = [
        "images.zip: 300.0 kB of 1.0 MB",
        "images.zip: done, 1.0 MB",
        "checking images.zip: 1.0 MB",
        "checking images.zip: done, 1.0 MB",
    ]
    if terminal:
        assert "images.zip: done, 1.0 MB" in out.getvalue()
    else:
        assert out.getvalue().splitlines() == lines


def test_progress_is_told_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "CHUNK", 1000)
    (tmp_path / NAME).write_bytes(CONTENT)
    calls: list[tuple[str, int, int]] = []
    begun = monotonic()
    verify(a_file(), tmp_path / NAME, lambda *told: calls.append(told))
    assert 2 <= len(calls) <= 3 + (monotonic() - begun) / verifying.OFTEN
    assert calls[-1] == ("checking images.zip", len(CONTENT), len(CONTENT))


# The hub


@pytest.fixture
def on_the_hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], list[dict[str, Any]]]:
    """Makes the hub give some bytes; returns what it is asked."""

    def gives(content: bytes) -> list[dict[str, Any]]:
        asked = []

        def download(repository: str, path: str, *, local_dir: Path, **fields: Any) -> str:
            asked.append({"repository": repository, "path": path, **fields})
            got = local_dir / path
            got.parent.mkdir(parents=True, exist_ok=True)
            got.write_bytes(content)
            return str(got)

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
        return asked

    return gives


PLACE = "torchgeo/eurosat@c877bcd4:data/EuroSAT.zip"


def test_a_file_on_the_hub_comes_whole(on_the_hub: Any, server: Server, tmp_path: Path) -> None:
    asked = on_the_hub(CONTENT)
    file = a_file(server.does(TORN, Step(b"", 404)), hub=PLACE)
    assert brought(file, tmp_path).read_bytes() == CONTENT
    assert asked == [
        {"repository": "torchgeo/eurosat", "path": "data/EuroSAT.zip", "revision": "c877bcd4",
         "repo_type": "dataset"}
    ]  # fmt: skip
    assert not left_over(tmp_path)


def test_wrong_bytes_from_the_hub_are_not_kept(on_the_hub: Any, tmp_path: Path) -> None:
    on_the_hub(OTHER)
    assert f"{PLACE}: E-HASH" in refused(a_file(hub=PLACE), tmp_path)
    assert not left_over(tmp_path)


def test_the_hub_s_failures_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise RuntimeError("no network\n\nand much more")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    assert refused(a_file(hub=PLACE), tmp_path).endswith(f"{PLACE}: no network")
    assert "REPOSITORY@REVISION:PATH" in refused(a_file(hub="eurosat"), tmp_path)
