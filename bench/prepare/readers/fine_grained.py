"""Readers of fine-grained data sets: birds, cars, dogs, food and aircraft."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.prepare.archive_contents import (
    parse_errors,
)
from bench.prepare.archives import (
    find_file,
    folder_prefix,
    open_archive,
    read_images,
    read_images_by_path_end,
    read_member,
)
from bench.prepare.readers.base import (
    Files,
    ImageData,
    RecordKey,
    SourceRecord,
    read_matlab_variables,
    require_equal_counts,
    wanted_keys,
)
from bench.utils.errors import UserError

BIRDS_LISTS = ("images.txt", "image_class_labels.txt", "train_test_split.txt")
BIRDS_SPLITS = {"1": "train", "0": "test"}


@dataclass(frozen=True)
class Birds:
    """CUB-200-2011 (Wah et al., 2011) and NABirds (Van Horn et al., 2015): images and three lists.

    Keys are paths below images/; the split is the authors'.
    """

    files: Files
    archive: str
    folder: str  # at the top of the archive

    def entries(self) -> Iterator[SourceRecord]:
        path = find_file(self.files, self.archive)
        paths, classes, splits = self._lists(path)
        for number, key in paths.items():
            try:
                facts = {"class": int(classes[number])}
                yield SourceRecord(BIRDS_SPLITS[splits[number]], key, facts)
            except (KeyError, ValueError):
                raise UserError(
                    f"{path}: no class and split of image {number} in {BIRDS_LISTS}"
                ) from None

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        path = find_file(self.files, self.archive)
        top = folder_prefix(open_archive(path), self.folder)
        yield from read_images(path, {f"{top}images/{name[1]}": name for name in wanted})

    def _lists(self, path: Path) -> list[dict[str, str]]:
        top = folder_prefix(open_archive(path), self.folder)
        names = [top + name for name in BIRDS_LISTS]
        contents = dict(open_archive(path).read(names))
        return [_read_columns(contents[name], f"{path}: {name}") for name in names]


def _read_columns(content: bytes, origin: str) -> dict[str, str]:
    """Parse two columns into a mapping from the first to the second."""
    columns = {}
    for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
        first, _, second = line.strip().partition(" ")
        if not second:
            raise UserError(f"{origin}:{number}: expected two columns, got {line!r}")
        columns[first] = second
    return columns


@dataclass(frozen=True)
class StanfordCars:
    """Stanford Cars (Krause et al., 2013): the archive of all cars, and the annotations file.

    The cars of cars_train.tgz and cars_test.tgz are the same, but numbered differently. Keys are
    as in car_ims/016185.jpg; the split is the authors'.
    """

    files: Files

    def entries(self) -> Iterator[SourceRecord]:
        path = find_file(self.files, "cars_annos.mat")
        cars = np.atleast_1d(read_matlab_variables(path, path, "annotations")[0])
        with parse_errors(path):
            columns = [cars[name].tolist() for name in ("relative_im_path", "class", "test")]
        for key, label, test in zip(*columns, strict=True):
            yield SourceRecord("test" if test else "train", str(key), {"class": int(label)})

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        path = find_file(self.files, "car_ims.tgz")
        yield from read_images_by_path_end(
            path, {name[1].removeprefix("car_ims/"): name for name in wanted}
        )


DOGS_LISTS = {"train": "train_list.mat", "test": "test_list.mat"}


@dataclass(frozen=True)
class StanfordDogs:
    """Stanford Dogs (Khosla et al., 2011), http://vision.stanford.edu/aditya86/ImageNetDogs.

    Keys are paths below Images/; the split is the authors'.
    """

    files: Files

    def entries(self) -> Iterator[SourceRecord]:
        path = find_file(self.files, "lists.tar")
        for split, name in DOGS_LISTS.items():
            origin = f"{path}: {name}"
            columns = read_matlab_variables(read_member(path, name), origin, "file_list", "labels")
            keys, classes = (np.atleast_1d(column).tolist() for column in columns)
            require_equal_counts(origin, len(classes), len(keys))
            for key, label in zip(keys, classes, strict=True):
                yield SourceRecord(split, str(key), {"class": int(label)})

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        path = find_file(self.files, "images.tar")
        top = folder_prefix(open_archive(path), "Images")
        yield from read_images(path, {top + name[1]: name for name in wanted})


CARS_PARTS = {"train": "cars_train.tgz", "test": "cars_test.tgz"}
CARS_KIT, CARS_TRAIN_ANNOTATIONS = "car_devkit.tgz", "cars_train_annos.mat"
CARS_TEST_ANNOTATIONS = "cars_test_annos_withlabels.mat"


@dataclass(frozen=True)
class StanfordCarsParts:
    """Stanford Cars (Krause et al., 2013) in two archives, each with a numbering of its own.

    Keys are as in cars_train/00001.jpg and cars_test/00001.jpg; the split is the authors'.
    """

    files: Files

    def entries(self) -> Iterator[SourceRecord]:
        for split, (content, origin) in self._annotations().items():
            cars = np.atleast_1d(read_matlab_variables(content, origin, "annotations")[0])
            with parse_errors(origin):
                columns = [cars[name].tolist() for name in ("fname", "class")]
            for name, label in zip(*columns, strict=True):
                yield SourceRecord(split, f"cars_{split}/{name}", {"class": int(label)})

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        for split, archive in CARS_PARTS.items():
            path, keys = find_file(self.files, archive), wanted_keys(wanted, split)
            top = folder_prefix(open_archive(path), f"cars_{split}")
            ends = {top + key.rpartition("/")[2]: (split, key) for key in keys}
            yield from read_images_by_path_end(path, ends)

    def _annotations(self) -> dict[str, tuple[Path | bytes, str]]:
        """Return the content, or the path, of each split's annotations, and where they are."""
        kit, test = (find_file(self.files, name) for name in (CARS_KIT, CARS_TEST_ANNOTATIONS))
        member = folder_prefix(open_archive(kit), "devkit") + CARS_TRAIN_ANNOTATIONS
        return {"train": (read_member(kit, member), f"{kit}: {member}"), "test": (test, str(test))}


