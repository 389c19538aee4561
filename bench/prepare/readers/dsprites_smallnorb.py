"""Readers of dSprites and smallNORB: images of objects, annotated with their factors.

dSprites (Matthey et al., 2017), https://github.com/deepmind/dsprites-dataset, is published as HDF5
and as npz. The images of the npz file, 3 GB decompressed, are read as a stream; its pickled
metadata are never read.

smallNORB (LeCun et al., 2004), https://cs.nyu.edu/~ylclab/data/norb-v1.0-small, is published as
gzipped matrices: a magic number for the type, the number of dimensions, the sizes (at least three),
and the values, all little-endian. They are read as a stream, one image at a time; of a stereo pair,
the left one is used.
"""

import math
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from gzip import GzipFile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from bench.prepare.archive_contents import MAX_MEMBER_BYTES, parse_errors
from bench.prepare.archives import find_file, open_gzip
from bench.prepare.readers.base import (
    Files,
    ImageData,
    RecordKey,
    SourceRecord,
    open_hdf5_array,
    read_hdf5_array,
    read_hdf5_rows,
    require_equal_counts,
    wanted_indices,
)
from bench.utils.errors import UserError
from bench.utils.files import open_regular_file

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
                return read_hdf5_array(data, path)
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
            open_regular_file(path, follow_links=True) as raw,
            zipfile.ZipFile(raw) as file,
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
    if size > MAX_MEMBER_BYTES:
        raise ValueError(f"an array of {dtype} {shape}, too much to be read at once")
    content = stream.read(size)
    if len(content) < size:
        raise EOFError(f"{len(content):,} bytes where {size:,} were announced")
    return np.frombuffer(content, dtype).reshape(shape)


STEMS = {
    "train": "smallnorb-5x46789x9x18x6x2x96x96-training",
    "test": "smallnorb-5x01235x9x18x6x2x96x96-testing",
}
MATRIX_TYPES: dict[int, np.dtype] = {0x1E3D4C55: np.dtype("u1"), 0x1E3D4C54: np.dtype("<i4")}
PAIR_SHAPE = (2, 96, 96)
MAX_ROWS = 1_000_000
INFO_SHAPE = (4,)


@dataclass(frozen=True)
class Smallnorb:
    """Left images of stereo pairs, numbered in the order of their files."""

    files: Files

    def entries(self) -> Iterator[SourceRecord]:
        for split in STEMS:
            with self._matrix(split, "info") as matrix:
                if matrix.shape[1:] != INFO_SHAPE:
                    raise UserError(
                        f"{matrix.origin}: rows of shape {matrix.shape[1:]}, not {INFO_SHAPE}"
                    )
                rows = [row.tolist() for row in matrix]
            with self._matrix(split, "cat") as matrix:
                require_equal_counts(matrix.origin, matrix.shape[0], len(rows))
                categories = [int(row) for row in matrix]
            with self._matrix(split, "dat") as pairs:
                require_equal_counts(pairs.origin, len(rows), pairs.shape[0])
            for index, (category, row) in enumerate(zip(categories, rows, strict=True)):
                _, elevation, azimuth, _ = row  # instance first, lighting last
                facts = {"category": category, "elevation": elevation, "azimuth": azimuth}
                yield SourceRecord(split, str(index), facts)

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        for split in sorted({split for split, _ in wanted}):
            with self._matrix(split, "dat") as pairs:
                if pairs.shape[1:] != PAIR_SHAPE or pairs.dtype != np.uint8:
                    raise UserError(f"{pairs.origin}: images of {pairs.dtype} {pairs.shape[1:]}")
                indices = wanted_indices(wanted, split, pairs.shape[0], pairs.origin)
                for index, left in pairs.left_images(indices):
                    yield (split, str(index)), left

    @contextmanager
    def _matrix(self, split: str, kind: str) -> Iterator["MatrixStream"]:
        path = find_file(self.files, f"{STEMS[split]}-{kind}.mat.gz")
        with open_gzip(path) as stream:
            yield _open_matrix(stream, str(path))


@dataclass(frozen=True)
class MatrixStream:
    """A matrix whose rows are read from a stream, once."""

    stream: GzipFile
    origin: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def __iter__(self) -> Iterator[np.ndarray]:
        size = math.prod(self.shape[1:]) * self.dtype.itemsize
        for index in range(self.shape[0]):
            content = _read_exactly(self.stream, size, f"{self.origin}: row {index}")
            yield np.frombuffer(content, self.dtype).reshape(self.shape[1:])

    def left_images(self, indices: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the first image of each of those pairs; `indices` are ascending."""
        wanted = set(indices)
        for index, pair in zip(range(indices[-1] + 1), self, strict=False):
            if index in wanted:
                yield index, pair[0]


def _open_matrix(stream: GzipFile, origin: str) -> MatrixStream:
    magic, dimensions = np.frombuffer(_read_exactly(stream, 8, origin), "<i4").tolist()
    if magic not in MATRIX_TYPES:
        raise UserError(
            f"{origin}: it begins with {magic:#x}, the number of no type of matrix here"
        )
    if not 1 <= dimensions <= 8:
        raise UserError(f"{origin}: {dimensions} dimensions; expected 1 to 8")
    sizes = np.frombuffer(_read_exactly(stream, 4 * max(3, dimensions), origin), "<i4").tolist()
    shape = tuple(sizes[:dimensions])
    row_bytes = math.prod(shape[1:]) * MATRIX_TYPES[magic].itemsize
    if min(shape) < 1 or row_bytes > MAX_MEMBER_BYTES or shape[0] > MAX_ROWS:
        raise UserError(f"{origin}: a matrix of shape {shape}")
    return MatrixStream(stream, origin, shape, MATRIX_TYPES[magic])


def _read_exactly(stream: GzipFile, size: int, origin: str) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise UserError(f"{origin} is truncated: {len(content):,} bytes, not {size:,}")
    return content
