"""TFRecord files, one or several a split: DMLab as published, Caltech101 as TFDS prepares it."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import NamedTuple

from bench.errors import UserError
from bench.prepare.containers.archives import opened
from bench.prepare.containers.members import file_of, understood
from bench.prepare.containers.tfrecords import Value, examples
from bench.prepare.formats.base import Entry, Files, Name, Picture


class Record(NamedTuple):
    """What is used of an Example."""

    name: Name
    label: int
    image: bytes


@dataclass(frozen=True)
class TFRecords:
    """Examples with the features ``image`` and ``label``, and one that names them."""

    files: Files
    archive: str  # the name of its file, or of the folder of files
    shards: dict[str, str]  # each split's, whatever folder they lie in: dmlab-train.tfrecord*
    key: str  # made of features' names in braces, or of {class}
    classes: list[str] = field(default_factory=list)  # names, by label; for keys that hold them

    def entries(self) -> Iterator[Entry]:
        for record in self._records():
            yield Entry(*record.name, {"class": record.label})

    def images(self, wanted: Collection[Name]) -> Iterator[tuple[Name, Picture]]:
        left = set(wanted)
        for record in self._records():
            if record.name in left:
                left.remove(record.name)
                yield record.name, record.image
            if not left:
                return
        raise UserError(f"{file_of(self.files, self.archive)} lacks the record {min(left)[1]}")

    def _records(self) -> Iterator[Record]:
        path = file_of(self.files, self.archive)
        absent = set(self.shards)
        for member, stream in opened(path).streams(lambda name: bool(self._split(name))):
            split = self._split(member)
            absent.discard(split)
            for example in examples(path, member, stream):
                with understood(path, member):
                    record = self._record(split, example)
                yield record
        if absent:
            raise UserError(f"{path} holds no file {self.shards[min(absent)]}")

    def _split(self, member: str) -> str:
        """That of the shard; empty if it is none."""
        name = PurePosixPath(member).name
        return next((s for s, shards in self.shards.items() if fnmatch(name, shards)), "")

    def _record(self, split: str, example: dict[str, Value]) -> Record:
        label, image = example["label"], example["image"]
        if not isinstance(label, int) or not isinstance(image, bytes):
            raise TypeError("a label must be a number, an image bytes")
        words = {k: v for k, v in example.items() if isinstance(v, bytes) and k != "image"}
        texts = {name: word.decode() for name, word in words.items()}
        texts["class"] = self.classes[label] if self.classes else str(label)
        return Record((split, self.key.format(**texts)), label, image)
