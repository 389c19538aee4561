"""The Describable Textures Dataset, Cimpoi et al., 2014: its first of ten partitions."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.prepare.containers.archives import opened
from bench.prepare.containers.members import below, file_of, pictures, understood
from bench.prepare.formats.base import Entry, Files, Name, Picture

TOP = "dtd"
LISTS = {"train": "train1", "validation": "val1", "test": "test1"}


@dataclass(frozen=True)
class Dtd:
    """Images in folders of classes, and lists of them: ``banded/banded_0002.jpg``."""

    files: Files
    archive: str  # the name of its file

    def entries(self) -> Iterator[Entry]:
        lists = self._lists()
        for split in LISTS:
            for key in lists[split]:
                yield Entry(split, key, {"class": key.partition("/")[0]})

    def images(self, wanted: Collection[Name]) -> Iterator[tuple[Name, Picture]]:
        path, top = self._place()
        yield from pictures(path, {f"{top}images/{name[1]}": name for name in wanted})

    def _place(self) -> tuple[Path, str]:
        path = file_of(self.files, self.archive)
        return path, below(opened(path), TOP)

    def _lists(self) -> dict[str, list[str]]:
        path, top = self._place()
        members = {f"{top}labels/{name}.txt": split for split, name in LISTS.items()}
        found = {}
        for member, content in opened(path).read(members):
            with understood(path, member):
                found[members[member]] = content.decode().split()
        return found