FOOD_ARCHIVE, FOOD_FOLDER = "food-101.tar.gz", "food-101"
FOOD_LISTS = {"train": "train.txt", "test": "test.txt"}


@dataclass(frozen=True)
class Food101:
    """Food-101 (Bossard et al., 2014): class folders, and two lists of them without endings.

    Keys are ``apple_pie/1005649.jpg`` and so on; the split is the authors'.
    """

    files: Files

    def entries(self) -> Iterator[SourceRecord]:
        path, top = self._archive_and_top()
        members = {f"{top}meta/{name}": split for split, name in FOOD_LISTS.items()}
        for member, content in open_archive(path).read(members):
            with parse_errors(path, member):
                keys = content.decode().split()
            for key in keys:
                facts = {"class": key.partition("/")[0]}
                yield SourceRecord(members[member], f"{key}.jpg", facts)

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        path, top = self._archive_and_top()
        yield from read_images(path, {f"{top}images/{name[1]}": name for name in wanted})

    def _archive_and_top(self) -> tuple[Path, str]:
        path = find_file(self.files, FOOD_ARCHIVE)
        return path, folder_prefix(open_archive(path), FOOD_FOLDER)


AIRCRAFT_ARCHIVE, AIRCRAFT_FOLDER = "fgvc-aircraft-2013b.tar.gz", "fgvc-aircraft-2013b"
AIRCRAFT_LISTS = {"train": "train", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class Aircraft:
    """FGVC-Aircraft (Maji et al., 2013): numbered images, and lists of their variants.

    Keys are ``0034309.jpg`` and so on; a class is a variant, such as ``707-320``.
    """

    files: Files

    def entries(self) -> Iterator[SourceRecord]:
        path, top = self._archive_and_top()
        members = {f"{top}data/images_variant_{n}.txt": s for s, n in AIRCRAFT_LISTS.items()}
        for member, content in open_archive(path).read(members):
            for number, variant in _read_columns(content, f"{path}: {member}").items():
                yield SourceRecord(members[member], f"{number}.jpg", {"class": variant})

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        path, top = self._archive_and_top()
        yield from read_images(path, {f"{top}data/images/{name[1]}": name for name in wanted})

    def _archive_and_top(self) -> tuple[Path, str]:
        path = find_file(self.files, AIRCRAFT_ARCHIVE)
        return path, folder_prefix(open_archive(path), AIRCRAFT_FOLDER)
