"""Readers of sources of photographs: every record, its split, its class and its bytes."""

import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config.suite import load_source
from bench.prepare.readers import READERS
from bench.prepare.readers.base import SourceReader
from bench.utils.errors import UserError
from support import fake_photo_sources
from support.fake_array_sources import files_in, tar

SOURCES: dict[str, Callable[[Path], fake_photo_sources.Classes]] = {
    "cub": fake_photo_sources.cub,
    "nabirds": fake_photo_sources.nabirds,
    "stanforddogs": fake_photo_sources.stanforddogs,
    "stanfordcars": fake_photo_sources.stanfordcars,
    "stanfordcars_parts": fake_photo_sources.stanfordcars_parts,
    "food101": fake_photo_sources.food101,
    "fgvc_aircraft": fake_photo_sources.fgvc_aircraft,
    "inat2018": fake_photo_sources.inat2018,
    "imagenet1k": fake_photo_sources.imagenet1k,
    "imagenet1k, folders": fake_photo_sources.imagenet1k_folders,
    "imagenet1k, flat": fake_photo_sources.imagenet1k_flat,
}
TOPS = {
    "CUB_200_2011.tgz": "CUB_200_2011",
    "nabirds.tar.gz": "nabirds",
    "images.tar": "Images",
    "car_ims.tgz": "car_ims",
    "cars_train.tgz": "cars_train",
    "cars_test.tgz": "cars_test",
    "car_devkit.tgz": "devkit",
    "food-101.tar.gz": "food-101",
    "fgvc-aircraft-2013b.tar.gz": "fgvc-aircraft-2013b",
    "train_val2018.tar.gz": "train_val2018",
}


def opened(source: str, files: dict[str, Path]) -> SourceReader:
    """The reader that a source's card names, with its options."""
    card = load_source(source.split(",")[0])
    return READERS[card.format](files, **card.options)


@pytest.mark.parametrize("source", SOURCES)
def test_every_record_is_listed_with_its_split_key_and_class(source: str, tmp_path: Path) -> None:
    classes = SOURCES[source](tmp_path)
    entries = list(opened(source, files_in(tmp_path)).entries())
    assert len(entries) == len(classes)
    assert {(e.split, e.key): e.facts for e in entries} == {
        name: {"class": label} for name, label in classes.items()
    }


@pytest.mark.parametrize("source", SOURCES)
def test_the_wanted_images_come_byte_for_byte(source: str, tmp_path: Path) -> None:
    wanted = list(SOURCES[source](tmp_path))[::2]
    read = dict(opened(source, files_in(tmp_path)).images(wanted))
    assert read == {(split, key): fake_photo_sources.photo(key) for split, key in wanted}
    assert not list(opened(source, files_in(tmp_path)).images([]))


@pytest.mark.parametrize("source", [s for s in SOURCES if not s.startswith("imagenet")])
@pytest.mark.parametrize("inside", [False, True])
def test_what_was_extracted_is_read_from_its_folder(
    source: str, inside: bool, tmp_path: Path
) -> None:
    classes = SOURCES[source](tmp_path)
    files = files_in(tmp_path)
    for name in TOPS.keys() & files.keys():
        with tarfile.open(files[name]) as file:
            file.extractall(tmp_path / "out", filter="data")
        files[name] = tmp_path / "out" / TOPS[name] if inside else tmp_path / "out"
    read = dict(opened(source, files).images(list(classes)))
    assert read == {(split, key): fake_photo_sources.photo(key) for split, key in classes}
    assert len(list(opened(source, files).entries())) == len(classes)


def refused(source: str, folder: Path, match: str) -> None:
    """Listing all records and reading all images ends with one sentence."""
    reader = opened(source, files_in(folder))
    with pytest.raises(UserError, match=match) as error:
        list(reader.images([(e.split, e.key) for e in reader.entries()]))
    assert "\n" not in str(error.value)


ARCHIVED = [source for source in SOURCES if "," not in source]


@pytest.mark.parametrize("source", ARCHIVED)
def test_a_file_that_is_cut_short_is_named(source: str, tmp_path: Path) -> None:
    SOURCES[source](tmp_path)
    for path in files_in(tmp_path).values():
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 8])
        refused(source, tmp_path, re.escape(path.name))
        path.write_bytes(content)


@pytest.mark.parametrize("source", ARCHIVED)
def test_a_file_of_something_else_is_named(source: str, tmp_path: Path) -> None:
    SOURCES[source](tmp_path)
    for path in files_in(tmp_path).values():
        content = path.read_bytes()
        path.write_bytes(b"<html>quota exceeded</html>" * 40)
        refused(source, tmp_path, re.escape(path.name))
        path.write_bytes(content)


@pytest.mark.parametrize("source", ARCHIVED)
def test_a_source_without_its_files_is_refused(source: str, tmp_path: Path) -> None:
    refused(source, tmp_path, "is not there; there is ")


