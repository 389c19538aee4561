"""Verification of files against their cards: done once, with a sentence for each mismatch."""

import hashlib
import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from bench.config.suite import SourceFile
from bench.prepare.downloads.checksums import FileMismatch, verify
from bench.utils.errors import UserError
from support.download_cases import CONTENT, FINE, NAME, OTHER, PAGE, a_file, brought, told
from support.scripted_server import Server

pytestmark = pytest.mark.usefixtures("impatient")


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
    with pytest.raises(FileMismatch, match="of sha256"):
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
    with pytest.raises(FileMismatch):
        verify(a_file(sha256="0" * 64), path, told)


def test_a_wrong_file_is_told_from_a_right_one(tmp_path: Path) -> None:
    path, md5 = tmp_path / NAME, hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    file = a_file(sha256="", md5=md5.upper())
    path.write_bytes(CONTENT)
    verify(file, path, told)
    path.write_bytes(PAGE * 38)
    with pytest.raises(FileMismatch) as raised:
        verify(file, path, told)
    assert str(raised.value) == (
        "E-HASH images.zip: 2.1 kB of text/html (an error page?), "
        f"expected 1,024,000 bytes, md5 {md5}"
    )


@pytest.mark.parametrize(("name", "is_wrong"), [("a.zip", True), ("a.json", False)])
def test_a_page_is_wrong_unless_the_file_is_one(tmp_path: Path, name: str, is_wrong: bool) -> None:
    path = tmp_path / name
    path.write_bytes(b'{"images": []}')
    raised = pytest.raises(FileMismatch, match="expected an archive") if is_wrong else nullcontext()
    with raised:
        verify(SourceFile(name, how="ask"), path, told)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        verify(a_file(), tmp_path / NAME, told)
