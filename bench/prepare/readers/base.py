"""Interface of readers of sources, and helpers for file formats that several of them share.

The formats are HDF5, MATLAB, and images that a source's published form decodes with OpenCV.
"""

import math
import os
import struct
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import accumulate, groupby
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import h5py
import numpy as np
import scipy.io

from bench.data import image_files
from bench.prepare.archive_contents import MAX_MEMBER_BYTES, library_errors
from bench.utils.errors import UserError, first_line, reason
from bench.utils.files import open_regular_file, read_regular_file

MATLAB_HEADER_BYTES, MATLAB_COMPRESSED = 128, 15  # of version 5
INFLATE_BYTES = 2**20  # at a time

Annotation = int | float | str
RecordKey = tuple[str, str]  # a split of the source, and a record's key in it
ImageData = bytes | np.ndarray  # a file as published; or pixels, uint8, (H, W) or (H, W, 3)
Files = Mapping[str, Path]  # the files at hand, by their names in the source's card


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One record of a source, without its image."""

    split: str  # of the source: train, validation, test
    key: str  # unique in the split; the task's selection is by it
    facts: Mapping[str, Annotation]  # its annotations, as cards name them


class SourceReader(Protocol):
    """Reader of one source.

    Both methods read a source once, hold only a few images in memory, and raise `UserError` for
    missing or broken files, with the archive and the member.
    """

    def entries(self) -> Iterator[SourceRecord]:
        """Yield every record, in the source's order."""
        ...

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        """Yield the images of those records, in the order that is quickest to read."""
        ...


# takes the files and, as keyword arguments, the options of the source's card
ReaderFactory = Callable[..., SourceReader]


def require_equal_counts(origin: object, labels: int, images: int) -> None:
    """Raise `UserError` unless there is one label per image."""
    if labels != images:
        raise UserError(f"{origin}: {labels:,} labels for {images:,} images")


def wanted_indices(
    wanted: Collection[RecordKey], split: str, count: int, origin: object, prefix: str = ""
) -> list[int]:
    """Return the sorted indices of a split's wanted records; raise `UserError` beyond `count`."""
    indices = sorted(int(key.removeprefix(prefix)) for where, key in wanted if where == split)
    if indices and indices[-1] >= count:
        raise UserError(f"{origin}: no record {indices[-1]}; it holds {count:,}")
    return indices


def wanted_keys(wanted: Collection[RecordKey], split: str) -> set[str]:
    """Return the keys of a split's wanted records."""
    return {key for where, key in wanted if where == split}


@contextmanager
def open_hdf5_array(path: Path, name: str, origin: object) -> Iterator[h5py.Dataset]:
    """Open an array of an HDF5 file; `origin` is the file's name in messages.

    Raises `UserError` for what is not an array of numbers, stored in the file itself.
    """
    try:
        with open_regular_file(path, follow_links=True):  # HDF5 would wait for a FIFO
            file = h5py.File(path, "r")
    except OSError as error:
        raise UserError(f"{origin} is corrupt or truncated: {reason(error)}") from None
    with file:
        yield _require_array(file, name, origin)


def _require_array(file: h5py.File, name: str, origin: object) -> h5py.Dataset:
    with library_errors(origin):
        data = file.get(name) if _is_inside(file, name) else None
        if not isinstance(data, h5py.Dataset):
            raise UserError(f"{origin} holds no array {name}")
        elsewhere = data.is_virtual or data.external
        if elsewhere or data.dtype.kind not in "biuf" or not data.ndim:
            what = "in other files" if elsewhere else f"of {data.dtype} {data.shape}"
            raise UserError(f"{origin}: its array {name} is {what}; numbers in rows were expected")
    return data


def _is_inside(file: h5py.File, name: str) -> bool:
    """Return whether no link on the way to an array leads out of its file."""
    steps = accumulate(name.split("/"), "{}/{}".format)
    return all(isinstance(file.get(step, getlink=True), h5py.HardLink) for step in steps)


