"""smallNORB (LeCun et al., 2004), https://cs.nyu.edu/~ylclab/data/norb-v1.0-small: packed matrices.

A matrix is its type's number, the count of its dimensions, these (three at least), its numbers;
all little-endian. It is read as a stream, an image at a time; of a pair, the left camera's.
"""

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from gzip import GzipFile

import numpy as np

from bench.errors import UserError
from bench.prepare.containers.archives import LARGEST, gunzipped
from bench.prepare.containers.members import file_of
from bench.prepare.formats.base import Entry, Files, Name, Picture
from bench.prepare.formats.records import indices, require_equal

STEMS = {
    "train": "smallnorb-5x46789x9x18x6x2x96x96-training",
    "test": "smallnorb-5x01235x9x18x6x2x96x96-testing",
}
TYPES: dict[int, np.dtype] = {0x1E3D4C55: np.dtype("u1"), 0x1E3D4C54: np.dtype("<i4")}
PAIR = (2, 96, 96)
INFO = (4,)


@dataclass(frozen=True)
class Smallnorb:
    """Records are numbered in the order of their files."""

    files: Files

    def entries(self) -> Iterator[Entry]:
        for split in STEMS:
            with self._matrix(split, "info") as matrix:
                if matrix.shape[1:] != INFO:
                    raise UserError(
                        f"{matrix.origin}: rows of shape {matrix.shape[1:]}, not {INFO}"
                    )
                seen = [row.tolist() for row in matrix]
            with self._matrix(split, "cat") as matrix:
                require_equal(matrix.origin, matrix.shape[0], len(seen))
                categories = [int(row) for row in matrix]
            with self._matrix(split, "dat") as pairs:
                require_equal(pairs.origin, len(seen), pairs.shape[0])
            for index, (category, row) in enumerate(zip(categories, seen, strict=True)):
                _, elevation, azimuth, _ = row  # instance first, lighting last
                facts = {"category": category, "elevation": elevation, "azimuth": azimuth}
                yield Entry(split, str(index), facts)

    def images(self, wanted: Collection[Name]) -> Iterator[tuple[Name, Picture]]:
        for split in sorted({split for split, _ in wanted}):
            with self._matrix(split, "dat") as pairs:
                if pairs.shape[1:] != PAIR or pairs.dtype != np.uint8:
                    raise UserError(f"{pairs.origin}: images of {pairs.dtype} {pairs.shape[1:]}")
                chosen = indices(wanted, split, pairs.shape[0], pairs.origin)
                for index, left in pairs.lefts(chosen):
                    yield (split, str(index)), left

    @contextmanager
    def _matrix(self, split: str, kind: str) -> Iterator["Matrix"]:
        path = file_of(self.files, f"{STEMS[split]}-{kind}.mat.gz")
        with gunzipped(path) as stream:
            yield _begun(stream, str(path))


@dataclass(frozen=True)
class Matrix:
    """A matrix whose rows are yet to be read."""

    stream: GzipFile
    origin: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def __iter__(self) -> Iterator[np.ndarray]:
        size = math.prod(self.shape[1:]) * self.dtype.itemsize
        for index in range(self.shape[0]):
            content = _taken(self.stream, size, f"{self.origin}: row {index}")
            yield np.frombuffer(content, self.dtype).reshape(self.shape[1:])

    def lefts(self, chosen: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """The first of each of those pairs, ascending."""
        left = set(chosen)
        for index, pair in zip(range(chosen[-1] + 1), self, strict=False):
            if index in left:
                yield index, pair[0]


def _begun(stream: GzipFile, origin: str) -> Matrix:
    magic, dimensions = np.frombuffer(_taken(stream, 8, origin), "<i4").tolist()
    if magic not in TYPES:
        raise UserError(
            f"{origin}: it begins with {magic:#x}, the number of no type of matrix here"
        )
    if not 1 <= dimensions <= 8:
        raise UserError(f"{origin}: {dimensions} dimensions; expected 1 to 8")
    sizes = np.frombuffer(_taken(stream, 4 * max(3, dimensions), origin), "<i4").tolist()
    shape = tuple(sizes[:dimensions])
    if min(shape) < 1 or math.prod(shape[1:]) * 4 > LARGEST:
        raise UserError(f"{origin}: a matrix of shape {shape}")
    return Matrix(stream, origin, shape, TYPES[magic])


def _taken(stream: GzipFile, size: int, origin: str) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise UserError(f"{origin} is cut short: {len(content):,} bytes, not {size:,}")
    return content
