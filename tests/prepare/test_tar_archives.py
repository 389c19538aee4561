"""Tar files: what counts of members that are there twice, and what is refused in one sentence."""

import bz2
import gzip
import io
import lzma
import os
import re
import tarfile
from pathlib import Path

import pytest

from bench.prepare import archive_contents, tar_archives
from bench.prepare.archives import TarArchive, open_archive
from bench.utils.errors import UserError
from support.odd_archives import END, PACKINGS, pax, raw_member, tar_bytes, tar_info, write
from support.time_limits import in_time

PLAIN = [("a/x.jpg", b"one"), ("a/y.jpg", b"two" * 400), ("z.txt", b"three")]
packed = pytest.mark.parametrize("pack", PACKINGS.values(), ids=PACKINGS)


def everything(path: Path) -> dict[str, bytes]:
    """All files of an archive, read in both ways."""
    archive = open_archive(path)
    names = list(archive.names())
    found = list(archive.read(names))
    streamed = [(name, stream.read()) for name, stream in archive.streams(lambda _: True)]
    assert sorted(found) == sorted(streamed)
    assert len(dict(found)) == len(found) == len(names)
    return dict(found)


def warnings(path: Path, prefix: str = "") -> list[str]:
    return list(open_archive(path).contents().warnings(prefix))


def complaint(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        in_time(lambda: everything(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}")


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["", "gz", "bz2", "xz"]
)
def test_a_tar_is_read_in_any_compression(tmp_path, compress):
    path = write(tmp_path / "x", compress(tar_bytes(*PLAIN)))
    assert everything(path) == dict(PLAIN)
    assert list(TarArchive(path).names()) == [name for name, _ in PLAIN]
    assert not warnings(path)


@packed
def test_of_members_with_one_name_the_last_counts_as_in_extraction(tmp_path, pack):
    entries = [*PLAIN, ("./a/x.jpg", b"newer"), ("a//y.jpg", b"newest"), ("a/x.jpg", b"last")]
    path = write(tmp_path / "x.tar", pack(tar_bytes(*entries)))
    with tarfile.open(path) as file:
        file.extractall(tmp_path / "out", filter="data")
    found = everything(path)
    assert found == {name: (tmp_path / "out" / name).read_bytes() for name in found}
    assert found["a/x.jpg"] == b"last"
    assert warnings(path) == [
        f"{path}: 2 names stand for several members, of which the last counts, as in extraction: "
        "a/x.jpg, a/y.jpg"
    ]
    assert not warnings(path, "b/")


def test_an_archive_that_changes_is_read_again(tmp_path):
    path = write(tmp_path / "x.tar", tar_bytes(*PLAIN))
    assert everything(path) == dict(PLAIN)
    os.utime(write(path, tar_bytes(PLAIN[2])), ns=(1, 1))
    assert everything(path) == dict(PLAIN[2:])


@pytest.mark.parametrize(
    ("info", "says"),
    [
        (tar_info("a/x.jpg", tarfile.SYMTYPE, "/etc/passwd"), "is a link to /etc/passwd;"),
        (tar_info("a/x.jpg", tarfile.LNKTYPE, "a/y.jpg"), "is a hard link to a/y.jpg;"),
        (tar_info("a/x.jpg", tarfile.CHRTYPE), "is a device;"),
        (tar_info("a/x.jpg", tarfile.FIFOTYPE), "is a FIFO;"),
        (tar_info("a/x.jpg", b"Z"), "is of the unknown type b'Z';"),
    ],
)
def test_a_member_that_is_no_file_is_no_name_and_refused_where_it_is_wanted(tmp_path, info, says):
    """The last counts here, too, whatever it is."""
    path = write(tmp_path / "x.tar", tar_bytes(*PLAIN, info))
    assert "a/x.jpg" not in everything(path)
    with pytest.raises(UserError, match=f"its member a/x.jpg {says} a file was expected"):
        list(TarArchive(path).read(["a/x.jpg"]))


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "..\\x"])
def test_a_name_that_leads_out_is_refused(tmp_path, name):
    path = write(tmp_path / "x.tar", tar_bytes(*PLAIN, (name, b"")))
    assert "lies outside the archive; nothing was read" in complaint(path)


