"""Files: stored hashes, which are never trusted for a changed file, and atomic writes."""

import hashlib
import os
from pathlib import Path

import pytest

from bench.utils import files
from bench.utils.errors import UserError
from bench.utils.files import write_atomically


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode() * 10)
    return tmp_path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read, in any order."""
    seen, plain = [], files.sha256_of_file

    def counted(path: Path) -> str:
        seen.append(path.name)
        return plain(path)

    monkeypatch.setattr(files, "sha256_of_file", counted)
    return seen


def of(folder: Path) -> list[str]:
    return files.sha256_of_files(folder, [folder / name for name in "abca"])


def test_they_are_those_of_the_bytes_in_the_order_asked_for(folder):
    assert of(folder) == [hashlib.sha256(n.encode() * 10).hexdigest() for n in "abca"]


def test_a_file_is_read_once(folder, read):
    assert of(folder) == of(folder)
    assert sorted(read) == ["a", "b", "c"]


def test_a_file_that_changed_is_read_again_though_its_size_and_time_are_the_same(folder, read):
    before, old = of(folder), os.stat(folder / "b")
    (folder / "b").write_bytes(b"x" * 10)
    os.utime(folder / "b", ns=(old.st_atime_ns, old.st_mtime_ns))
    read.clear()
    after = of(folder)
    assert read == ["b"]
    assert [one == two for one, two in zip(before, after, strict=True)] == [True, False, True, True]


def test_a_file_that_was_just_written_is_read_when_its_times_can_no_longer_repeat(
    folder, monkeypatch
):
    waits = []
    monkeypatch.setattr(files.time, "sleep", waits.append)
    monkeypatch.setattr(files, "CLOCK_TICK", 1000)
    of(folder)
    assert [0 < seconds <= 1000 for seconds in waits] == [True]
    monkeypatch.setattr(files, "CLOCK_TICK", 0)
    of(folder)
    assert len(waits) == 1


@pytest.mark.parametrize("content", ["", "[1]", '{"a": 1}', '{"a": [[1], 2]}', "[" * 10**5])
def test_stored_hashes_that_cannot_be_read_are_computed_again(folder, content):
    before = of(folder)
    files._hash_cache_file(folder).write_text(content, encoding="utf-8")
    assert of(folder) == before


def test_a_stored_hash_that_is_none_is_computed_again(folder):
    before = of(folder)
    place = files._hash_cache_file(folder)
    place.write_text(place.read_text(encoding="utf-8").replace(before[0], "../x"), encoding="utf-8")
    assert of(folder) == before


def test_without_a_folder_to_store_them_they_are_computed(folder, monkeypatch):
    monkeypatch.setattr(files, "_hash_cache_file", lambda _: Path("/dev/null/nowhere"))
    assert len(set(of(folder))) == 3


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_is_cut_off_leaves_the_earlier_file_whole(tmp_path, monkeypatch, step):
    path = tmp_path / "record.json"
    write_atomically(path, b"earlier")

    def cut_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, step, cut_off)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"later")
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["a link", "a FIFO", "a folder", "a device"])
def test_only_regular_files_are_read_and_nothing_waits(tmp_path, kind):
    path = tmp_path / "file"
    if kind == "a link":
        (tmp_path / "other").write_bytes(b"x")
        path.symlink_to(tmp_path / "other")
    elif kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(OSError, match=r"link|regular|directory"):
        files.read_regular_file(path, 10)
    if kind != "a link":
        with pytest.raises(OSError, match=r"regular|directory"):
            files.read_regular_file(path, 10, follow_links=True)


def test_a_file_beyond_the_limit_is_refused_and_one_at_the_limit_is_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert files.read_regular_file(path, 10) == b"0123456789"
    with pytest.raises(files.UnsafeFile, match="larger than 9 bytes"):
        files.read_regular_file(path, 9)


def test_a_link_to_a_regular_file_is_followed_on_request(tmp_path):
    (tmp_path / "other").write_bytes(b"x")
    (tmp_path / "link").symlink_to("other")
    assert files.read_regular_file(tmp_path / "link", 10, follow_links=True) == b"x"


@pytest.mark.parametrize("name", ["leaderboard.md", "pictures/a.svg"])
def test_nothing_is_written_through_a_folder_that_leads_out(name, tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "results"
    outside.mkdir()
    inside.mkdir()
    (inside / "pictures").symlink_to(outside)
    with pytest.raises(UserError, match=r"pictures is a link that leads out of .*results"):
        files.write_files(inside, {name: b"x", "pictures/b.svg": None, "pictures/c.svg": b"x"})
    assert not any(outside.iterdir())
    assert [path.name for path in inside.iterdir()] == ["pictures"], "all or nothing"
