"""The door for predictions: a small archive of two arrays, whatever its headers claim."""

import io
import os
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.records import predictions
from bench.records.predictions import Predictions, read_predictions
from bench.records.schema import Record
from bench.utils.errors import UserError
from support.made_up_records import make

CLASSES = np.arange(40, dtype=np.int16) % 4
KEPT = Predictions(CLASSES, CLASSES[::-1].copy())


def array(values: object, dtype: str = "<i2") -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array(values, dtype=dtype), allow_pickle=dtype == "O")
    return stream.getvalue()


def header(shape: str, descr: str = "'<i2'", fortran: bool = False, more: str = "") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}{more}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n"


def archive(
    members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, twice: str = ""
) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as made:
        for name, content in members.items():
            made.writestr(name, content)
        if twice:
            with pytest.warns(UserWarning, match="Duplicate name"):
                made.writestr(twice, members[twice])
    return stream.getvalue()


def both(classes: bytes, labels: bytes | None = None) -> bytes:
    kept = array(CLASSES) if labels is None else labels
    return archive({"classes.npy": classes, "labels.npy": kept})


def alone(classes: bytes) -> bytes:
    return archive({"classes.npy": classes})


def patched(old: bytes, new: bytes, where: int = -1) -> bytes:
    """A sound archive with some of its bytes replaced, everywhere or at one place."""
    whole = archive({"classes.npy": array(CLASSES), "labels.npy": array(CLASSES)})
    assert old in whole
    return whole.replace(old, new, where)


def flagged(bits: int) -> bytes:
    """A sound archive whose members have these flags."""
    whole = bytearray(both(array(CLASSES)))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = whole.find(mark)
        while at >= 0:
            whole[at + place] |= bits
            at = whole.find(mark, at + 4)
    return bytes(whole)


