"""CUB-200-2011 (Wah et al., 2011) and NABirds (Van Horn et al., 2015): three lists at images/."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.prepare.containers.archives import opened
from bench.prepare.containers.members import below, file_of, pictures
from bench.prepare.formats.base import Entry, Files, Name, Picture

LISTS = ("images.txt", "image_class_labels.txt", "train_test_split.txt")
SPLITS = {"1": "train", "0": "test"}


@dataclass(frozen=True)
class Birds:
    """Records are called by their paths below images/; the split is the authors'."""

    files: Files
    archive: str
    folder: str  # at the top of the archive

    def entries(self) -> Iterator[Entry]:
        path = file_of(self.files, self.archive)
        paths, classes, splits = self._lists(path)
        for number, key in paths.items():
            try:
                facts = {"class": int(classes[number])}
                yield Entry(SPLITS[splits[number]], key, facts)
            except (KeyError, ValueError):
                raise UserError(
                    f"{path}: no class and split of image {number} in {LISTS}"
                ) from None

    def images(self, wanted: Collection[Name]) -> Iterator[tuple[Name, Picture]]:
        path = file_of(self.files, self.archive)
        top = below(opened(path), self.folder)
        yield from pictures(path, {f"{top}images/{name[1]}": name for name in wanted})

    def _lists(self, path: Path) -> list[dict[str, str]]:
        top = below(opened(path), self.folder)
        names = [top + name for name in LISTS]
        held = dict(opened(path).read(names))
        return [_columns(held[name], f"{path}: {name}") for name in names]


def _columns(content: bytes, origin: str) -> dict[str, str]:
    """The second column by the first."""
    columns = {}
    for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
        first, _, second = line.strip().partition(" ")
        if not second:
            raise UserError(f"{origin}:{number}: expected two columns, got {line!r}")
        columns[first] = second
    return columns
