"""A folder a class, without splits: EuroSAT, RESISC45."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from bench.errors import UserError
from bench.prepare.containers.archives import opened
from bench.prepare.containers.members import file_of, pictures
from bench.prepare.formats.base import Entry, Files, Name, Picture

ONLY = "train"  # what TensorFlow Datasets calls the one split


@dataclass(frozen=True)
class ClassFolders:
    """The images below the innermost folders of `archive`, whose names are the classes."""

    files: Files
    archive: str  # the name of its file
    suffix: str  # of an image's name
    key: str  # made of {folder} and {file}

    def entries(self) -> Iterator[Entry]:
        for member in self._members():
            yield Entry(ONLY, self._key(member), {"class": PurePosixPath(member).parent.name})

    def images(self, wanted: Collection[Name]) -> Iterator[tuple[Name, Picture]]:
        members = {(ONLY, self._key(member)): member for member in self._members()}
        found = {members.get(name, name[1]): name for name in wanted}
        yield from pictures(file_of(self.files, self.archive), found)

    def _members(self) -> list[str]:
        path = file_of(self.files, self.archive)
        found = [name for name in opened(path).names() if self._is_image(PurePosixPath(name))]
        if not found:
            raise UserError(f"{path} holds no {self.suffix} files in folders of classes")
        return found

    def _is_image(self, path: PurePosixPath) -> bool:
        hidden = path.name.startswith(".")  # what macOS adds to zip files
        return path.suffix == self.suffix and path.parent.name != "" and not hidden

    def _key(self, member: str) -> str:
        path = PurePosixPath(member)
        return self.key.format(folder=path.parent.name, file=path.name)
