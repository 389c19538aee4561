"""The Oxford-IIIT Pet Dataset, Parkhi et al., 2012: images, and lists with their classes."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from bench.prepare.containers.archives import opened
from bench.prepare.containers.members import below, file_of, pictures, text, understood
from bench.prepare.formats.base import Entry, Files, Name, Picture

IMAGES, ANNOTATIONS = "images.tar.gz", "annotations.tar.gz"
LISTS = {"train": "trainval.txt", "test": "test.txt"}


@dataclass(frozen=True)
class Pets:
    """``Abyssinian_1.jpg`` and so on; classes count from 1."""

    files: Files

    def entries(self) -> Iterator[Entry]:
        for split in LISTS:
            for image, label in self._list(split):
                yield Entry(split, f"{image}.jpg", {"class": label})

    def images(self, wanted: Collection[Name]) -> Iterator[tuple[Name, Picture]]:
        path = file_of(self.files, IMAGES)
        top = below(opened(path), "images")
        yield from pictures(path, {top + name[1]: name for name in wanted})

    def _list(self, split: str) -> list[tuple[str, int]]:
        path, member = file_of(self.files, ANNOTATIONS), LISTS[split]
        with understood(path, member):
            lines = map(str.split, text(path, member, "annotations").splitlines())
            return [(line[0], int(line[1])) for line in lines if line]
