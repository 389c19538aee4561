"""Readers of sources that store arrays: every record, its annotations and its pixels."""

import gzip
import pickle
import re
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from bench.prepare.readers import READERS
from bench.prepare.readers.base import ImageData, RecordKey, SourceReader, SourceRecord
from bench.utils.errors import UserError
from support import fake_array_sources

CIFAR, PICKLED = "cifar-100-binary.tar.gz", "cifar-100-python.tar.gz"
SOURCES: dict[str, tuple[str, Callable[[Path], fake_array_sources.Pixels]]] = {
    "cifar100, binary": ("cifar100", fake_array_sources.cifar100_binary),
    "cifar100, pickled": ("cifar100", fake_array_sources.cifar100_pickled),
    "svhn": ("svhn", fake_array_sources.svhn),
    "patch_camelyon, packed": ("patch_camelyon", fake_array_sources.patch_camelyon),
    "patch_camelyon, plain": (
        "patch_camelyon",
        lambda at: fake_array_sources.patch_camelyon(at, packed=False),
    ),
    "dsprites, hdf5": ("dsprites", fake_array_sources.dsprites_hdf5),
    "dsprites, npz": ("dsprites", fake_array_sources.dsprites_npz),
    "smallnorb": ("smallnorb", fake_array_sources.smallnorb),
}


def opened(name: str, folder: Path) -> SourceReader:
    return READERS[name](fake_array_sources.files_in(folder))


def entries(name: str, folder: Path) -> list[SourceRecord]:
    return list(opened(name, folder).entries())


def facts(name: str, folder: Path) -> dict[tuple[str, str], object]:
    return {(entry.split, entry.key): entry.facts for entry in entries(name, folder)}


@pytest.mark.parametrize("source", SOURCES)
def test_every_record_is_listed_once_and_without_its_image(source: str, tmp_path: Path) -> None:
    name, make = SOURCES[source]
    pixels = make(tmp_path)
    listed = [(entry.split, entry.key) for entry in entries(name, tmp_path)]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(pixels)


@pytest.mark.parametrize("source", SOURCES)
def test_the_pixels_are_those_that_were_put_in(source: str, tmp_path: Path) -> None:
    name, make = SOURCES[source]
    pixels = make(tmp_path)
    read = dict(opened(name, tmp_path).images(list(pixels)))
    assert set(read) == set(pixels)
    for key, picture in read.items():
        assert isinstance(picture, np.ndarray)
        assert picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, pixels[key])


@pytest.mark.parametrize("source", SOURCES)
def test_only_the_wanted_images_come(source: str, tmp_path: Path) -> None:
    name, make = SOURCES[source]
    wanted = list(make(tmp_path))[1::3]
    assert {key for key, _ in opened(name, tmp_path).images(wanted)} == set(wanted)
    assert not list(opened(name, tmp_path).images([]))


@pytest.mark.parametrize("source", SOURCES)
def test_facts_are_plain_numbers(source: str, tmp_path: Path) -> None:
    name, make = SOURCES[source]
    make(tmp_path)
    assert {type(v) for e in entries(name, tmp_path) for v in e.facts.values()} == {int}


@pytest.mark.parametrize(
    "make", [fake_array_sources.cifar100_binary, fake_array_sources.cifar100_pickled]
)
def test_cifar_s_fact_is_its_fine_class(make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path)
    fine = facts("cifar100", tmp_path)
    for split, (labels, _) in fake_array_sources.cifar100_records().items():
        assert [fine[split, str(i)] for i in range(len(labels))] == [{"fine": n} for n in labels]


def python2(planes: np.ndarray, fine: list[int]) -> bytes:
    """A pickle as Python 2 wrote it: its strings are bytes, and an array holds one."""
    raw = planes.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01" + b"M" + len(planes).to_bytes(2, "little") + b"M\x00\x0c\x86"
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + len(raw).to_bytes(4, "little") + raw + b"tb"
    )
    labels = b"](" + b"".join(b"K" + bytes([label]) for label in fine) + b"e"
    return b"\x80\x02}(U\x0bfine_labels" + labels + b"U\x04data" + array + b"u."


