"""What every format is read as: first all records, then the images of some of them."""

# MERGED bench.prepare.readers.base: """Which of a source's records are wanted, and whether each has a label."""
# MERGED bench.prepare.readers.base: """HDF5 files, a chunk at a time."""
# MERGED bench.prepare.readers.base: """MATLAB files, read by SciPy."""
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from bench.prepare.archives import parse_errors
from bench.utils.errors import UserError, first_line

Annotation = int | float | str
RecordKey = tuple[str, str]  # a split of the source, and a record's key in it
ImageData = bytes | np.ndarray  # a file as published; or pixels, uint8, (H, W) or (H, W, 3)


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One record of a source, without its image."""

    split: str  # of the source: train, validation, test
    key: str  # what the selection rule calls it there
    facts: Mapping[str, Annotation]  # its annotations, by the names that cards use


class SourceReader(Protocol):
    """Reads one source.

    Both verbs go through a source once and in its own order, hold no more than a few images, and
    raise `UserError` for what is absent or broken, naming the archive and the member.
    """

    def entries(self) -> Iterator[SourceRecord]:
        """Every record, without its image."""
        ...

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        """The images of those records, in whatever order is quickest to read."""
        ...


Files = Mapping[str, Path]  # those that are there, by their names in the source's card
ReaderFactory = Callable[
    ..., SourceReader
]  # takes the files, and by name the options of the source's card


def require_equal_counts(origin: object, labels: int, images: int) -> None:
    """Raise `UserError` where a file has not one label an image."""
    if labels != images:
        raise UserError(f"{origin}: {labels:,} labels for {images:,} images")


def wanted_indices(
    wanted: Collection[RecordKey], split: str, count: int, origin: object, prefix: str = ""
) -> list[int]:
    """The numbers of a split's wanted records, ascending; raises `UserError` for one beyond."""
    chosen = sorted(int(key.removeprefix(prefix)) for where, key in wanted if where == split)
    if chosen and chosen[-1] >= count:
        raise UserError(f"{origin}: no record {chosen[-1]}; it holds {count:,}")
    return chosen


def wanted_keys(wanted: Collection[RecordKey], split: str) -> set[str]:
    """The wanted records of a split."""
    return {key for where, key in wanted if where == split}


@contextmanager
def open_hdf5_array(path: Path, name: str, origin: object) -> Iterator[h5py.Dataset]:
    """One array of a file, opened; `origin` is what messages call it."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise UserError(f"{origin} is broken or cut short: {first_line(error)}") from None
    with file:
        if not isinstance(file.get(name), h5py.Dataset):
            raise UserError(f"{origin} holds no array {name}")
        yield file[name]


def read_hdf5_rows(
    data: h5py.Dataset, wanted: list[int], origin: object
) -> Iterator[tuple[int, np.ndarray]]:
    """Those rows of an array, ascending; each of the file's chunks is unpacked once."""
    step = data.chunks[0] if data.chunks else 1
    for chunk, members in groupby(wanted, key=lambda row: row // step):
        try:
            held = data[chunk * step : (chunk + 1) * step]
        except OSError as error:
            raise UserError(f"{origin} is broken: {first_line(error)}") from None
        for row in members:
            yield row, held[row - chunk * step]


def read_matlab_variables(content: Path | bytes, origin: object, *names: str) -> list[Any]:
    """Those variables, without their dimensions of length 1 and wholly in memory."""
    with parse_errors(origin):
        try:
            held = scipy.io.loadmat(
                _matlab_file(content), squeeze_me=True, variable_names=list(names)
            )
        except (MatReadError, NotImplementedError) as error:
            raise UserError(f"{origin} cannot be read: {error}") from None
    for name in names:
        if name not in held:
            raise UserError(f"{origin} holds no variable {name}")
    return [held[name] for name in names]


def read_matlab_shape(content: Path | bytes, origin: object, name: str) -> tuple[int, ...]:
    """A variable's dimensions; the variable is not read."""
    with parse_errors(origin):
        for held, dimensions, _ in scipy.io.whosmat(_matlab_file(content)):
            if held == name:
                return tuple(dimensions)
    raise UserError(f"{origin} holds no variable {name}")


def _matlab_file(content: Path | bytes) -> str | BytesIO:
    return BytesIO(content) if isinstance(content, bytes) else str(content)
