"""HDF5 files, a chunk at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import h5py
import numpy as np

from bench.errors import UserError, first_line


@contextmanager
def array(path: Path, name: str, origin: object) -> Iterator[h5py.Dataset]:
    """One array of a file, opened; `origin` is what messages call it."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise UserError(f"{origin} is broken or cut short: {first_line(error)}") from None
    with file:
        if not isinstance(file.get(name), h5py.Dataset):
            raise UserError(f"{origin} holds no array {name}")
        yield file[name]


def rows(data: h5py.Dataset, wanted: list[int], origin: object) -> Iterator[tuple[int, np.ndarray]]:
    """Those rows of an array, ascending; each of the file's chunks is unpacked once."""
    step = data.chunks[0] if data.chunks else 1
    for chunk, members in groupby(wanted, key=lambda row: row // step):
        try:
            held = data[chunk * step : (chunk + 1) * step]
        except OSError as error:
            raise UserError(f"{origin} is broken: {first_line(error)}") from None
        for row in members:
            yield row, held[row - chunk * step]
