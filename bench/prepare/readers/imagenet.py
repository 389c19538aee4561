"""Reader of ImageNet-1k (Russakovsky et al., 2015), https://image-net.org.

It comes as archives or as class folders. The training archive contains a tar file for each class;
the classes of the validation images are in the development kit.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, Protocol, cast

import numpy as np

from bench.prepare import tar_archives
from bench.prepare.archive_contents import (
    MAX_MEMBER_BYTES,
    parse_errors,
    require_all_found,
    require_max_size,
)
from bench.prepare.archives import FolderArchive, find_file, open_archive, read_member
from bench.prepare.readers.base import (
    Files,
    ImageData,
    RecordKey,
    SourceRecord,
    read_matlab_variables,
    wanted_keys,
)
from bench.utils.errors import UserError
from bench.utils.files import open_regular_file

TRAIN_ARCHIVE, VALIDATION_ARCHIVE = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
DEVKIT, DEVKIT_FOLDER = "ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_devkit_t12/data"
VALIDATION_LABELS = "ILSVRC2012_validation_ground_truth.txt"


class ImagenetSplit(Protocol):
    """The images of one split, by their file names."""

    def classes(self) -> Iterator[tuple[str, str]]:
        """Yield each image's file name and class."""
        ...

    def read(self, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
        """Yield images with their file names; raise `UserError` for missing ones."""
        ...


@dataclass(frozen=True)
class Imagenet:
    """Images with file names as keys, and WordNet IDs as classes: n01440764."""

    files: Files

    def entries(self) -> Iterator[SourceRecord]:
        for split, images in self._splits().items():
            for key, wnid in images.classes():
                yield SourceRecord(split, key, {"class": wnid})

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        for split, images in self._splits().items():
            if keys := wanted_keys(wanted, split):
                for key, content in images.read(keys):
                    yield (split, key), content

    def _splits(self) -> dict[str, ImagenetSplit]:
        return {"train": self._train(), "validation": self._validation()}

    def _train(self) -> ImagenetSplit:
        path = find_file(self.files, "train", TRAIN_ARCHIVE)
        return ClassFolderSplit(path) if path.is_dir() else NestedTarSplit(path)

    def _validation(self) -> ImagenetSplit:
        path = find_file(self.files, "val", VALIDATION_ARCHIVE)
        if path.is_dir() and any(below.is_dir() for below in path.iterdir()):
            return ClassFolderSplit(path)
        return NumberedSplit(path, find_file(self.files, DEVKIT))


@dataclass(frozen=True)
class ClassFolderSplit:
    """A split in class folders."""

    path: Path

    def classes(self) -> Iterator[tuple[str, str]]:
        for name in filter(_is_image, FolderArchive(self.path).names()):
            *_, wnid, key = ("", *PurePosixPath(name).parts)
            if not _is_class(wnid):
                raise UserError(f"{self.path}: {name} is in no folder of a class, as n01440764 is")
            yield key, wnid

    def read(self, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
        folder = FolderArchive(self.path)
        names = {n: key for n in folder.names() if (key := PurePosixPath(n).name) in wanted}
        require_all_found(self.path, wanted - set(names.values()), "images")
        for name, content in folder.read(names):
            yield names[name], content


@dataclass(frozen=True)
class NestedTarSplit:
    """A split in a tar file that contains a tar file for each class."""

    path: Path

    def classes(self) -> Iterator[tuple[str, str]]:
        for wnid, name, _ in self._members():
            yield PurePosixPath(name).name, wnid

    def read(self, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
        seen = set()
        for _, name, stream in self._members():
            if (key := PurePosixPath(name).name) in wanted:
                content = stream.read(MAX_MEMBER_BYTES + 1)
                require_max_size(self.path, name, len(content), len(content))
                yield key, content
                seen.add(key)
        require_all_found(self.path, wanted - seen, "images")

    def _members(self) -> Iterator[tuple[str, str, IO[bytes]]]:
        """Yield the class, the name and the content of each image."""
        with (
            parse_errors(self.path),
            open_regular_file(self.path, follow_links=True) as outer,
        ):
            for part, content in tar_archives.files_of(self.path, outer):
                wnid = PurePosixPath(part).stem
                if not _is_class(wnid):
                    raise UserError(f"{self.path}: {part} is no class, as n01440764.tar is")
                for name, image in tar_archives.files_of(self.path, cast(BinaryIO, content)):
                    yield wnid, name, image


@dataclass(frozen=True)
class NumberedSplit:
    """The numbered validation images, and the development kit with their classes."""

    path: Path
    kit: Path

    def classes(self) -> Iterator[tuple[str, str]]:
        wnids = self._wnids()
        lines = read_member(self.kit, f"{DEVKIT_FOLDER}/{VALIDATION_LABELS}").split()
        for index, line in enumerate(lines, start=1):
            if line.decode(errors="replace") not in wnids:
                raise UserError(f"{self.kit}: {VALIDATION_LABELS}:{index}: no class {line!r}")
            yield f"ILSVRC2012_val_{index:08d}.JPEG", wnids[line.decode()]

    def read(self, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
        return open_archive(self.path).read(wanted)

    def _wnids(self) -> dict[str, str]:
        """Return the classes by their numbers in the kit."""
        origin = f"{self.kit}: meta.mat"
        synsets = read_matlab_variables(
            read_member(self.kit, f"{DEVKIT_FOLDER}/meta.mat"), origin, "synsets"
        )[0]
        with parse_errors(origin):
            numbers, wnids = (np.atleast_1d(synsets[n]) for n in ("ILSVRC2012_ID", "WNID"))
            return {str(int(n)): str(wnid) for n, wnid in zip(numbers, wnids, strict=True)}


def _is_class(name: str) -> bool:
    return name[:1] == "n" and name[1:].isdecimal()


def _is_image(name: str) -> bool:
    return name.lower().endswith(".jpeg")