def by_method(method: int, really: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A sound archive that says that it is compressed by another method."""
    whole = bytearray(archive({"classes.npy": array(CLASSES)}, really))
    for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = whole.find(mark)
        while at >= 0:
            whole[at + place : at + place + 2] = struct.pack("<H", method)
            at = whole.find(mark, at + 4)
    return bytes(whole)


BAD: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"no archive",
    "a bare array": lambda: array(CLASSES),
    "an empty archive": lambda: archive({}),
    "half": lambda: both(array(CLASSES))[:200],
    "without its end": lambda: both(array(CLASSES))[:-30],
    "labels alone": lambda: archive({"labels.npy": array(CLASSES)}),
    "another member": lambda: archive({"classes.npy": array(CLASSES), "x.npy": array(1)}),
    "a third member": lambda: archive(
        dict.fromkeys(("classes.npy", "labels.npy", "x.npy"), array(CLASSES))
    ),
    "a member above": lambda: archive({"../classes.npy": array(CLASSES)}),
    "a name in Unicode": lambda: archive({"clässes.npy": array(CLASSES)}),
    "a name with ESC": lambda: archive({"\x1b[2Jclasses.npy": array(CLASSES)}),
    "a member twice": lambda: archive({"classes.npy": array(CLASSES)}, twice="classes.npy"),
    "100,000 members": lambda: both(array(CLASSES)) + b"PK\x01\x02" * 100_000,
    "floats": lambda: alone(array(CLASSES, "<f8")),
    "NaN": lambda: alone(array([np.nan] * 40, "<f4")),
    "int8": lambda: alone(array(CLASSES, "<i1")),
    "int64": lambda: alone(array(CLASSES, "<i8")),
    "unsigned": lambda: alone(array(CLASSES, "<u2")),
    "big-endian": lambda: alone(array(CLASSES, ">i2")),
    "bools": lambda: alone(array([True] * 40, "?")),
    "texts": lambda: alone(array(["a"] * 40, "<U1")),
    "objects": lambda: alone(array([{}] * 40, "O")),
    "dates": lambda: alone(array([0] * 40, "<M8[s]")),
    "records": lambda: alone(header("(40,)", "[('a', '<i2')]") + bytes(80)),
    "a table": lambda: alone(array(CLASSES.reshape(2, 20))),
    "a scalar": lambda: alone(array(1)),
    "no image": lambda: alone(array([])),
    "other labels": lambda: both(array(CLASSES), array(CLASSES[:39])),
    "8 TB by the header": lambda: alone(header(f"({2**42},)") + bytes(80)),
    "10**400 by the header": lambda: alone(header(f"({10**400},)") + bytes(80)),
    "-1 by the header": lambda: alone(header("(-1,)") + bytes(80)),
    "a shape of texts": lambda: alone(header("('40',)") + bytes(80)),
    "a shape that is a call": lambda: alone(header("(exit(),)") + bytes(80)),
    "a deep shape": lambda: alone(header("(" * 400 + ")" * 400) + bytes(80)),
    "more values than by the header": lambda: alone(header("(40,)") + bytes(82)),
    "fewer values than by the header": lambda: alone(header("(40,)") + bytes(78)),
    "another order": lambda: alone(header("(40,)", fortran=True) + bytes(80)),
    "another key in the header": lambda: alone(header("(40,)", more=", 'x': 1") + bytes(80)),
    "an endless header": lambda: alone(header("(40,)", more=" " * 60_000) + bytes(80)),
    "a header of version 2": lambda: alone(array(CLASSES).replace(b"\x01\x00", b"\x02\x00", 1)),
    "a header of version 9": lambda: alone(array(CLASSES).replace(b"\x01\x00", b"\x09\x00", 1)),
    "no header": lambda: alone(bytes(80)),
    "nothing in a member": lambda: alone(b""),
    "a little that unpacks to much": lambda: alone(header("(40,)") + bytes(2**24)),
    "a million and one images": lambda: alone(array([0] * (predictions.MAX_IMAGES + 1))),
    "encrypted": lambda: flagged(0x1),
    "strongly encrypted": lambda: flagged(0x41),
    "patched data": lambda: flagged(0x20),
    "Deflate64": lambda: by_method(9),
    "LZMA without it": lambda: by_method(14),
    "a method nobody knows": lambda: by_method(4711),
    "stored and said to be compressed": lambda: by_method(8, zipfile.ZIP_STORED),
    "another checksum": lambda: patched(struct.pack("<I", zlib.crc32(array(CLASSES))), b"\0" * 4),
    "too large": lambda: both(array(CLASSES)) + bytes(predictions.MAX_FILE_BYTES),
}


def refusal(path: Path) -> str:
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        read_predictions(path)
    assert time.monotonic() - began < 30
    said = str(caught.value)
    assert said.startswith(f"{path} holds no predictions: ")
    assert said.isprintable(), "a sentence of one line"
    assert len(said) < 500
    return said


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_a_file_that_holds_something_else_is_a_sentence(
    content: Callable[[], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "cell.npz"
    path.write_bytes(content())
    refusal(path)


@pytest.mark.parametrize(
    "make_odd",
    [
        os.mkfifo,
        os.mkdir,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path.parent / "absent"),
        lambda path: path.symlink_to(path),
    ],
    ids=["a FIFO", "a folder", "a device", "a link to nothing", "a link to itself"],
)
def test_what_is_no_file_is_a_sentence(make_odd: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "cell.npz"
    make_odd(path)
    refusal(path)


def test_a_link_to_predictions_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "other.npz").write_bytes(KEPT.to_bytes())
    (tmp_path / "cell.npz").symlink_to(tmp_path / "other.npz")
    assert "it is a link" in refusal(tmp_path / "cell.npz")


def test_where_nothing_is_there_are_none(tmp_path: Path) -> None:
    assert read_predictions(tmp_path / "cell.npz") is None


def read_back(kept: Predictions, path: Path) -> Predictions:
    path.write_bytes(kept.to_bytes())
    found = read_predictions(path)
    assert found is not None
    return found


def test_predictions_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = read_back(KEPT, tmp_path / "cell.npz")
    assert found.sha256() == KEPT.sha256()
    assert found.labels is not None
    assert found.labels.tolist() == KEPT.labels.tolist()  # type: ignore[union-attr]


def test_an_early_file_has_no_labels(tmp_path: Path) -> None:
    found = read_back(Predictions(CLASSES, None), tmp_path / "cell.npz")
    assert found.labels is None
    assert found.correct() is None


def test_the_largest_test_split_is_within_the_limit(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).integers(0, 2**15, predictions.MAX_IMAGES).astype(np.int16)
    found = read_back(Predictions(drawn, drawn[::-1].copy()), tmp_path / "cell.npz")
    assert len(found.classes) == predictions.MAX_IMAGES


def test_little_is_unpacked_of_a_member_that_would_fill_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = zipfile.ZipExtFile.read
    sizes = []

    def counted(self: zipfile.ZipExtFile, n: int | None = -1) -> bytes:
        content = read(self, n)
        sizes.append(len(content))
        return content

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counted)
    path = tmp_path / "cell.npz"
    path.write_bytes(BAD["a little that unpacks to much"]())
    refusal(path)
    assert sum(sizes) < 2**22


def of_forty(kept: Predictions) -> Record:
    plain = make("linear", "digits")
    assert plain.outcome is not None
    return replace(plain, outcome=replace(plain.outcome, test_images=40, predictions=kept.sha256()))


def test_predictions_of_a_record_fit_it() -> None:
    assert KEPT.misfit(of_forty(KEPT)) == ""


BEYOND = np.where(CLASSES == 3, 10, CLASSES).astype(np.int16)  # the record has classes 0 to 9


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (Predictions(CLASSES[:39], None), "has 40 test images; 39 were predicted"),
        (Predictions(BEYOND, CLASSES), "has 10 classes; predicted classes are from 0 to 10"),
        (Predictions(CLASSES, BEYOND), "has 10 classes; labels are from 0 to 10"),
        (Predictions(CLASSES - 1, CLASSES), "predicted classes are from -1 to 2"),
    ],
)
def test_predictions_that_cannot_be_a_record_s_do_not_fit(kept: Predictions, said: str) -> None:
    assert said in kept.misfit(of_forty(kept))


def test_other_predictions_do_not_fit() -> None:
    assert KEPT.misfit(of_forty(Predictions(CLASSES[::-1].copy(), None)))
    assert KEPT.misfit(make("linear", "digits", accuracy="failed"))
