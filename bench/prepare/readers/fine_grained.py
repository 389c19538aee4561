"""Readers of fine-grained data sets: CUB-200-2011, NABirds, Stanford Cars, Stanford Dogs."""

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
