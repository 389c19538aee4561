"""CIFAR-100 (Krizhevsky, 2009): two archives of the same images, one of raw bytes, one of pickles.

A split is held in memory as a whole: 154 MB at most.
"""

import io
import pickle
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import UserError
from bench.prepare.containers.archives import opened
from bench.prepare.containers.members import below, file_of, understood
from bench.prepare.formats.base import Entry, Files, Name, Picture
from bench.prepare.formats.records import indices, require_equal

BINARY, PICKLED = "cifar-100-binary.tar.gz", "cifar-100-python.tar.gz"
PIXELS = 3 * 32 * 32  # bytes of an image: its three planes
ROW = 2 + PIXELS  # of a record in the binary archive: coarse class, fine class, image
Records = tuple[np.ndarray, np.ndarray]  # fine classes (N,), planes (N, 3072)


@dataclass(frozen=True)
class Cifar100:
    """Records are numbered in the order of their file."""

    files: Files

    def entries(self) -> Iterator[Entry]:
        for split, (fine, _) in self._splits({"train", "test"}):
            for index, label in enumerate(fine.tolist()):
                yield Entry(split, str(index), {"fine": label})

    def images(self, wanted: Collection[Name]) -> Iterator[tuple[Name, Picture]]:
        for split, (_, planes) in self._splits({split for split, _ in wanted}):
            for index in indices(wanted, split, len(planes), self._archive()):
                image = planes[index].reshape(3, 32, 32).transpose(1, 2, 0)  # (32, 32, 3)
                yield (split, str(index)), image

    def _archive(self) -> Path:
        return file_of(self.files, BINARY, PICKLED)

    def _splits(self, splits: set[str]) -> Iterator[tuple[str, Records]]:
        path = self._archive()
        folder, ending, read = LAYOUTS[BINARY if BINARY in self.files else PICKLED]
        top = below(opened(path), folder)
        names = {f"{top}{split}{ending}": split for split in splits}
        for name, content in opened(path).read(names) if names else ():
            yield names[name], read(content, f"{path}: {name}")


def _binary(content: bytes, origin: str) -> Records:
    if not content or len(content) % ROW:
        raise UserError(f"{origin} is cut short: {len(content):,} bytes, not a multiple of {ROW:,}")
    rows = np.frombuffer(content, np.uint8).reshape(-1, ROW)
    return rows[:, 1], rows[:, 2:]


def _pickled(content: bytes, origin: str) -> Records:
    held = _unpickled(content, origin)
    with understood(origin):
        fine, planes = np.asarray(held["fine_labels"], np.int64), np.asarray(held["data"])
        if planes.dtype != np.uint8:
            raise TypeError(f"images of {planes.dtype}")
        planes = planes.reshape(-1, PIXELS)
    require_equal(origin, len(fine), len(planes))
    return fine, planes


LAYOUTS: dict[str, tuple[str, str, Callable[[bytes, str], Records]]] = {
    BINARY: ("cifar-100-binary", ".bin", _binary),
    PICKLED: ("cifar-100-python", "", _pickled),
}


def _unpickled(content: bytes, origin: str) -> Any:
    """What a pickle holds, if that is arrays in plain containers: others could run code."""
    try:
        with understood(origin):
            return Arrays(io.BytesIO(content), encoding="latin1").load()
    except (pickle.UnpicklingError, ImportError) as error:
        raise UserError(f"{origin} is refused: {error}") from None


class Arrays(pickle.Unpickler):
    """Builds NumPy's arrays and nothing else that a pickle may name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in BUILDERS:
            raise pickle.UnpicklingError(f"a pickle of arrays has no need of {module}.{name}")
        return BUILDERS[module, name]


def _bytes(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    return text.encode("latin1")


RECONSTRUCT = np.empty(0).__reduce__()[0]
BUILDERS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _bytes,
}
