"""Reader of dSprites (Matthey et al., 2017), https://github.com/deepmind/dsprites-dataset.

It is published as HDF5 and as npz. The images of the npz file, 3 GB decompressed, are read as a
stream; its pickled metadata are never read.
"""

import math
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from bench.prepare.archives import find_file, parse_errors
from bench.prepare.readers.base import (
    Files,
    ImageData,
    RecordKey,
    SourceRecord,
    open_hdf5_array,
    read_hdf5_rows,
    require_equal_counts,
    wanted_indices,
)
from bench.utils.errors import UserError

STEM = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64"
LATENTS = ("shape", "scale", "orientation", "x", "y")  # columns of the classes, after the colour
IMAGE_SHAPE = (64, 64)
IMAGES_PER_READ = 256


@dataclass(frozen=True)
class Dsprites:
    """Images of one split, numbered in the order of their file, whose pixels are 0 or 1."""

    files: Files

    def entries(self) -> Iterator[SourceRecord]:
        path = self._path()
        classes = self._classes()
        if classes.ndim != 2 or classes.shape[1] != 1 + len(LATENTS):
            raise UserError(f"{path}: latent classes of shape {classes.shape}; expected (N, 6)")
        require_equal_counts(path, len(classes), self._count())
        for index, row in enumerate(classes):
            yield SourceRecord(
                "train", str(index), dict(zip(LATENTS, row[1:].tolist(), strict=True))
            )

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        path = self._path()
        indices = wanted_indices(wanted, "train", self._count(), path)
        for index, image in self._rows(indices):
            if image.shape != IMAGE_SHAPE or image.dtype != np.uint8:
                raise UserError(f"{path}: image {index} is {image.dtype} {image.shape}")
            yield ("train", str(index)), image * np.uint8(255)

    def _path(self) -> Path:
        return find_file(self.files, f"{STEM}.hdf5", f"{STEM}.npz")

    def _classes(self) -> np.ndarray:
        if (path := self._path()).suffix == ".hdf5":
            with open_hdf5_array(path, "latents/classes", path) as data:
                return data[:]
        with self._member("latents_classes") as (stream, shape, dtype):
            return _read_block(stream, shape, dtype)

    def _count(self) -> int:
        if (path := self._path()).suffix == ".hdf5":
            with open_hdf5_array(path, "imgs", path) as data:
                return len(data)
        with self._member("imgs") as (_, shape, _):
            return shape[0]

    def _rows(self, indices: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        if (path := self._path()).suffix == ".hdf5":
            with open_hdf5_array(path, "imgs", path) as data:
                yield from read_hdf5_rows(data, indices, path)
            return
        with self._member("imgs") as (stream, shape, dtype):
            left = iter(indices)
            index = next(left, None)
            for start in range(0, shape[0], IMAGES_PER_READ):
                if index is None:
                    return
                block = _read_block(
                    stream, (min(IMAGES_PER_READ, shape[0] - start), *shape[1:]), dtype
                )
                while index is not None and index < start + len(block):
                    yield index, block[index - start]
                    index = next(left, None)

    @contextmanager
    def _member(self, name: str) -> Iterator[tuple[IO[bytes], tuple[int, ...], np.dtype]]:
        """Open an array of the npz file as a stream, positioned after its header."""
        path = find_file(self.files, f"{STEM}.npz")
        origin = f"{path}: {name}.npy"
        with (
            parse_errors(origin),
            zipfile.ZipFile(path) as file,
            file.open(f"{name}.npy") as stream,
        ):
            version = npy.read_magic(stream)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, by_columns, dtype = read(stream)
            if by_columns or dtype.hasobject or not shape:
                raise ValueError(f"an array of {dtype} {shape}")
            yield stream, shape, dtype


def _read_block(stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    size = math.prod(shape) * dtype.itemsize
    content = stream.read(size)
    if len(content) < size:
        raise EOFError(f"{len(content):,} bytes where {size:,} were announced")
    return np.frombuffer(content, dtype).reshape(shape)