def test_cifar_s_pickles_are_read_as_python_2_wrote_them(tmp_path: Path) -> None:
    records = fake_array_sources.cifar100_records()
    content = {
        f"cifar-100-python/{split}": python2(fake_array_sources.planes(images), fine.tolist())
        for split, (fine, images) in records.items()
    }
    fake_array_sources.tar(tmp_path / PICKLED, content)
    read = dict(everything("cifar100", tmp_path))
    for split, (_, images) in records.items():
        assert all((read[split, str(i)] == image).all() for i, image in enumerate(images))


def test_an_extracted_cifar_is_read_from_its_folder(tmp_path: Path) -> None:
    pixels = fake_array_sources.cifar100_binary(tmp_path)
    with tarfile.open(tmp_path / CIFAR) as file:
        file.extractall(tmp_path / "out", filter="data")
    for folder in (tmp_path / "out", tmp_path / "out" / "cifar-100-binary"):
        read = dict(READERS["cifar100"]({CIFAR: folder}).images(list(pixels)))
        assert all((read[key] == pixels[key]).all() for key in pixels)


def test_svhn_s_digits_are_as_written_10_for_0(tmp_path: Path) -> None:
    fake_array_sources.svhn(tmp_path)
    digits = facts("svhn", tmp_path)
    assert digits["train", "0"] == {"digit": 1}
    assert digits["train", "9"] == {"digit": 10}


def test_camelyon_s_keys_say_valid_where_its_split_is_validation(tmp_path: Path) -> None:
    fake_array_sources.patch_camelyon(tmp_path)
    tumors = facts("patch_camelyon", tmp_path)
    assert tumors["validation", "valid_5"] == {"tumor": 1}
    assert tumors["test", "test_6"] == {"tumor": 0}


def test_nothing_that_was_unpacked_is_left_behind(tmp_path: Path) -> None:
    pixels = fake_array_sources.patch_camelyon(tmp_path)
    before = fake_array_sources.files_in(tmp_path)
    images = opened("patch_camelyon", tmp_path).images(list(pixels))
    next(images)
    assert len(fake_array_sources.files_in(tmp_path)) == len(before) + 1
    images.close()  # type: ignore[attr-defined]
    assert fake_array_sources.files_in(tmp_path) == before


@pytest.mark.parametrize(
    "make", [fake_array_sources.dsprites_hdf5, fake_array_sources.dsprites_npz]
)
def test_dsprites_facts_are_the_latent_classes(
    make: Callable[[Path], object], tmp_path: Path
) -> None:
    make(tmp_path)
    held = facts("dsprites", tmp_path)
    for index, row in enumerate(fake_array_sources.dsprites_arrays()["latents_classes"].tolist()):
        names = ("shape", "scale", "orientation", "x", "y")
        assert held["train", str(index)] == dict(zip(names, row[1:], strict=True))


def test_norb_s_facts_are_its_elevation_azimuth_and_category(tmp_path: Path) -> None:
    fake_array_sources.smallnorb(tmp_path)
    held = facts("smallnorb", tmp_path)
    assert held["train", "17"] == {"category": 2, "elevation": 8, "azimuth": 34}
    assert held["test", "18"] == {"category": 3, "elevation": 0, "azimuth": 0}


def test_an_npz_file_is_read_as_a_stream(tmp_path: Path) -> None:
    count = 30_000  # 123 MB unpacked
    held = {"imgs": np.zeros((count, 64, 64), np.uint8), "latents_classes": np.zeros((count, 6))}
    held["imgs"][-1] = 1
    np.savez_compressed(tmp_path / f"{fake_array_sources.DSPRITES}.npz", **held)  # type: ignore[arg-type]
    size = held.pop("imgs").nbytes
    tracemalloc.start()
    images = list(opened("dsprites", tmp_path).images([("train", "5"), ("train", f"{count - 1}")]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [int(np.max(pixels)) for _, pixels in images] == [0, 255]
    assert peak < size / 10


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.path), "w")


