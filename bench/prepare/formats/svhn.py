"""SVHN (Netzer et al., 2011), http://ufldl.stanford.edu/housenumbers: two MATLAB files of digits.

A file's images are held in memory as a whole, as its reader knows no other way: 225 MB at most.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from bench.errors import UserError
from bench.prepare.containers.matlab import shape, variables
from bench.prepare.containers.members import file_of
from bench.prepare.formats.base import Entry, Files, Name, Picture
from bench.prepare.formats.records import indices, require_equal

NAMES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}


@dataclass(frozen=True)
class Svhn:
    """Records are numbered in the order of their file; the digit 0 is written as 10."""

    files: Files

    def entries(self) -> Iterator[Entry]:
        for split, name in NAMES.items():
            path = file_of(self.files, name)
            digits = np.atleast_1d(variables(path, path, "y")[0])
            images = shape(path, path, "X")
            if images[:3] != (32, 32, 3):
                raise UserError(f"{path}: its images are of shape {images[:3]}, not (32, 32, 3)")
            require_equal(path, len(digits), (*images, 1)[3])
            for index, digit in enumerate(digits.tolist()):
                yield Entry(split, str(index), {"digit": digit})

    def images(self, wanted: Collection[Name]) -> Iterator[tuple[Name, Picture]]:
        for split in sorted({split for split, _ in wanted}):
            path = file_of(self.files, NAMES[split])
            pixels = variables(path, path, "X")[0].reshape(32, 32, 3, -1)  # (32, 32, 3, N)
            for index in indices(wanted, split, pixels.shape[3], path):
                yield (split, str(index)), np.ascontiguousarray(pixels[..., index])