def test_a_name_that_is_not_utf8_is_shown_in_printable_characters(tmp_path):
    member = raw_member(b"caf\xe9.jpg", 1, content=b"x")
    path = write(tmp_path / "x.tar", member + END)
    assert complaint(path) == r": the name of its member caf\xe9.jpg is not UTF-8; rename it"


@pytest.mark.parametrize(
    "entries", [[("a", b"x"), ("a/b", b"y")], [("a", b"x"), tar_info("a", tarfile.DIRTYPE)]]
)
def test_a_file_and_a_folder_of_one_name_are_refused(tmp_path, entries):
    path = write(tmp_path / "x.tar", tar_bytes(*entries))
    assert complaint(path) == " holds a both as a file and as a folder"


def test_a_folder_that_is_there_twice_is_usual(tmp_path):
    folder = tar_info("a", tarfile.DIRTYPE)
    path = write(tmp_path / "x.tar", tar_bytes(folder, *PLAIN, folder))
    assert everything(path) == dict(PLAIN)
    assert not warnings(path)


# Cut short, added to


@packed
@pytest.mark.parametrize("share", [0.1, 0.3, 0.55, 0.8])
def test_what_is_cut_short_is_refused(tmp_path, pack, share):
    whole = pack(tar_bytes(*[(f"{i}.jpg", os.urandom(3000)) for i in range(4)])[: 4 * 3584])
    path = write(tmp_path / "x.tar", whole[: int(share * len(whole))])
    assert "is corrupt or truncated" in complaint(path)


@packed
def test_an_archive_without_a_mark_of_its_end_may_be_cut_short(tmp_path, pack):
    path = write(tmp_path / "x.tar", pack(tar_bytes(PLAIN[0])[:1024]))
    assert everything(path) == dict(PLAIN[:1])
    assert warnings(path) == [f"{path}: it has no mark of its end, so it may be cut short"]


@packed
def test_a_second_archive_behind_the_first_is_left_out_and_said(tmp_path, pack):
    two = pack(tar_bytes(PLAIN[0])) + pack(tar_bytes(PLAIN[1]))
    path = write(tmp_path / "x.tar", two)
    assert everything(path) == dict(PLAIN[:1])
    assert "data stand behind its end" in warnings(path)[0]


def test_what_follows_a_gzip_file_is_said(tmp_path):
    path = write(tmp_path / "x.tar.gz", gzip.compress(tar_bytes(*PLAIN)) + b"garbage")
    assert everything(path) == dict(PLAIN)
    assert "data stand behind its end" in warnings(path)[0]


def test_a_gzip_file_of_several_members_is_whole(tmp_path):
    content = tar_bytes(*PLAIN)
    path = write(tmp_path / "x.tar.gz", gzip.compress(content[:700]) + gzip.compress(content[700:]))
    assert everything(path) == dict(PLAIN)
    assert not warnings(path)


def test_a_wrong_checksum_is_noticed(tmp_path):
    content = bytearray(gzip.compress(tar_bytes(*PLAIN)))
    content[-8] ^= 1
    assert "is corrupt or truncated: CRC check failed" in complaint(write(tmp_path / "x", content))


def test_a_header_that_is_broken_amid_others_does_not_end_the_archive(tmp_path):
    content = bytearray(tar_bytes(*PLAIN, form=tarfile.USTAR_FORMAT))
    content[1024] ^= 1  # of the second
    path = write(tmp_path / "x.tar", bytes(content))
    assert complaint(path) == " is corrupt or truncated: the header of a member is broken"