def refused(name: str, folder: Path, match: str) -> None:
    """Listing all records and reading all images ends with one sentence."""
    with pytest.raises(UserError, match=match) as error:
        everything(name, folder)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def everything(name: str, folder: Path) -> list[tuple[RecordKey, ImageData]]:
    reader = opened(name, folder)
    return list(reader.images([(entry.split, entry.key) for entry in reader.entries()]))


def test_a_pickle_that_could_run_code_is_refused_and_does_not(tmp_path: Path) -> None:
    held = {"fine_labels": [0], "data": np.zeros((1, 3072), np.uint8), "x": Bomb(tmp_path / "ran")}
    content = {f"cifar-100-python/{s}": pickle.dumps(held, protocol=2) for s in ("train", "test")}
    fake_array_sources.tar(tmp_path / PICKLED, content)
    refused("cifar100", tmp_path, rf"{PICKLED}: cifar-100-python/train is refused: .*open")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("held", "match"),
    [
        ({"data": np.zeros((1, 3072), np.uint8)}, "not laid out as published .*fine_labels"),
        ({"fine_labels": [0], "data": np.zeros((1, 3072))}, "images of float64"),
        ({"fine_labels": [0], "data": np.zeros((2, 3072), np.uint8)}, "1 labels for 2 images"),
        ([1, 2], "not laid out as published"),
    ],
)
def test_a_pickle_of_something_else_is_named(held: object, match: str, tmp_path: Path) -> None:
    content = {f"cifar-100-python/{s}": pickle.dumps(held, protocol=2) for s in ("train", "test")}
    fake_array_sources.tar(tmp_path / PICKLED, content)
    refused("cifar100", tmp_path, f"cifar-100-python/train.*{match}")


def test_a_pickle_that_is_cut_short_is_named(tmp_path: Path) -> None:
    content = {f"cifar-100-python/{s}": pickle.dumps([1] * 99)[:50] for s in ("train", "test")}
    fake_array_sources.tar(tmp_path / PICKLED, content)
    refused("cifar100", tmp_path, "cifar-100-python/train is ")


def test_a_cifar_file_that_is_no_whole_number_of_records_is_named(tmp_path: Path) -> None:
    fake_array_sources.tar(
        tmp_path / CIFAR, {f"cifar-100-binary/{s}.bin": bytes(3075) for s in ("train", "test")}
    )
    refused("cifar100", tmp_path, "train.bin is truncated: 3,075 bytes, not a multiple of 3,074")


def test_a_missing_member_is_named(tmp_path: Path) -> None:
    fake_array_sources.tar(tmp_path / CIFAR, {"cifar-100-binary/test.bin": bytes(3074)})
    refused("cifar100", tmp_path, f"{CIFAR}: 1 of its members are missing: .*train.bin")


@pytest.mark.parametrize("source", SOURCES)
def test_a_file_that_is_cut_short_is_named(source: str, tmp_path: Path) -> None:
    name, make = SOURCES[source]
    make(tmp_path)
    for path in fake_array_sources.files_in(tmp_path).values():
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
        refused(name, tmp_path, re.escape(path.name))
        path.write_bytes(content)


@pytest.mark.parametrize("source", SOURCES)
def test_a_file_of_something_else_is_named(source: str, tmp_path: Path) -> None:
    name, make = SOURCES[source]
    make(tmp_path)
    for path in fake_array_sources.files_in(tmp_path).values():
        content = path.read_bytes()
        path.write_bytes(b"<html>quota exceeded</html>" * 40)
        refused(name, tmp_path, re.escape(path.name))
        path.write_bytes(content)


