"""Downloads: disk space, manual files, accepted terms, replacements, and the Hugging Face hub."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any, NoReturn

import huggingface_hub
import pytest
from pydantic import ValidationError
from rich.console import Console

from bench.config.suite import SourceFile
from bench.prepare.downloads import checksums, fetch, fetch_all, present_files, required_files
from bench.prepare.downloads.checksums import verify
from bench.utils.errors import UserError
from bench.utils.progress_bars import TransferProgress
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
    refused,
    told,
)
from support.scripted_server import Server, Step

pytestmark = pytest.mark.usefixtures("impatient")


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
    (tmp_path / "occupied").write_text("no folder", encoding="utf-8")
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
    file = a_file()
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
    file = SourceFile("../other", urls=["http://127.0.0.1:9/"])
    with pytest.raises(ValidationError, match="inside its folder"):  # of a card
        brought(file, tmp_path)
    with pytest.raises(UserError, match="leads out of"):  # of any other origin
        fetch(a_source(SourceFile("other", how="ask")), file, tmp_path, told)


# What a source needs


def test_an_unpacked_folder_serves_as_the_file(tmp_path: Path) -> None:
    for name, folder in (("a.zip", "a.zip"), ("b.tar.gz", "b"), ("c.tgz", "c"), ("d.gz", "d")):
        (tmp_path / folder).mkdir()
        here = present_files(a_source(SourceFile(name, bytes=9, how="ask")), tmp_path)
        assert here == ({} if name == "d.gz" else {name: tmp_path / folder})
    file = SourceFile("b.tar.gz", bytes=9, sha256="0" * 64, how="ask")
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
    first = SourceFile("first", urls=first_urls, how="ask")
    source = a_source(
        first, SourceFile("second", urls=["u"], replaces="first"), SourceFile("third", how="ask")
    )
    for name in here:
        (tmp_path / name).touch()
    assert [file.name for file in required_files(source, tmp_path)] == [*wanted, "third"]


# What is shown


@pytest.mark.parametrize("terminal", [False, True])
def test_a_file_s_beginning_and_end_are_shown(
    terminal: bool, server: Server, tmp_path: Path
) -> None:
    out = StringIO()
    file = a_file(server.does(FINE))
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:CUT])
    with TransferProgress(Console(file=out, force_terminal=terminal, width=100)).live() as show:
        fetch(a_source(file), file, tmp_path, show.on_bytes)
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
    monkeypatch.setattr(checksums, "CHUNK_BYTES", 1000)
    (tmp_path / NAME).write_bytes(CONTENT)
    calls: list[tuple[str, int, int]] = []
    begun = monotonic()
    verify(a_file(), tmp_path / NAME, lambda *told: calls.append(told))
    assert 2 <= len(calls) <= 3 + (monotonic() - begun) / checksums.MIN_INTERVAL
    assert calls[-1] == ("checking images.zip", len(CONTENT), len(CONTENT))


# The hub


@pytest.fixture
def on_the_hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], list[dict[str, Any]]]:
    """Make the hub return some bytes; the requests are recorded in the list returned."""

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
