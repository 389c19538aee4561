"""Reader of TFRecord files and the tf.train.Example messages in them, without TensorFlow.

A record is its length (uint64), a checksum of the length, its bytes, and a checksum of these. Only
the first checksum is verified, because a wrong length would lose all records after it. An Example
is a protocol buffer (https://protobuf.dev/programming-guides/encoding), which maps names to lists
of values.
"""

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from bench.prepare.archive_contents import MAX_MEMBER_BYTES, archive_errors, parse_errors
from bench.prepare.archives import find_file, open_archive
from bench.prepare.readers.base import Files, ImageData, RecordKey, SourceRecord
from bench.utils.errors import UserError

CRC32C_POLYNOMIAL = 0x82F63B78  # bit-reversed
VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5  # wire types
BYTES_LIST, INT64_LIST = 1, 3  # fields of a Feature; 2 is its list of floats
MAX_VARINT_BITS = 70  # ten groups of seven
FeatureValue = bytes | int


class LabelledImage(NamedTuple):
    """The fields used of an Example."""

    key: RecordKey
    label: int
    image: bytes


@dataclass(frozen=True)
class TFRecords:
    """Examples with the features ``image`` and ``label``, and others that make their key.

    It reads DMLab as published, and Caltech101 as TensorFlow Datasets prepares it.
    """

    files: Files
    archive: str  # the name of the archive, or of a folder of files
    shards: dict[str, str]  # patterns of file names, by split: dmlab-train.tfrecord*
    key: str  # a template of features in braces, and {class}
    classes: list[str] = field(default_factory=list)  # names by label, for {class}

    def entries(self) -> Iterator[SourceRecord]:
        for record in self._records():
            yield SourceRecord(*record.key, {"class": record.label})

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        left = set(wanted)
        for record in self._records():
            if record.key in left:
                left.remove(record.key)
                yield record.key, record.image
            if not left:
                return
        raise UserError(f"{find_file(self.files, self.archive)} lacks the record {min(left)[1]}")

    def _records(self) -> Iterator[LabelledImage]:
        path = find_file(self.files, self.archive)
        missing = set(self.shards)
        for member, stream in open_archive(path).streams(lambda name: bool(self._split(name))):
            split = self._split(member)
            missing.discard(split)
            for example in read_examples(path, member, stream):
                with parse_errors(path, member):
                    record = self._record(split, example)
                yield record
        if missing:
            raise UserError(f"{path} holds no file {self.shards[min(missing)]}")

    def _split(self, member: str) -> str:
        """Return the split of a shard; empty for other files."""
        name = PurePosixPath(member).name
        return next((s for s, shards in self.shards.items() if fnmatch(name, shards)), "")

    def _record(self, split: str, example: dict[str, FeatureValue]) -> LabelledImage:
        label, image = example["label"], example["image"]
        if not isinstance(label, int) or not isinstance(image, bytes):
            raise TypeError("a label must be a number, an image bytes")
        words = {k: v for k, v in example.items() if isinstance(v, bytes) and k != "image"}
        texts = {name: word.decode() for name, word in words.items()}
        texts["class"] = self.classes[label] if self.classes else str(label)
        return LabelledImage((split, self.key.format(**texts)), label, image)


def read_examples(path: Path, member: str, stream: IO[bytes]) -> Iterator[dict[str, FeatureValue]]:
    """Yield the Examples in a member of the archive at `path`."""
    with archive_errors(path):
        while head := stream.read(12):  # the length and its checksum
            content = stream.read(_record_length(path, member, head) + 4)[:-4]
            with parse_errors(path, member):
                example = parse_example(content)
            yield example


def _record_length(path: Path, member: str, head: bytes) -> int:
    if len(head) < 12:
        raise UserError(f"{path}: its member {member} is truncated")
    length, checksum = struct.unpack("<QI", head)
    if checksum != masked_crc32c(head[:8]) or length > MAX_MEMBER_BYTES:
        raise UserError(f"{path}: its member {member} has a record whose length fails its checksum")
    return int(length)


def masked_crc32c(content: bytes) -> int:
    """Return the checksum of TFRecord files: CRC-32C, rotated by 15 bits, plus a constant."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (CRC32C_POLYNOMIAL if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def parse_example(example: bytes) -> dict[str, FeatureValue]:
    """Return the first value of each feature of bytes or integers, by name."""
    values: dict[str, FeatureValue] = {}
    for features in _submessages(example, 1):
        for entry in _submessages(features, 1):
            [name], [feature] = _submessages(entry, 1), _submessages(entry, 2)
            values |= {name.decode(): value for value in _feature_values(feature)[:1]}
    return values


def _feature_values(feature: bytes) -> list[FeatureValue]:
    """Return all values of a list of bytes; of integers, if packed, only the first."""
    byte_lists = _submessages(feature, BYTES_LIST)
    integer_lists = _submessages(feature, INT64_LIST)
    contents = [value for values in byte_lists for _, value in _message_fields(values)]
    numbers = [value for values in integer_lists for _, value in _message_fields(values)]
    return contents + [_read_varint(n, 0)[0] if isinstance(n, bytes) else n for n in numbers]


def _submessages(message: bytes, number: int) -> list[bytes]:
    return [_require_bytes(value) for field, value in _message_fields(message) if field == number]


def _require_bytes(value: FeatureValue) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number stands where bytes should")
    return value


def _message_fields(message: bytes) -> Iterator[tuple[int, FeatureValue]]:
    """Yield the numbers and values of a message's fields."""
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = _read_varint(message, at)
            yield number, value
            continue
        if wire == LENGTH_DELIMITED:
            size, at = _read_varint(message, at)
        else:
            size = {FIXED64: 8, FIXED32: 4}[wire]
        if at + size > len(message):
            raise ValueError("a message is truncated")
        yield number, message[at : at + size]
        at += size


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """Decode a varint: groups of seven bits, lowest first; return it and the next offset."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift >= MAX_VARINT_BITS:
            raise ValueError("a number has more than 64 bits")