@pytest.mark.parametrize("name", sorted({name for name, _ in SOURCES.values()}))
def test_a_source_without_its_files_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not there; there is "):
        entries(name, tmp_path)


@pytest.mark.parametrize("source", SOURCES)
def test_a_record_beyond_the_last_is_named(source: str, tmp_path: Path) -> None:
    name, make = SOURCES[source]
    split, key = list(make(tmp_path))[-1]
    beyond = (split, re.sub(r"\d+$", "999999", key))
    with pytest.raises(UserError, match="no record 999999; it holds "):
        list(opened(name, tmp_path).images([beyond]))


def test_fewer_digits_than_images_are_told(tmp_path: Path) -> None:
    fake_array_sources.svhn(tmp_path, missing=1)
    refused("svhn", tmp_path, r"train_32x32\.mat: 10 labels for 11 images")


def test_a_matlab_file_without_its_variable_is_named(tmp_path: Path) -> None:
    for name in ("train_32x32.mat", "test_32x32.mat"):
        scipy.io.savemat(tmp_path / name, {"z": np.zeros(3)})
    refused("svhn", tmp_path, r"train_32x32\.mat holds no variable y")


def test_fewer_tumors_than_images_are_told(tmp_path: Path) -> None:
    pixels = fake_array_sources.patch_camelyon(tmp_path, missing=1)
    with pytest.raises(UserError, match=r"test_x\.h5\.gz: 6 labels for 7 images"):
        list(opened("patch_camelyon", tmp_path).images([n for n in pixels if n[0] == "test"]))


def test_an_hdf5_file_without_its_array_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / f"{fake_array_sources.DSPRITES}.hdf5", "w") as file:
        file["images"] = np.zeros((2, 64, 64))
    refused(
        "dsprites", tmp_path, f"{fake_array_sources.DSPRITES}.hdf5 holds no array latents/classes"
    )


def test_an_npz_file_whose_images_are_pickled_is_refused(tmp_path: Path) -> None:
    imgs = np.array([{"a": 1}], dtype=object)
    classes = np.zeros((1, 6), np.int64)
    np.savez(tmp_path / f"{fake_array_sources.DSPRITES}.npz", imgs=imgs, latents_classes=classes)
    refused("dsprites", tmp_path, "imgs.npy is not laid out as published .*object")


def test_fewer_sprites_classes_than_sprites_are_told(tmp_path: Path) -> None:
    held = fake_array_sources.dsprites_arrays(9)
    np.savez(tmp_path / f"{fake_array_sources.DSPRITES}.npz", imgs=held["imgs"],
             latents_classes=held["latents_classes"][:8])  # fmt: skip
    refused("dsprites", tmp_path, "8 labels for 9 images")


def test_a_matrix_of_no_known_type_is_named(tmp_path: Path) -> None:
    fake_array_sources.smallnorb(tmp_path)
    path = tmp_path / f"{fake_array_sources.NORB['train']}-info.mat.gz"
    path.write_bytes(gzip.compress(b"\x51" + gzip.decompress(path.read_bytes())[1:]))
    refused("smallnorb", tmp_path, r"training-info\.mat\.gz: it begins with 0x1e3d4c51")


def test_a_matrix_larger_than_reason_is_not_read(tmp_path: Path) -> None:
    fake_array_sources.smallnorb(tmp_path)
    header = np.array([0x1E3D4C54, 3, 9, 2**30, 2**30], "<i4").tobytes()
    (tmp_path / f"{fake_array_sources.NORB['train']}-cat.mat.gz").write_bytes(gzip.compress(header))
    refused("smallnorb", tmp_path, r"training-cat\.mat\.gz: a matrix of shape")


def test_fewer_views_than_pairs_are_told(tmp_path: Path) -> None:
    fake_array_sources.smallnorb(tmp_path, missing=1)
    refused("smallnorb", tmp_path, r"training-dat\.mat\.gz: 19 labels for 20 images")
