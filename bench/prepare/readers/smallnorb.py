"""Reader of smallNORB (LeCun et al., 2004), https://cs.nyu.edu/~ylclab/data/norb-v1.0-small.

Its files are gzipped matrices: a magic number for the type, the number of dimensions, the sizes (at
least three), and the values, all little-endian. They are read as a stream, one image at a time; of
a stereo pair, the left one is used.
"""

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from gzip import GzipFile

import numpy as np

from bench.prepare.archives import MAX_MEMBER_BYTES, find_file, open_gzip
from bench.prepare.readers.base import (
    Files,
    ImageData,
    RecordKey,
    SourceRecord,
    require_equal_counts,
    wanted_indices,
)
from bench.utils.errors import UserError

STEMS = {
    "train": "smallnorb-5x46789x9x18x6x2x96x96-training",
    "test": "smallnorb-5x01235x9x18x6x2x96x96-testing",
}
MATRIX_TYPES: dict[int, np.dtype] = {0x1E3D4C55: np.dtype("u1"), 0x1E3D4C54: np.dtype("<i4")}
PAIR_SHAPE = (2, 96, 96)
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
    if min(shape) < 1 or math.prod(shape[1:]) * 4 > MAX_MEMBER_BYTES:
        raise UserError(f"{origin}: a matrix of shape {shape}")
    return MatrixStream(stream, origin, shape, MATRIX_TYPES[magic])


def _read_exactly(stream: GzipFile, size: int, origin: str) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise UserError(f"{origin} is cut short: {len(content):,} bytes, not {size:,}")
    return content
