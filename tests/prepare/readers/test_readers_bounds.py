"""Readers of sources on files made to harm: one sentence, without waiting and without gigabytes."""

import gzip
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import scipy.io

from bench.cli.main import main
from bench.prepare import archive_contents
from bench.prepare.readers import READERS, base, medical, tfrecords
from bench.utils.errors import UserError
from support import fake_archives, fake_array_sources, small_suite
from support.odd_archives import tar_bytes
from support.time_limits import in_time

HDF5 = f"{fake_array_sources.DSPRITES}.hdf5"
NORB = fake_array_sources.NORB["train"]
LOOPING_POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{} loop\n"


def complaint(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        in_time(call)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def everything(name: str, folder: Path) -> list[object]:
    reader = READERS[name](fake_array_sources.files_in(folder))
    return list(reader.images([(entry.split, entry.key) for entry in reader.entries()]))


SOURCES = {
    "cifar100": fake_array_sources.cifar100_binary,
    "svhn": fake_array_sources.svhn,
    "patch_camelyon": fake_array_sources.patch_camelyon,
    "patch_camelyon, plain": lambda at: fake_array_sources.patch_camelyon(at, packed=False),
    "dsprites": fake_array_sources.dsprites_hdf5,
    "dsprites, npz": fake_array_sources.dsprites_npz,
    "smallnorb": fake_array_sources.smallnorb,
}


@pytest.mark.parametrize("source", SOURCES)
def test_no_reader_waits_for_a_fifo(source, tmp_path):
    SOURCES[source](tmp_path)
    for path in list(tmp_path.iterdir()):
        path.unlink()
        os.mkfifo(path)
    said = complaint(lambda: everything(source.partition(",")[0], tmp_path))
    assert "it is not a regular file" in said


def test_an_archive_that_is_a_fifo_is_refused_before_its_hash_is_taken(tmp_path, capsys):
    card = small_suite.write(tmp_path, "dtd", make=False)
    os.mkfifo(tmp_path / "data" / "archives" / "dtd" / "dtd-r1.0.1.tar.gz")
    words = ["--suite", str(card), "--data-root", str(tmp_path / "data")]
    assert in_time(lambda: main(["data", "prepare", *words])) == 1
    assert "dtd-r1.0.1.tar.gz cannot be read: it is not a regular file" in capsys.readouterr().err


# HDF5


def external_link(file: h5py.File) -> None:
    file["latents/classes"] = h5py.ExternalLink("other.hdf5", "/x")


def soft_link(file: h5py.File) -> None:
    file["latents/classes"] = h5py.SoftLink("/imgs")


def linked_group(file: h5py.File) -> None:
    file["latents"] = h5py.ExternalLink("other.hdf5", "/")


def external_storage(file: h5py.File) -> None:
    file.create_dataset("latents/classes", (600, 6), "i8", external=[("secret", 0, 28800)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((600, 6), "i8")
    layout[:] = h5py.VirtualSource("other.hdf5", "x", (600, 6))
    file.create_virtual_dataset("latents/classes", layout)


def texts(file: h5py.File) -> None:
    file.create_dataset("latents/classes", (600, 6), h5py.string_dtype())


def scalar(file: h5py.File) -> None:
    file["latents/classes"] = 1


def terabytes(file: h5py.File) -> None:
    file.create_dataset("latents/classes", (2**40, 6), "u1", chunks=(1, 6))


NOT_ARRAYS = {
    external_link: "holds no array latents/classes",
    soft_link: "holds no array latents/classes",
    linked_group: "holds no array latents/classes",
    external_storage: "its array latents/classes is in other files",
    virtual: "its array latents/classes is in other files",
    texts: "its array latents/classes is of object",
    scalar: "its array latents/classes is of int64 ()",
    terabytes: "bytes are to be read at once; at most 536,870,912 are",
}


@pytest.mark.parametrize("write", NOT_ARRAYS, ids=lambda write: write.__name__)
def test_an_array_is_of_numbers_and_in_its_own_file(write, tmp_path):
    fake_array_sources.dsprites_hdf5(tmp_path)
    with h5py.File(tmp_path / "other.hdf5", "w") as other:
        other["x"] = other["classes"] = np.zeros((600, 6), np.int64)
    with h5py.File(tmp_path / HDF5, "a") as file:
        del file["latents"]
        write(file)
    said = complaint(lambda: everything("dsprites", tmp_path))
    assert said.startswith(f"{tmp_path / HDF5}")
    assert NOT_ARRAYS[write] in said


def test_a_chunk_of_gigabytes_is_not_read(tmp_path):
    fake_array_sources.dsprites_hdf5(tmp_path)
    with h5py.File(tmp_path / HDF5, "a") as file:
        del file["imgs"]
        file.create_dataset("imgs", (600, 64, 64), "u1", chunks=(1, 64, 64))
        del file["latents/classes"]
        file.create_dataset("latents/classes", (2**18, 6), "u1")
        del file["imgs"]
        file.create_dataset("imgs", (2**18, 64, 64), "u1", chunks=(2**18, 64, 64))
    assert "bytes are to be read at once" in complaint(lambda: everything("dsprites", tmp_path))


# Gzip


def test_a_gzip_file_that_swells_fills_no_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_contents, "FREE_BYTES", 2**20)
    fake_array_sources.patch_camelyon(tmp_path)
    path = tmp_path / "camelyonpatch_level_2_split_train_y.h5.gz"
    path.write_bytes(gzip.compress(bytes(2**24)))
    monkeypatch.setattr(archive_contents, "MAX_TOTAL_COMPRESSION", 10)
    monkeypatch.setattr(medical, "UNPACK_BYTES", 2**16)
    said = complaint(lambda: everything("patch_camelyon", tmp_path))
    assert said == f"{path} would expand to more than 1,048,576 bytes"
    assert {kept.suffix for kept in tmp_path.iterdir()} == {".gz"}


def test_a_matrix_of_more_rows_than_reason_is_not_read(tmp_path):
    fake_array_sources.smallnorb(tmp_path)
    header = np.array([0x1E3D4C54, 2, 2**31 - 1, 4, 1], "<i4").tobytes()
    path = tmp_path / f"{NORB}-info.mat.gz"
    path.write_bytes(gzip.compress(header + bytes(2**20)))
    assert complaint(lambda: everything("smallnorb", tmp_path)).startswith(f"{path}: a matrix of")


# MATLAB


def matlab(*elements: tuple[int, bytes]) -> bytes:
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    return head + b"".join(struct.pack("<II", kind, len(c)) + c for kind, c in elements)


def test_a_matlab_file_that_swells_is_not_loaded(monkeypatch):
    monkeypatch.setattr(base, "MAX_MEMBER_BYTES", 2**20)
    content = matlab((15, zlib.compress(bytes(2**24))))
    for read in (base.read_matlab_shape, base.read_matlab_variables):
        assert "x.mat: 2,097,152 bytes are to be read at once" in complaint(
            lambda read=read: read(content, "x.mat", "y")
        )


@pytest.mark.parametrize(
    "content",
    [
        matlab((14, struct.pack("<6I", 6, 8, 6, 0, 5, 8) + struct.pack("<2i", 2**30, 2**30))),
        matlab((14, b"")),
        matlab((15, b"no zlib")),
        matlab((15, zlib.compress(b"")), (14, bytes(3))),
        struct.pack("<5i", 0, 2**30, 2**30, 0, 2) + b"y\0",
        struct.pack("<5i", 0, -1, 5, 0, 2) + b"y\0",
        b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + bytes(500),
        b"",
    ],
)
def test_dimensions_that_lie_are_one_sentence(content):
    said = complaint(lambda: base.read_matlab_variables(content, "x.mat", "y"))
    assert said.startswith("x.mat")


@pytest.mark.parametrize("error", [UnboundLocalError, KeyError, IndexError, RuntimeError])
@pytest.mark.parametrize("call", ["loadmat", "whosmat"])
def test_whatever_a_library_raises_of_a_file_is_one_sentence(error, call, monkeypatch):
    def fail(*_, **__):
        raise error("local variable 'arr' referenced before assignment")

    monkeypatch.setattr(scipy.io, call, fail)
    read = {"loadmat": base.read_matlab_variables, "whosmat": base.read_matlab_shape}[call]
    said = complaint(lambda: read(matlab((14, b"")), "x.mat", "y"))
    assert said.startswith("x.mat ")
    assert said.isprintable()


def test_compressed_variables_are_still_read(tmp_path):
    scipy.io.savemat(tmp_path / "x.mat", {"y": np.arange(9)}, do_compression=True)
    [found] = base.read_matlab_variables(tmp_path / "x.mat", "x.mat", "y")
    assert found.tolist() == list(range(9))
    assert base.read_matlab_shape(tmp_path / "x.mat", "x.mat", "y") == (1, 9)


# Pickles


def refused_pickle(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "cifar-100-python.tar.gz"
    fake_array_sources.tar(path, {f"cifar-100-python/{s}": content for s in ("train", "test")})
    return complaint(lambda: everything("cifar100", tmp_path))


def test_a_pickle_that_numbers_its_objects_by_the_billion_is_refused(tmp_path):
    content = b"\x80\x02]r" + struct.pack("<I", 2**31) + b"."
    assert "is refused: it numbers an object 2,147,483,648" in refused_pickle(tmp_path, content)


def test_lists_of_one_list_are_not_unfolded(tmp_path):
    nested: list[object] = [0] * 10
    for _ in range(40):
        nested = [nested] * 10
    data = {"fine_labels": nested, "data": np.zeros((1, 3072), np.uint8)}
    assert "labels that are not a list of numbers" in refused_pickle(
        tmp_path, pickle.dumps(data, protocol=2)
    )


def test_images_are_an_array(tmp_path):
    data = {"fine_labels": [0], "data": [[0] * 3072]}
    assert "images of list" in refused_pickle(tmp_path, pickle.dumps(data, protocol=2))


# TFRecords


def test_a_number_without_end_is_refused():
    with pytest.raises(ValueError, match="more than 64 bits"):
        in_time(lambda: tfrecords.parse_example(b"\xff" * 10_000_000))


# OpenCV


@pytest.mark.parametrize("content", [LOOPING_POSTSCRIPT, b"", b"P7\nWIDTH 1\n", b"#?RADIANCE\n"])
def test_opencv_decodes_the_formats_that_pillow_does(content):
    assert "x.zip: its member a.jpg " in complaint(
        lambda: base.decode_bgr(Path("x.zip"), "a.jpg", content)
    )


def test_opencv_s_own_errors_are_one_sentence(monkeypatch):
    def decode(*_: object) -> None:
        raise cv2.error("(-215) size.width <= CV_IO_MAX_IMAGE_WIDTH\nin function")

    monkeypatch.setattr(cv2, "imdecode", decode)
    said = complaint(lambda: base.decode_bgr(Path("x.zip"), "a.jpg", b"\xff\xd8\xff"))
    assert said.startswith("x.zip: its member a.jpg is no image: ")


def test_an_image_of_a_gigapixel_is_not_decoded_by_opencv():
    content = b"P5 40000 40000 255\n" + bytes(100)
    assert "x.zip: its member a.pgm " in complaint(
        lambda: base.decode_bgr(Path("x.zip"), "a.pgm", content)
    )


# Keys


def test_a_key_that_no_list_can_hold_is_refused_before_images_are_read(tmp_path, capsys):
    card = small_suite.write(tmp_path, "eurosat", make=False)
    archive = tmp_path / "data" / "archives" / "eurosat" / "EuroSAT.zip"
    fake_archives.zipped(archive, {"2750/Forest/a\tb.jpg": fake_archives.picture("x")})
    words = ["--suite", str(card), "--data-root", str(tmp_path / "data")]
    assert main(["data", "prepare", *words]) == 1
    assert r"E-PATH 'train/" in capsys.readouterr().err


def test_a_prepared_source_says_which_members_counted_again(tmp_path, capsys):
    card = small_suite.write(tmp_path, "dtd")
    path = tmp_path / "data" / "archives" / "dtd" / "dtd-r1.0.1.tar.gz"
    members = list(fake_archives.dtd_members().items())
    path.write_bytes(gzip.compress(tar_bytes(*members, members[0])))
    words = ["--suite", str(card), "--data-root", str(tmp_path / "data")]
    assert main(["data", "prepare", *words]) == 0
    said = capsys.readouterr()
    assert f"W-MEMBERS dtd: {path}: 1 names stand for several members" in said.out