@pytest.mark.parametrize("source", SOURCES)
def test_a_missing_image_is_named(source: str, tmp_path: Path) -> None:
    classes = SOURCES[source](tmp_path)
    split, key = next(iter(classes))
    missing = (split, key.replace(".", "x."))
    with pytest.raises(UserError, match=re.escape(missing[1].split("/")[-1])):
        list(opened(source, files_in(tmp_path)).images([missing]))


def test_a_bird_without_a_class_is_named(tmp_path: Path) -> None:
    fake_photo_sources.cub(tmp_path)
    path = tmp_path / "CUB_200_2011.tgz"
    with tarfile.open(path) as file:
        file.extractall(tmp_path / "out", filter="data")
    labels = tmp_path / "out" / "CUB_200_2011" / "image_class_labels.txt"
    labels.write_text(
        "".join(labels.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]), encoding="utf-8"
    )
    path.unlink()
    shutil.move(tmp_path / "out", path)
    refused("cub", tmp_path, r"CUB_200_2011\.tgz: no class and split of image 12")


def test_a_list_of_birds_with_one_column_is_named_with_its_line(tmp_path: Path) -> None:
    lists = {"images.txt": b"1 a.jpg\n2\n", "image_class_labels.txt": b"1 1\n2 1\n"}
    lists["train_test_split.txt"] = b"1 1\n2 0\n"
    tar(tmp_path / "nabirds.tar.gz", {f"nabirds/{name}": text for name, text in lists.items()})
    refused("nabirds", tmp_path, r"nabirds\.tar\.gz: nabirds/images\.txt:2: expected two columns")


def test_fewer_dogs_classes_than_dogs_are_told(tmp_path: Path) -> None:
    fake_photo_sources.stanforddogs(tmp_path, missing=1)
    refused("stanforddogs", tmp_path, r"lists\.tar: train_list\.mat: 4 labels for 5 images")


def test_cars_without_their_test_column_are_told(tmp_path: Path) -> None:
    fake_photo_sources.stanfordcars(tmp_path)
    (tmp_path / "cars_annos.mat").write_bytes(
        fake_photo_sources.matlab(annotations={"fname": "1.jpg"})
    )
    refused("stanfordcars", tmp_path, r"cars_annos\.mat is not laid out as published")


@pytest.mark.parametrize(
    ("held", "match"),
    [
        ({"images": []}, "not laid out as published .*annotations"),
        ({"images": [{"id": 1, "file_name": "a"}], "annotations": []}, "0 labels for 1 images"),
        ([], "not laid out as published"),
    ],
)
def test_a_json_file_of_something_else_is_named(held: object, match: str, tmp_path: Path) -> None:
    fake_photo_sources.inat2018(tmp_path)
    content = json.dumps(held).encode()
    tar(tmp_path / "val2018.json.tar.gz", {"val2018.json": content})
    refused("inat2018", tmp_path, rf"val2018\.json\.tar\.gz: val2018\.json.*{match}")


def test_a_class_that_the_kit_does_not_know_is_told(tmp_path: Path) -> None:
    fake_photo_sources.imagenet1k(tmp_path)
    truth = f"{fake_photo_sources.KIT}/data/ILSVRC2012_validation_ground_truth.txt"
    with tarfile.open(tmp_path / f"{fake_photo_sources.KIT}.tar.gz") as file:
        meta = file.extractfile(f"{fake_photo_sources.KIT}/data/meta.mat").read()  # type: ignore[union-attr]
    members = {f"{fake_photo_sources.KIT}/data/meta.mat": meta, truth: b"2\n1001\n"}
    tar(tmp_path / f"{fake_photo_sources.KIT}.tar.gz", members)
    refused("imagenet1k", tmp_path, "ground_truth.txt:2: no class b'1001'")


def test_a_training_archive_that_holds_no_classes_is_told(tmp_path: Path) -> None:
    fake_photo_sources.imagenet1k(tmp_path)
    tar(tmp_path / "ILSVRC2012_img_train.tar", {"n01440764_1.JPEG": b"x"}, "w")
    refused("imagenet1k", tmp_path, r"n01440764_1\.JPEG is no class")


def test_an_image_outside_of_a_folder_of_a_class_is_told(tmp_path: Path) -> None:
    classes = fake_photo_sources.imagenet1k_folders(tmp_path)
    (tmp_path / "train" / "readme.txt").write_text("no image", encoding="utf-8")
    assert len(list(opened("imagenet1k", files_in(tmp_path)).entries())) == len(classes)
    fake_photo_sources.write(tmp_path / "train" / "n01440764_1.JPEG")
    refused("imagenet1k", tmp_path, r"train: n01440764_1\.JPEG is in no folder of a class")
