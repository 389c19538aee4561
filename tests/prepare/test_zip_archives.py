"""Zip files and folders: what counts of members that are there twice, and what is refused."""

import os
import random
import socket
import stat
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from bench.prepare import archive_contents
from bench.prepare.archives import FolderArchive, ZipArchive, open_archive
from bench.utils.errors import UserError
from support import odd_archives, suite_copies
from support.odd_archives import CENTRAL, ZIP_FLAGS, ZIP_METHOD, patched, write, zip_bytes
from support.time_limits import in_time

PLAIN = [("a/x.jpg", b"one"), ("a/y.jpg", b"two" * 400), ("z.txt", b"three")]
NAMES = [name for name, _ in PLAIN]
pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")  # of the writer


def complaint(path: Path, wanted: list[str] | None = None) -> str:
    """The sentence with which reading is refused; that about streams is the same."""
    said = []
    for read in (
        lambda: list(open_archive(path).read(wanted or list(open_archive(path).names()))),
        lambda: [s.read() for _, s in open_archive(path).streams(lambda _: True)],
    ):
        with pytest.raises(UserError) as caught:
            in_time(read)
        assert "\n" not in str(caught.value)
        said.append(str(caught.value).removeprefix(f"{path}"))
    assert said[0] == said[1]
    return said[0]


@pytest.mark.parametrize("method", [0, 8, 12, 14], ids=["stored", "deflate", "bzip2", "lzma"])
def test_what_python_decompresses_is_read(tmp_path, method):
    path = write(tmp_path / "x.zip", zip_bytes([*PLAIN, ("empty/", b"")], method))
    archive = open_archive(path)
    assert isinstance(archive, ZipArchive)
    assert list(archive.names()) == NAMES
    assert list(archive.read(NAMES)) == PLAIN
    assert [(name, s.read()) for name, s in archive.streams(lambda _: True)] == PLAIN
    assert not list(archive.contents().warnings())


def test_of_members_with_one_name_the_last_counts_as_in_extraction(tmp_path):
    path = write(tmp_path / "x.zip", zip_bytes([*PLAIN, ("a/x.jpg", b"new")]))
    with zipfile.ZipFile(path) as file:
        file.extractall(tmp_path / "out")
    assert (tmp_path / "out/a/x.jpg").read_bytes() == b"new"
    assert dict(open_archive(path).read(NAMES))["a/x.jpg"] == b"new"
    assert len(list(open_archive(path).names())) == 3
    [said] = open_archive(path).contents().warnings()
    assert "1 names stand for several members" in said


def test_names_that_differ_in_case_are_two(tmp_path):
    path = write(tmp_path / "x.zip", zip_bytes([("a.jpg", b"1"), ("A.jpg", b"2")]))
    assert dict(open_archive(path).read(["a.jpg", "A.jpg"])) == {"a.jpg": b"1", "A.jpg": b"2"}


@pytest.mark.parametrize(
    ("offsets", "value", "says"),
    [
        (ZIP_METHOD, 9, "is compressed by Deflate64, which is not read here"),
        (ZIP_METHOD, 93, "is compressed by Zstandard, which"),
        (ZIP_METHOD, 99, "is compressed by AES encryption, which"),
        (ZIP_METHOD, 77, "is compressed by method 77, which"),
        (ZIP_FLAGS, 1, "is encrypted with a password"),
    ],
)
def test_what_python_cannot_decompress_is_named_with_the_way_out(tmp_path, offsets, value, says):
    path = write(tmp_path / "x.zip", patched(zip_bytes(PLAIN), offsets, value))
    said = complaint(path)
    assert f": its member a/x.jpg {says}" in said
    assert said.endswith(
        ": extract the archive, with 7-Zip for example, and give the folder in its place"
    )


@pytest.mark.parametrize("flag", [1 << 5, 1 << 6], ids=["patched data", "strong encryption"])
def test_other_kinds_of_packing_are_one_sentence(tmp_path, flag):
    path = write(tmp_path / "x.zip", patched(zip_bytes(PLAIN), ZIP_FLAGS, flag))
    assert " is corrupt or truncated: " in complaint(path)


def test_a_link_is_no_file(tmp_path):
    info = zipfile.ZipInfo("link.jpg")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr(info, "/etc/passwd")
        file.writestr("a.jpg", b"x")
    assert list(open_archive(tmp_path / "x.zip").names()) == ["a.jpg"]
    with pytest.raises(UserError, match=r"its member link\.jpg is a link; a file was expected"):
        list(open_archive(tmp_path / "x.zip").read(["link.jpg"]))


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "..\\x"])
def test_a_name_that_leads_out_is_refused(tmp_path, name):
    path = write(tmp_path / "x.zip", zip_bytes([*PLAIN, (name, b"")]))
    assert "lies outside the archive; nothing was read" in complaint(path)


@pytest.mark.parametrize("entries", [["a", "a/b"], ["a", "a/"], ["a/b", "a"]])
def test_a_file_and_a_folder_of_one_name_are_refused(tmp_path, entries):
    path = write(tmp_path / "x.zip", zip_bytes([(name, b"") for name in entries]))
    assert complaint(path) == " holds a both as a file and as a folder"


def lying(offset: int, value: int) -> bytes:
    """A zip file whose central header of the first member lies."""
    content = bytearray(zip_bytes(PLAIN))
    struct.pack_into("<I", content, content.index(CENTRAL) + offset, value)
    return bytes(content)


def of_another_name() -> bytes:
    content = zip_bytes([("caf\u00e9.jpg", b"x")])
    return content.replace("caf\u00e9".encode(), b"caf\xe9\xe9")


