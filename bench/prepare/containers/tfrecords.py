"""TFRecord files and the tf.train.Example messages in them, read without TensorFlow.

A record is its length (uint64), a checksum of that, its bytes, and a checksum of those: the first
checksum is held to, for what follows could not be found without it. An Example is a protocol
buffer (https://protobuf.dev/programming-guides/encoding), which maps names to lists of values.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bench.errors import UserError
from bench.prepare.containers.archives import LARGEST, sound
from bench.prepare.containers.members import understood

POLYNOMIAL = 0x82F63B78  # CRC-32C's, its bits reversed
VARINT, EIGHT, COUNTED, FOUR = 0, 1, 2, 5  # wire types
BYTES, INTEGERS = 1, 3  # lists of a Feature; 2 are floats
Value = bytes | int


def examples(path: Path, member: str, stream: IO[bytes]) -> Iterator[dict[str, Value]]:
    """The Examples in a member of the archive at `path`."""
    with sound(path):
        while head := stream.read(12):
            content = stream.read(_length(path, member, head) + 4)[:-4]
            with understood(path, member):
                example = first_values(content)
            yield example


def _length(path: Path, member: str, head: bytes) -> int:
    if len(head) < 12:
        raise UserError(f"{path}: its member {member} is cut short")
    length, checksum = struct.unpack("<QI", head)
    if checksum != masked_crc32c(head[:8]) or length > LARGEST:
        raise UserError(f"{path}: its member {member} has a record whose length fails its checksum")
    return int(length)


def masked_crc32c(content: bytes) -> int:
    """The checksum of TFRecord files: CRC-32C, turned by 15 bits, plus a constant."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def first_values(example: bytes) -> dict[str, Value]:
    """By their names, the first value of each feature that holds bytes or integers."""
    found: dict[str, Value] = {}
    for features in _nested(example, 1):
        for entry in _nested(features, 1):
            [name], [feature] = _nested(entry, 1), _nested(entry, 2)
            found |= {name.decode(): value for value in _values(feature)[:1]}
    return found


def _values(feature: bytes) -> list[Value]:
    """Of a list of bytes, all; of a list of integers, which may be packed, at least the first."""
    byte_lists = _nested(feature, BYTES)
    integer_lists = _nested(feature, INTEGERS)
    whole = [value for values in byte_lists for _, value in _fields(values)]
    numbers = [value for values in integer_lists for _, value in _fields(values)]
    return whole + [_varint(n, 0)[0] if isinstance(n, bytes) else n for n in numbers]


def _nested(message: bytes, number: int) -> list[bytes]:
    return [_counted(value) for field, value in _fields(message) if field == number]


def _counted(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number stands where bytes should")
    return value


def _fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """The numbers and values of a message's fields."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == COUNTED:
            size, at = _varint(message, at)
        else:
            size = {EIGHT: 8, FOUR: 4}[wire]
        if at + size > len(message):
            raise ValueError("a message is cut short")
        yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
