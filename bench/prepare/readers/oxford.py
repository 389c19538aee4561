"""Readers of data sets from Oxford: Describable Textures, Flowers 102, Oxford-IIIT Pets."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.prepare.archive_contents import parse_errors
from bench.prepare.archives import find_file, folder_prefix, open_archive, read_images, read_text
from bench.prepare.readers.base import (
    Files,
    ImageData,
    RecordKey,
    SourceRecord,
    read_matlab_variables,
)

DTD_FOLDER = "dtd"
DTD_LISTS = {"train": "train1", "validation": "val1", "test": "test1"}


@dataclass(frozen=True)
class Dtd:
    """The Describable Textures Dataset (Cimpoi et al., 2014): the first of its ten partitions.

    Images are in class folders; keys are as in their lists: ``banded/banded_0002.jpg``.
    """

    files: Files
    archive: str  # the name of its file

    def entries(self) -> Iterator[SourceRecord]:
        lists = self._lists()
        for split in DTD_LISTS:
            for key in lists[split]:
                yield SourceRecord(split, key, {"class": key.partition("/")[0]})

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        path, top = self._archive_and_top()
        yield from read_images(path, {f"{top}images/{name[1]}": name for name in wanted})

    def _archive_and_top(self) -> tuple[Path, str]:
        path = find_file(self.files, self.archive)
        return path, folder_prefix(open_archive(path), DTD_FOLDER)

    def _lists(self) -> dict[str, list[str]]:
        path, top = self._archive_and_top()
        members = {f"{top}labels/{name}.txt": split for split, name in DTD_LISTS.items()}
        lists = {}
        for member, content in open_archive(path).read(members):
            with parse_errors(path, member):
                lists[members[member]] = content.decode().split()
        return lists


FLOWERS_ARCHIVE, FLOWERS_LABELS, FLOWERS_SPLITS = "102flowers.tgz", "imagelabels.mat", "setid.mat"
FLOWERS_VARIABLES = {"train": "trnid", "validation": "valid", "test": "tstid"}


@dataclass(frozen=True)
class Flowers:
    """Oxford Flowers 102 (Nilsback and Zisserman, 2008): numbered images and two MATLAB files.

    Keys are ``image_00001.jpg`` and so on; classes count from 1.
    """

    files: Files

    def entries(self) -> Iterator[SourceRecord]:
        [labels] = self._variables(FLOWERS_LABELS, ["labels"])
        numbers = self._variables(FLOWERS_SPLITS, list(FLOWERS_VARIABLES.values()))
        for split, members in zip(FLOWERS_VARIABLES, numbers, strict=True):
            for number in members:
                with parse_errors(find_file(self.files, FLOWERS_LABELS)):
                    label = int(labels[number - 1])
                yield SourceRecord(split, f"image_{number:05d}.jpg", {"class": label})

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        path = find_file(self.files, FLOWERS_ARCHIVE)
        top = folder_prefix(open_archive(path), "jpg")
        yield from read_images(path, {top + name[1]: name for name in wanted})

    def _variables(self, file: str, names: list[str]) -> list[np.ndarray]:
        path = find_file(self.files, file)
        return [
            np.atleast_1d(array).astype(int) for array in read_matlab_variables(path, path, *names)
        ]


PETS_IMAGES, PETS_ANNOTATIONS = "images.tar.gz", "annotations.tar.gz"
PETS_LISTS = {"train": "trainval.txt", "test": "test.txt"}


@dataclass(frozen=True)
class Pets:
    """The Oxford-IIIT Pet Dataset (Parkhi et al., 2012): images, and lists with their classes.

    Keys are ``Abyssinian_1.jpg`` and so on; classes count from 1.
    """

    files: Files

    def entries(self) -> Iterator[SourceRecord]:
        for split in PETS_LISTS:
            for image, label in self._list(split):
                yield SourceRecord(split, f"{image}.jpg", {"class": label})

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        path = find_file(self.files, PETS_IMAGES)
        top = folder_prefix(open_archive(path), "images")
        yield from read_images(path, {top + name[1]: name for name in wanted})

    def _list(self, split: str) -> list[tuple[str, int]]:
        path, member = find_file(self.files, PETS_ANNOTATIONS), PETS_LISTS[split]
        with parse_errors(path, member):
            lines = map(str.split, read_text(path, member, "annotations").splitlines())
            return [(line[0], int(line[1])) for line in lines if line]