HARMFUL = {
    "another size than it has": (lying(24, 7), "is corrupt or truncated"),
    "gigabytes": (lying(24, 2**32 - 2), "would expand from"),
    "a place behind the end": (lying(42, 2**31), "is corrupt or truncated"),
    "a name that is not UTF-8": (of_another_name(), "is corrupt or truncated"),
    "a wrong checksum": (lying(16, 1), "is corrupt or truncated"),
    "a swelling member": (zip_bytes([("a/x.jpg", bytes(4 * 2**20))]), "would expand from"),
    "a directory that is cut": (zip_bytes(PLAIN)[:-30], "is corrupt or truncated"),
    "several disks": (lying(34, 1), "a/x.jpg lies in another part of a split archive"),
    "the last of several disks": (zip_bytes(PLAIN)[200:], "is corrupt or truncated"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HARMFUL)
def test_what_lies_is_one_sentence(tmp_path, kind):
    content, says = HARMFUL[kind]
    path = write(tmp_path / "x.zip", content)
    with pytest.raises(UserError, match=says) as caught:
        in_time(lambda: list(open_archive(path).read(list(open_archive(path).names()))))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_whatever_is_broken_raises_no_other_error(tmp_path):
    drawn, whole = random.Random(0), [zip_bytes(PLAIN), odd_archives.tar_bytes(*PLAIN)]
    for trial in range(300):
        content = bytearray(whole[trial % 2])
        for _ in range(drawn.randint(1, 4)):
            content[drawn.randrange(len(content))] = drawn.randrange(256)
        path = write(tmp_path / f"{trial}", bytes(content[: drawn.randint(1, 2 * len(content))]))
        with suppress(UserError):
            dict(open_archive(path).read(list(open_archive(path).names())))


# Folders


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)


SPECIAL = {
    "a FIFO": os.mkfifo,
    "endless zeros": lambda path: path.symlink_to("/dev/zero"),
    "a socket": make_socket,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_regular_file_is_refused_by_name(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SPECIAL[kind](tmp_path / "x.jpg")
    for read in (
        lambda: list(FolderArchive(tmp_path).read(["x.jpg"])),
        lambda: list(FolderArchive(tmp_path).streams(lambda _: True)),
    ):
        with pytest.raises(UserError, match=r"x\.jpg cannot be read: "):
            in_time(read)


def test_links_to_files_are_read_and_links_to_folders_are_not_entered(tmp_path):
    (tmp_path / "all" / "class").mkdir(parents=True)
    (tmp_path / "x.jpg").write_bytes(b"x")
    (tmp_path / "all" / "class" / "y.jpg").symlink_to(tmp_path / "x.jpg")
    (tmp_path / "all" / "class" / "loop").symlink_to(tmp_path / "all")
    archive = FolderArchive(tmp_path / "all")
    assert in_time(lambda: list(archive.names())) == ["class/y.jpg"]
    assert list(archive.read(["class/y.jpg"])) == [("class/y.jpg", b"x")]


def test_a_name_that_is_not_utf8_is_shown_in_printable_characters(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).write_bytes(b"x")
    with pytest.raises(UserError) as caught:
        list(FolderArchive(tmp_path).names())
    assert str(caught.value) == (
        rf"{tmp_path}: the name of its member caf\xe9.jpg is not UTF-8; rename it"
    )


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_contents, "MAX_MEMBERS", 2)
    for number in range(3):
        (tmp_path / str(number)).touch()
    with pytest.raises(UserError, match="holds more than 2 members"):
        list(FolderArchive(tmp_path).names())


# Copies


@pytest.fixture
def noah(tmp_path: Path) -> Path:
    suite_copies.suite(tmp_path)
    return suite_copies.write_noah(tmp_path / "vtab-1k")


def test_an_import_says_which_names_stand_for_several_members(noah, tmp_path, capsys):
    path = suite_copies.zipped(noah, tmp_path / "vtab-1k.zip")
    again = "vtab-1k/cifar/images/test/000003.jpg"
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(again, suite_copies.saved())
    assert suite_copies.bring(tmp_path, path) == 0
    said = capsys.readouterr().out
    assert f"W-MEMBERS light: {path}: 1 names stand for several members" in said
    assert again in said
    assert "W-MEMBERS dark" not in said


def test_a_zip_of_deflate64_is_one_sentence(noah, tmp_path, capsys):
    path = suite_copies.zipped(noah, tmp_path / "vtab-1k.zip")
    path.write_bytes(patched(path.read_bytes(), ZIP_METHOD, 9))
    assert suite_copies.bring(tmp_path, path) == 1
    assert "is compressed by Deflate64" in capsys.readouterr().err


def test_a_folder_with_a_name_that_is_not_utf8_is_one_sentence(noah, tmp_path, capsys):
    Path(os.fsdecode(os.fsencode(noah) + b"/cifar/caf\xe9.jpg")).write_bytes(b"x")
    assert suite_copies.bring(tmp_path, noah) == 2
    assert r"cifar/caf\xe9.jpg is not UTF-8; rename it" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a\tb.jpg", "a\\u0000b.jpg", "a\\udc80.jpg", "a" * 5000])
def test_a_path_that_no_list_can_hold_is_one_sentence(tmp_path, capsys, name):
    suite_copies.suite(tmp_path, suite_copies.FGVC)
    copy = suite_copies.write_fgvc(tmp_path / "fgvc", ["dark"])
    path = copy / "pets" / "test.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("test/000000.jpg", name.replace("\t", "\\t")), encoding="utf-8")
    if "\t" in name:
        (copy / "pets/images/test/000000.jpg").rename(copy / "pets/images" / name)
    assert suite_copies.bring(tmp_path, copy) == 1
    said = capsys.readouterr().err
    assert "E-PATH" in said or "expected the path of an image" in said
