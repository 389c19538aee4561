"""Predicted classes of a cell and the true ones: a small .npz file, read within bounds.

A file may come from a stranger. Nothing in it is unpacked or allocated on the word of a header:
sizes are compared with what is there, and nothing is unpickled.
"""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from bench.records.entries import MAX_IMAGES
from bench.records.schema import Record
from bench.utils.errors import UserError, first_line
from bench.utils.files import read_regular_file

MAX_FILE_BYTES = 2**23  # two arrays of MAX_IMAGES take 4 MB before compression
MAX_HEADER_BYTES = 512  # of an array; numpy writes 128
MEMBERS = ("classes.npy", "labels.npy", "masked.npy")
ENTRY_MARK, MAX_ENTRY_MARKS = b"PK\x01\x02", 100  # compressed bytes hold a mark or two by chance
ENCRYPTED = 0x1  # of a member's flags
DTYPE = np.dtype("<i2")


class Predictions(NamedTuple):
    """The predicted classes of the images of a test set, (N,), and their labels, (N,)."""

    classes: NDArray[np.int16]
    labels: NDArray[np.int16] | None  # None: an early file without labels
    masked: NDArray[np.int16] | None = None  # predicted among the classes of a mask, (N,)

    def correct(self) -> NDArray[np.bool_] | None:
        """Return which predictions are correct, (N,), or None without labels."""
        return None if self.labels is None else self.classes == self.labels

    def sha256(self) -> str:
        """Hash the predicted classes, as the record names them."""
        return hashlib.sha256(self.classes.tobytes()).hexdigest()

    def masked_sha256(self) -> str:
        """Hash the classes predicted among a mask's; empty if there is no mask."""
        return "" if self.masked is None else hashlib.sha256(self.masked.tobytes()).hexdigest()

    def misfit(self, record: Record) -> str:
        """Return why these cannot be a record's predictions, as a clause; empty if they can.

        The accuracy that they give is not compared.
        """
        if record.outcome is None:
            return "has predictions but no outcome"
        said = record.outcome.predictions, record.outcome.test_images
        return self._misfit(record, *said, "")

    def shift_misfit(self, record: Record, shift: str) -> str:
        """Return why these cannot be a record's predictions of a further test set, as `misfit`."""
        if record.outcome is None or shift not in record.outcome.shifts:
            return f"has predictions of {shift} but no score on it"
        said = record.outcome.shifts[shift]
        if self.masked_sha256() != said.masked_predictions:
            return f"names other masked predictions of {shift}"
        return self._misfit(record, said.predictions, said.images, f" of {shift}")

    def _misfit(self, record: Record, sha256: str, images: int, of: str) -> str:
        if self.sha256() != sha256:
            return f"names other predictions{of}"
        classes = record.settings.classes
        if len(self.classes) != images:
            return f"has {images:,} test images{of}; {len(self.classes):,} were predicted"
        arrays = {"predicted classes": self.classes, "labels": self.labels, "masked": self.masked}
        for what, found in arrays.items():
            if found is not None and not 0 <= found.min() <= found.max() < classes:
                return f"has {classes} classes; {what}{of} are from {found.min()} to {found.max()}"
        return ""

    def to_bytes(self) -> bytes:
        """Serialise to the file that `read_predictions` reads."""
        stream = io.BytesIO()
        arrays: dict[str, Any] = {"classes": self.classes}
        if self.labels is not None:
            arrays["labels"] = self.labels
        if self.masked is not None:
            arrays["masked"] = self.masked
        np.savez_compressed(stream, **arrays)
        return stream.getvalue()


def read_predictions(path: Path) -> Predictions | None:
    """Read a file of predictions, or return None if there is no file.

    Raises `UserError` for anything else than a regular file with one or two arrays of int16 as
    `Predictions.to_bytes` writes them.
    """
    try:
        return _parse(read_regular_file(path, MAX_FILE_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        why = error.strerror or first_line(error)
    except Exception as error:  # zipfile and numpy raise many kinds for damaged files
        why = first_line(error)
    raise UserError(f"{path} holds no predictions: {why}")


def _parse(content: bytes) -> Predictions:
    if content.count(ENTRY_MARK) > MAX_ENTRY_MARKS:  # a list of members takes memory, too
        raise ValueError(f"{' and '.join(MEMBERS)} were expected; it has many more members")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        if sorted(names) not in [[*MEMBERS[:count]] for count in range(1, len(MEMBERS) + 1)]:
            shown = ascii(", ".join(names[:3]))
            raise ValueError(f"{' and '.join(MEMBERS)} were expected; its members are {shown}")
        found = {name: _parse_array(_read_member(archive, name), name) for name in names}
    classes, labels, masked = (found.get(name) for name in MEMBERS)
    assert classes is not None
    if labels is not None and len(labels) != len(classes):
        raise ValueError(f"it has {len(classes):,} predicted classes and {len(labels):,} labels")
    if masked is not None and len(masked) != len(classes):
        raise ValueError(f"it has {len(classes):,} predicted classes and {len(masked):,} masked")
    return Predictions(classes, labels, masked)


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Unpack a member, up to the size of the largest possible array."""
    info, limit = archive.getinfo(name), MAX_HEADER_BYTES + DTYPE.itemsize * MAX_IMAGES
    if info.flag_bits & ENCRYPTED:
        raise ValueError(f"{name} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed by method {info.compress_type}, not by Deflate")
    with archive.open(info) as member:
        content = member.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{name} unpacks to more than {limit:,} bytes")
    return content


def _parse_array(content: bytes, name: str) -> NDArray[np.int16]:
    stream = io.BytesIO(content)
    if npy.read_magic(stream) != (1, 0):
        raise ValueError(f"{name} is not of version 1.0 of numpy's format")
    shape, fortran, dtype = npy.read_array_header_1_0(stream, max_header_size=MAX_HEADER_BYTES)
    if dtype != DTYPE or fortran or len(shape) != 1:
        raise ValueError(f"{name} should be one row of {DTYPE.name}; it is {dtype} of {shape}")
    left = len(content) - stream.tell()
    if not 1 <= shape[0] <= MAX_IMAGES or left != shape[0] * DTYPE.itemsize:
        raise ValueError(f"{name} should have 1 to {MAX_IMAGES:,} values, all of them there")
    return np.frombuffer(content, DTYPE, offset=stream.tell())
