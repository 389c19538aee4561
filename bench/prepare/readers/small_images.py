"""Readers of 32x32 images: CIFAR-100 and SVHN.

A split is held in memory: at most 154 MB of CIFAR-100 and, as its library cannot read parts of a
MATLAB file, 225 MB of SVHN.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.prepare.archive_contents import library_errors, parse_errors
from bench.prepare.archives import find_file, folder_prefix, open_archive
from bench.prepare.readers.base import (
    Files,
    ImageData,
    RecordKey,
    SourceRecord,
    read_matlab_shape,
    read_matlab_variables,
    require_equal_counts,
    wanted_indices,
)
from bench.utils.errors import UserError

CIFAR_BINARY, CIFAR_PICKLED = "cifar-100-binary.tar.gz", "cifar-100-python.tar.gz"
CIFAR_IMAGE_BYTES = 3 * 32 * 32  # three planes
CIFAR_ROW_BYTES = 2 + CIFAR_IMAGE_BYTES  # in the binary archive: coarse class, fine class, image
CifarRecords = tuple[np.ndarray, np.ndarray]  # fine classes (N,), planes (N, 3072)


@dataclass(frozen=True)
class Cifar100:
    """CIFAR-100 (Krizhevsky, 2009), from its binary or its Python archive, of the same images.

    Keys are numbers in the order of the file.
    """

    files: Files

    def entries(self) -> Iterator[SourceRecord]:
        for split, (fine, _) in self._splits({"train", "test"}):
            for index, label in enumerate(fine.tolist()):
                yield SourceRecord(split, str(index), {"fine": label})

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        for split, (_, planes) in self._splits({split for split, _ in wanted}):
            for index in wanted_indices(wanted, split, len(planes), self._archive()):
                image = planes[index].reshape(3, 32, 32).transpose(1, 2, 0)  # (32, 32, 3)
                yield (split, str(index)), image

    def _archive(self) -> Path:
        return find_file(self.files, CIFAR_BINARY, CIFAR_PICKLED)

    def _splits(self, splits: set[str]) -> Iterator[tuple[str, CifarRecords]]:
        path = self._archive()
        folder, ending, read = CIFAR_LAYOUTS[
            CIFAR_BINARY if CIFAR_BINARY in self.files else CIFAR_PICKLED
        ]
        top = folder_prefix(open_archive(path), folder)
        names = {f"{top}{split}{ending}": split for split in splits}
        for name, content in open_archive(path).read(names) if names else ():
            yield names[name], read(content, f"{path}: {name}")


def _parse_binary(content: bytes, origin: str) -> CifarRecords:
    if not content or len(content) % CIFAR_ROW_BYTES:
        raise UserError(
            f"{origin} is truncated: {len(content):,} bytes, not a multiple of {CIFAR_ROW_BYTES:,}"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, CIFAR_ROW_BYTES)
    return rows[:, 1], rows[:, 2:]


def _parse_pickle(content: bytes, origin: str) -> CifarRecords:
    arrays = _load_arrays(content, origin)
    with parse_errors(origin):
        labels, planes = arrays["fine_labels"], arrays["data"]
        if not isinstance(planes, np.ndarray) or planes.dtype != np.uint8:
            raise TypeError(f"images of {getattr(planes, 'dtype', type(planes).__name__)}")
        if not isinstance(labels, list) or not {type(label) for label in labels} <= {int}:
            raise TypeError("labels that are not a list of numbers")  # nested, it may have no end
        fine = np.array(labels, np.int64)
        planes = planes.reshape(-1, CIFAR_IMAGE_BYTES)
    require_equal_counts(origin, len(fine), len(planes))
    return fine, planes


CIFAR_LAYOUTS: dict[str, tuple[str, str, Callable[[bytes, str], CifarRecords]]] = {
    CIFAR_BINARY: ("cifar-100-binary", ".bin", _parse_binary),
    CIFAR_PICKLED: ("cifar-100-python", "", _parse_pickle),
}


def _load_arrays(content: bytes, origin: str) -> Any:
    """Unpickle arrays in plain containers; refuse anything else, which could run code."""
    with library_errors(origin):
        try:
            _require_small_memo(content)
            return ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
        except (pickle.UnpicklingError, ImportError) as error:
            raise UserError(f"{origin} is refused: {error}") from None


def _require_small_memo(content: bytes) -> None:
    """Raise `UnpicklingError` for a number of an object that allocates gigabytes by itself."""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in MEMO_OPCODES and int(argument or 0) > len(content):
            raise pickle.UnpicklingError(f"it numbers an object {argument:,}")


class ArrayUnpickler(pickle.Unpickler):  # noqa: S301  (of arrays alone)
    """Unpickler of NumPy arrays that refuses all other globals."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED_GLOBALS:
            raise pickle.UnpicklingError(f"a pickle of arrays has no need of {module}.{name}")
        return ALLOWED_GLOBALS[module, name]


def _encode_latin1(text: str, encoding: str) -> bytes:
    """Stand in for `codecs.encode`, by which Python 3 pickles bytes for Python 2."""
    return text.encode("latin1")


MEMO_OPCODES = {"PUT", "BINPUT", "LONG_BINPUT"}
RECONSTRUCT = np.empty(0).__reduce__()[0]
ALLOWED_GLOBALS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode_latin1,
}

SVHN_FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}


@dataclass(frozen=True)
class Svhn:
    """SVHN (Netzer et al., 2011), http://ufldl.stanford.edu/housenumbers: two MATLAB files.

    Keys are numbers in the order of the file; the digit 0 is stored as 10.
    """

    files: Files

    def entries(self) -> Iterator[SourceRecord]:
        for split, name in SVHN_FILES.items():
            path = find_file(self.files, name)
            digits = np.atleast_1d(read_matlab_variables(path, path, "y")[0])
            images = read_matlab_shape(path, path, "X")
            if images[:3] != (32, 32, 3):
                raise UserError(f"{path}: its images are of shape {images[:3]}, not (32, 32, 3)")
            require_equal_counts(path, len(digits), (*images, 1)[3])
            for index, digit in enumerate(digits.tolist()):
                yield SourceRecord(split, str(index), {"digit": digit})

    def images(self, wanted: Collection[RecordKey]) -> Iterator[tuple[RecordKey, ImageData]]:
        for split in sorted({split for split, _ in wanted}):
            path = find_file(self.files, SVHN_FILES[split])
            [pixels] = read_matlab_variables(path, path, "X")
            pixels = pixels.reshape(32, 32, 3, -1)  # (32, 32, 3, N), also of a single image
            for index in wanted_indices(wanted, split, pixels.shape[3], path):
                yield (split, str(index)), np.ascontiguousarray(pixels[..., index])