def read_hdf5_array(data: h5py.Dataset, origin: object) -> np.ndarray:
    """Read a whole array, of labels for example."""
    _require_memory(math.prod(data.shape) * data.dtype.itemsize, origin)
    with library_errors(origin):
        return data[:]


def read_hdf5_rows(
    data: h5py.Dataset, wanted: list[int], origin: object
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield rows of an array, in ascending order; each chunk of the file is decompressed once."""
    step = data.chunks[0] if data.chunks else 1
    chunk_shape = data.chunks or (1, *data.shape[1:])
    for shape in (chunk_shape, (step, *data.shape[1:])):
        _require_memory(math.prod(shape) * data.dtype.itemsize, origin)
    for chunk, members in groupby(wanted, key=lambda row: row // step):
        with library_errors(origin):
            block = data[chunk * step : (chunk + 1) * step]
        for row in members:
            yield row, block[row - chunk * step]


def _require_memory(size: int, origin: object) -> None:
    if size > MAX_MEMBER_BYTES:
        raise UserError(
            f"{origin}: {size:,} bytes are to be read at once; at most {MAX_MEMBER_BYTES:,} are"
        )


def read_matlab_variables(content: Path | bytes, origin: object, *names: str) -> list[Any]:
    """Load variables of a MATLAB file into memory, without dimensions of length 1."""
    with library_errors(origin):
        variables = scipy.io.loadmat(
            _matlab_file(content, origin), squeeze_me=True, variable_names=list(names)
        )
    for name in names:
        if name not in variables:
            raise UserError(f"{origin} holds no variable {name}")
    return [variables[name] for name in names]


def read_matlab_shape(content: Path | bytes, origin: object, name: str) -> tuple[int, ...]:
    """Return the shape of a variable of a MATLAB file without loading it."""
    with library_errors(origin):
        for variable, shape, _ in scipy.io.whosmat(_matlab_file(content, origin)):
            if variable == name:
                return tuple(shape)
    raise UserError(f"{origin} holds no variable {name}")


def _matlab_file(content: Path | bytes, origin: object) -> BytesIO:
    """Read a MATLAB file, and require that what it has compressed does not swell."""
    if isinstance(content, Path):
        content = read_regular_file(content, MAX_MEMBER_BYTES, follow_links=True)
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    at = MATLAB_HEADER_BYTES if order else len(content)
    while at + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        if kind == MATLAB_COMPRESSED:
            _require_memory(_inflated_size(content[at + 8 : at + 8 + size]), origin)
        at += 8 + size
    return BytesIO(content)


def _inflated_size(content: bytes) -> int:
    """Return the size to which zlib decompresses; of what is too large, a size too large."""
    unpacker, size = zlib.decompressobj(), 0
    while content and size <= MAX_MEMBER_BYTES:
        size += len(unpacker.decompress(content, INFLATE_BYTES))
        content = unpacker.unconsumed_tail
    return size


def import_opencv() -> ModuleType:
    """Import OpenCV, an optional dependency; raise `UserError` if it is not installed."""
    # it is read once, when OpenCV is imported
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(image_files.MAX_PIXELS))
    try:
        import cv2
    except ImportError:
        raise UserError(
            "OpenCV makes these images as published, and it is not installed: "
            "pip install opencv-python-headless"
        ) from None
    return cv2


def decode_bgr(path: Path, member: str, content: bytes) -> np.ndarray:
    """Decode a member of the archive at `path` with OpenCV: uint8, BGR, (H, W, 3)."""
    cv2 = import_opencv()
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    try:
        image_files.require_known_format(content)
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except (ValueError, cv2.error) as error:
        raise UserError(f"{path}: its member {member} is no image: {first_line(error)}") from None
    if image is None:
        raise UserError(f"{path}: its member {member} cannot be decoded as an image")
    return image


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """Encode BGR pixels as JPEG with OpenCV, whose default quality is 95."""
    cv2 = import_opencv()
    _, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(content)
