"""PatchCamelyon (Veeling et al., 2018), https://github.com/basveeling/pcam: packed HDF5 files.

A packed file is unpacked beside, one at a time, into a file that is removed at the end.
"""

import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py

from bench.errors import UserError
from bench.prepare.containers.archives import gunzipped
from bench.prepare.containers.hdf5 import array, rows
from bench.prepare.containers.members import file_of
from bench.prepare.formats.base import Entry, Files, Name, Picture
from bench.prepare.formats.records import indices, require_equal

PARTS = {"train": "train", "validation": "valid", "test": "test"}
SHAPE = (96, 96, 3)
BLOCK = 2**20  # bytes unpacked at once


@dataclass(frozen=True)
class PatchCamelyon:
    """Records are numbered in the order of their file: valid_0 is the first for validation."""

    files: Files

    def entries(self) -> Iterator[Entry]:
        for split, part in PARTS.items():
            with self._array(part, "y") as labels:
                tumors = labels[:].reshape(-1).tolist()
            for index, tumor in enumerate(tumors):
                yield Entry(split, f"{part}_{index}", {"tumor": tumor})

    def images(self, wanted: Collection[Name]) -> Iterator[tuple[Name, Picture]]:
        for split in sorted({split for split, _ in wanted}):
            part = PARTS[split]
            origin = self._file(part, "x")
            with self._array(part, "y") as labels:
                count = len(labels)
            with self._array(part, "x") as data:
                require_equal(origin, count, len(data))
                if data.shape[1:] != SHAPE or data.dtype != "uint8":
                    raise UserError(f"{origin}: images of {data.dtype} {data.shape[1:]}")
                chosen = indices(wanted, split, count, origin, f"{part}_")
                for index, image in rows(data, chosen, origin):
                    yield (split, f"{part}_{index}"), image

    def _file(self, part: str, kind: str) -> Path:
        name = f"camelyonpatch_level_2_split_{part}_{kind}.h5"
        return file_of(self.files, name, f"{name}.gz")

    @contextmanager
    def _array(self, part: str, kind: str) -> Iterator[h5py.Dataset]:
        path = self._file(part, kind)
        with _unpacked(path) as plain, array(plain, kind, path) as data:
            yield data


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    if path.suffix != ".gz":
        yield path
        return
    with ExitStack() as stack:
        try:
            scratch = stack.enter_context(
                tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.stem}.")
            )
            for block in _blocks(path):
                scratch.write(block)
            scratch.flush()
        except OSError as error:
            raise UserError(f"{path} cannot be unpacked beside itself: {error.strerror}") from None
        yield Path(scratch.name)


def _blocks(path: Path) -> Iterator[bytes]:
    with gunzipped(path) as packed:
        while block := packed.read(BLOCK):
            yield block