@pytest.mark.parametrize("content", [b"", b"no archive", b"x" * 5000, b"\x1f\x8b", b"PK\x03\x04"])
def test_what_is_no_archive_is_one_sentence(tmp_path, content):
    assert "is corrupt or truncated" in complaint(write(tmp_path / "x.tar", content))


def test_zstandard_is_named(tmp_path):
    said = complaint(write(tmp_path / "x.tar.zst", b"\x28\xb5\x2f\xfd" + bytes(99)))
    assert "is compressed with Zstandard: decompress it first" in said


def test_a_fifo_is_no_archive(tmp_path):
    os.mkfifo(tmp_path / "x.tar")
    assert complaint(tmp_path / "x.tar") == " cannot be read: it is not a regular file"


# Made to harm

HARMFUL = {
    "a negative size": (
        raw_member(b"a", 0) + raw_member(b"b", -1024) + END, "negative size|header of a member is"),
    "a negative size that an extended header says": (
        tar_bytes(("a", b""))[:512] + pax(size="-1536") + raw_member(b"b", 0) + END,
        "a member lies before the one that it follows"),
    "a size that goes on for ever": (raw_member(b"a", 2**60) + END, "ends where|unexpected end"),
    "a name of gigabytes": (
        raw_member(b"a", 2**33, b"L") + END, "name or header has 8,589,934,592 bytes"),
    "an extended header of gigabytes": (
        raw_member(b"a", 2**33, b"x") + END, "name or header has 8,589,934,592 bytes"),
    "headers of headers": (raw_member(b"a", 0, b"x") * 5000 + END, ""),
    "a sparse member": (raw_member(b"a", 512, b"S", b"x") + END, "pack it without --sparse"),
}  # fmt: skip


@packed
@pytest.mark.parametrize("kind", HARMFUL)
def test_what_is_made_to_harm_is_one_sentence_in_time(tmp_path, pack, kind):
    content, says = HARMFUL[kind]
    assert re.search(
        f"is corrupt or truncated: .*({says})", complaint(write(tmp_path / "x", pack(content)))
    )


def test_what_a_sparse_header_of_the_new_kind_describes_is_no_file(tmp_path):
    header = pax(**{"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "b",
                    "GNU.sparse.size": "9999999999", "GNU.sparse.map": "0,1"})  # fmt: skip
    path = write(tmp_path / "x", header + raw_member(b"b", 1, content=b"x") + END)
    with pytest.raises(UserError, match="its member b is a sparse file"):
        list(TarArchive(path).read(["b"]))


def test_what_swells_beyond_reason_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_contents, "FREE_BYTES", 2**20)
    content = gzip.compress(tar_bytes(("a", bytes(2**22)), ("b", b"")))
    said = complaint(write(tmp_path / "x.tar.gz", content))
    assert "it would expand to more than 1,048,576 bytes" in said


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_contents, "MAX_MEMBERS", 2)
    assert complaint(write(tmp_path / "x.tar", tar_bytes(*PLAIN))) == " holds more than 2 members"


def test_a_member_too_large_for_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_contents, "MAX_MEMBER_BYTES", 1000)
    path = write(tmp_path / "x.tar", tar_bytes(*PLAIN))
    with pytest.raises(UserError, match=r"a/y.jpg would expand from 1,200 to 1,200 bytes"):
        list(TarArchive(path).read(["a/y.jpg"]))


def test_the_files_of_a_tar_in_a_tar_are_its_last_ones():
    inner = tar_bytes(("x", b"old"), ("x", b"new"), tar_info("y", tarfile.SYMTYPE, "x"))
    outer = io.BytesIO(tar_bytes(("n1.tar", b""), ("n1.tar", inner)))
    found = [
        (part, name, content.read())
        for part, stream in tar_archives.files_of(Path("o.tar"), outer)
        for name, content in tar_archives.files_of(Path("o.tar"), stream)  # type: ignore[arg-type]
    ]
    assert found == [("n1.tar", "x", b"new")]
